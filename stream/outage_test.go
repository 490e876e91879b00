package stream_test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/logtest"
	"heatobserver/stream"
)

// TestFailingWritesAreLogged: while reading works and writing fails, the log says why, once, and says when it is over.
func TestFailingWritesAreLogged(t *testing.T) {
	for _, c := range []struct {
		op, target string
		handle     func(pub *stream.Publisher, m *message.Message) error
	}{
		{"commit", "out", func(pub *stream.Publisher, m *message.Message) error { return pub.Publish("out", answer(m)) }},
		{"park", "dead", func(_ *stream.Publisher, m *message.Message) error {
			return stream.DeliveryFrom(m.Context()).DeadLetter(m.Context(), "no_symbol", errors.New("no symbol"), 1)
		}},
	} {
		t.Run(c.op, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			log := &logtest.Log{}
			cfg := w.config("a")
			cfg.DeadStream, cfg.Logger = "dead", slog.New(slog.NewTextHandler(log, nil))
			sub, out := w.subscribe(nil, cfg)
			pub := w.publisher(w.admin)
			done := make(chan struct{})
			t.Cleanup(func() { <-done })
			t.Cleanup(func() { require.NoError(t, sub.Close()) })
			go func() {
				defer close(done)
				for m := range out {
					if c.handle(pub, m) != nil {
						m.Nack()
						continue
					}
					m.Ack()
				}
			}()
			require.NoError(t, w.admin.Set(w.ctx, c.target, "x", 0).Err())
			w.add(1)
			eventually(t, "it is tried again and again", func() bool { return w.events.get("failed "+c.op) >= 4 })
			require.Len(t, log.Lines("level=WARN", "writing failed", "op="+c.op, "WRONGTYPE"), 1)
			require.Empty(t, log.Lines("writing works again"))

			require.NoError(t, w.admin.Del(w.ctx, c.target).Err())
			eventually(t, "its end is logged", func() bool { return len(log.Lines("writing works again", "op="+c.op)) == 1 })
			eventually(t, "nothing is pending", func() bool { return w.pending() == 0 })
			require.Equal(t, int64(1), w.admin.XLen(w.ctx, c.target).Val())
		})
	}
}
