package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/stream"
)

// TestSettledWhileDraining: how a handler ends an entry whose message's context has ended already reaches Redis all the same.
func TestSettledWhileDraining(t *testing.T) {
	t.Parallel()
	for _, inSteps := range []bool{false, true} {
		for _, c := range []struct {
			name, event string // the event that tells of it, "" where none does
			end         func(p *stream.Publisher, m *message.Message) error
			pending     int64
		}{
			{name: "acknowledged", end: func(*stream.Publisher, *message.Message) error { return nil }},
			{name: "answered", event: string(stream.Written), end: func(p *stream.Publisher, m *message.Message) error {
				return p.Publish("out", answer(m))
			}},
			{name: "dropped", event: "dropped", end: func(_ *stream.Publisher, m *message.Message) error {
				return stream.DeliveryFrom(m.Context()).Drop(m.Context())
			}},
			{name: "dead letter", event: "dead", end: func(_ *stream.Publisher, m *message.Message) error {
				return stream.DeliveryFrom(m.Context()).DeadLetter(m.Context(), "reason", errDead, 1)
			}},
			{name: "left open", event: "handed back", pending: 1, end: func(_ *stream.Publisher, m *message.Message) error {
				m.Nack()
				return nil
			}},
		} {
			name := c.name
			if inSteps {
				name += ", in steps"
			}
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				cfg := w.config("a")
				cfg.CloseTimeout = time.Minute
				if inSteps {
					cfg.Partitions = []stream.Partition{apart}
				}
				ctx, cancel := context.WithCancel(w.ctx)
				defer cancel()
				out, err := w.subscriber(nil, cfg).Subscribe(ctx, testStream)
				require.NoError(t, err)
				pub := w.publisher(nil)
				w.add(1)
				m := next(t, out)
				cancel()
				<-m.Context().Done()
				require.NoError(t, c.end(pub, m))
				m.Ack()
				_, open := <-out
				require.False(t, open)
				require.Equal(t, c.pending, w.pending())
				if c.event != "" {
					require.EqualValues(t, 1, w.events.get(c.event))
				}
			})
		}
	}
}

// TestBlockedReadEnds: nothing interrupts a blocked read, so it has to end by itself, after Block.
func TestBlockedReadEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.server.NewClient(func(o *redis.Options) { o.ReadTimeout = 2 * time.Minute })
	s, _ := w.subscribe(client, w.config("a"))
	eventually(t, "the read is blocked", func() bool {
		info, err := w.admin.InfoMap(w.ctx, "clients").Result()
		return err == nil && info["Clients"]["blocked_clients"] == "1"
	})
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "the read does not end")
	}
}

// TestBlockIsChecked: a read that never ends, or that its client gives up before Redis does, is refused.
func TestBlockIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct{ block, timeout time.Duration }{
		"as long as it takes":    {-time.Second, time.Minute},
		"rounded to for ever":    {time.Millisecond - 1, time.Minute},
		"as long as the client":  {time.Second, time.Second},
		"longer than the client": {2 * time.Second, time.Second},
	} {
		cfg := w.config("a")
		cfg.Block = c.block
		client := w.server.NewClient(func(o *redis.Options) { o.ReadTimeout = c.timeout })
		_, err := stream.NewSubscriber(client, cfg)
		require.ErrorContains(t, err, "a block of "+c.block.String(), name)
	}
}
