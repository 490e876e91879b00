package middleware_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/middleware"
	"heatobserver/stream"
)

// TestBundled: through a router, with entries that the bundle answers, one that it leaves open, and bundles that panic.
func TestBundled(t *testing.T) {
	for name, panics := range map[string]bool{"answers": false, "panics": true} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			const entries = 20
			for i := range entries {
				server.CLI("XADD", "in", "*", "n", string(rune('a'+i)))
			}
			log := slog.New(slog.DiscardHandler)
			subscriber, err := stream.NewSubscriber(server.Client(), stream.SubscriberConfig{
				Group: "g", Consumer: "c", Start: stream.StartFirst, Block: 50 * time.Millisecond, Logger: log,
				Bundles: true,
			})
			require.NoError(t, err)
			publisher, err := stream.NewPublisher(server.Client(), stream.PublisherConfig{Fields: []string{"n"}, Logger: log})
			require.NoError(t, err)
			router, err := message.NewRouter(message.RouterConfig{}, nil)
			require.NoError(t, err)

			answer := func(m *message.Message) *message.Message {
				a := &message.Message{UUID: "a" + m.UUID, Payload: m.Payload}
				a.SetContext(m.Context())
				return a
			}
			var mu sync.Mutex
			together, alone, told := 0, 0, 0
			routed := router.AddHandler("h", "in", subscriber, "out", publisher, func(m *message.Message) ([]*message.Message, error) {
				mu.Lock()
				defer mu.Unlock()
				alone++
				return []*message.Message{answer(m)}, nil
			})
			routed.AddMiddleware(middleware.Bundled(func(_ context.Context, msgs []*message.Message, park func(int) func(any, any) func()) []*message.Message {
				if panics {
					park(0) // nothing stays so
					panic("no")
				}
				mu.Lock()
				defer mu.Unlock()
				answers := make([]*message.Message, len(msgs)-1) // the last is left open
				for i := range answers {
					answers[i] = answer(msgs[i])
					together++
				}
				return answers
			}, func(outcome string, _ time.Duration) {
				mu.Lock()
				defer mu.Unlock()
				assert.Equal(t, "answered", outcome)
				told++
			}, log))
			done := make(chan error, 1)
			go func() { done <- router.Run(context.WithoutCancel(t.Context())) }()
			require.Eventually(t, func() bool { return server.Client().XLen(t.Context(), "out").Val() == entries }, 20*time.Second, 5*time.Millisecond)
			require.Eventually(t, func() bool { return server.Client().XPending(t.Context(), "in", "g").Val().Count == 0 }, 20*time.Second, 5*time.Millisecond)
			require.NoError(t, router.Close())
			require.NoError(t, <-done)
			assert.Equal(t, entries, together+alone)
			assert.Equal(t, together, told)
			if panics {
				assert.Zero(t, together)
			} else {
				assert.Positive(t, together)
				assert.Positive(t, alone)
			}
		})
	}
}
