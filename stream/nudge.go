package stream

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"
)

func (s *Subscriber) nudgeChannel() string { return s.cfg.KeyPrefix + "nudge" }

// nudges is the loop that listens for consumers that drain, and has their entries claimed. Who drained before it listened,
// at first or again, told nobody here: then everything is looked through. It ends with ctx or the subscriber.
func (s *Subscriber) nudges(ctx context.Context, readers []*subscription) {
	listener := s.client.Subscribe(ctx, s.nudgeChannel())
	defer func() {
		if err := listener.Close(); err != nil {
			s.log.DebugContext(ctx, "closing the nudge channel failed", "err", err)
		}
	}()
	messages := listener.ChannelWithSubscriptions(redis.WithChannelSize(8))
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
			for _, r := range readers {
				if s.concerns(m, r.stream) {
					r.claimSoon()
				}
			}
		}
	}
}

// concerns reports whether what came on the channel is a reason to claim entries of a stream.
func (s *Subscriber) concerns(m any, stream string) bool {
	switch m := m.(type) {
	case *redis.Subscription:
		return m.Kind == "subscribe"
	case *redis.Message:
		group, of, one := strings.Cut(m.Payload, " ")
		return group == s.cfg.Group && (!one || of == stream)
	}
	return false
}
