package stream

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

func (s *Subscriber) nudgeChannel() string { return s.cfg.KeyPrefix + "nudge" }

// nudges is the loop that listens for consumers that drain, and has their entries claimed. It ends with ctx or the
// subscriber.
func (s *Subscriber) nudges(ctx context.Context, readers []*subscription) {
	listener := s.client.Subscribe(ctx, s.nudgeChannel())
	defer func() {
		if err := listener.Close(); err != nil {
			s.log.DebugContext(ctx, "closing the nudge channel failed", "err", err)
		}
	}()
	messages := listener.Channel(redis.WithChannelSize(8))
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.closing:
			return
		case m, ok := <-messages:
			if !ok {
				return
			}
			group, stream, one := strings.Cut(m.Payload, " ")
			if group != s.cfg.Group {
				continue
			}
			for _, r := range readers {
				if !one || r.stream == stream {
					r.claimSoon()
				}
			}
		}
	}
}
