package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
)

func TestCleanErrorText(t *testing.T) {
	const most = maxDeadError - 4
	for text, want := range map[string]string{
		"":                               "",
		"a b~ \u00a0é":                   "a b~ \u00a0é",
		"a\x00b\x1fc\x7fd\u0080e\u009ff": "a b c d e f",
		"a\xffb":                         "a\ufffdb",
		strings.Repeat("x", most):        strings.Repeat("x", most),
		strings.Repeat("x", most+1):      strings.Repeat("x", most) + "…",
		strings.Repeat("é", most):        strings.Repeat("é", most/2) + "…",
	} {
		require.Equal(t, want, clean(text), "%.20q, %d bytes", text, len(text))
	}
}

// TestFinishedOnce: a delivery ends once, for everybody who waits for it, before or after, and is not handed back.
func TestFinishedOnce(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // nothing is sent
	t.Cleanup(func() { _ = client.Close() })
	s, err := NewSubscriber(client, SubscriberConfig{Group: "g", Consumer: "me"})
	require.NoError(t, err)
	type key struct{}
	sub := newSubscription(context.WithValue(t.Context(), key{}, "value"), s, "in")
	var entries []Entry
	for i := range 3 {
		entries = append(entries, Entry{Stream: "in", ID: entry.ID{Ms: 1, Seq: uint64(i)}, Fields: entry.Make("f", "v")})
	}
	require.Equal(t, 3, sub.credits.take(t.Context(), 3))
	held := sub.take(entries, nil)
	ended := func(d *Delivery) bool {
		select {
		case <-d.settled:
			return d.state.Load() == finished && errors.Is((*deliveryContext)(d).Err(), context.Canceled)
		default:
			return false
		}
	}
	held[0].watched()
	held[0].watched()
	require.False(t, ended(held[0]))
	require.True(t, held[0].finish())
	require.False(t, held[0].finish())
	require.False(t, held[0].end(true))
	require.True(t, ended(held[0]))
	require.True(t, held[1].finish())
	held[1].watched()
	require.True(t, ended(held[1]), "who comes later does not wait")
	require.Empty(t, sub.returned)
	require.True(t, held[2].end(true))
	require.Equal(t, []entry.ID{entries[2].ID}, sub.returned)
	require.Zero(t, sub.state().InFlight)
	require.Equal(t, s.cfg.MaxInFlight, sub.credits.free)

	ctx := held[0].message(Flat{}).Context()
	require.Equal(t, "value", ctx.Value(key{}), "what the subscriber's context holds")
	require.Same(t, held[0], ctx.Value(deliveryKey{}))
	require.Equal(t, "g", held[0].Group())
}

func TestIsReply(t *testing.T) {
	require.True(t, isReply(fmt.Errorf("wrapped: %w", replyError("NOPERM no"))))
	require.False(t, isReply(errors.New("i/o timeout")))
	require.False(t, isReply(nil))
}
