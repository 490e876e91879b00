package stream

import (
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
)

// TestTookAgain: an entry that comes once more while it is in hand, or has just been settled, is refused, and looked for as soon
// as none of those is in hand any more. The look at strays would find it too, seconds later.
func TestTookAgain(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}) // nothing is sent
	t.Cleanup(func() { _ = client.Close() })
	s, err := NewSubscriber(client, SubscriberConfig{Group: "g", Consumer: "me", MaxInFlight: 8})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	sub := newSubscription(t.Context(), s, "in")
	entries := []Entry{
		{Stream: "in", ID: entry.ID{Ms: 1}, Fields: entry.Make("f", "1")},
		{Stream: "in", ID: entry.ID{Ms: 2}, Fields: entry.Make("f", "2")},
		{Stream: "in", ID: entry.ID{Ms: 3}, Fields: entry.Make("f", "3")},
	}
	require.Equal(t, 3, sub.credits.take(t.Context(), 3))
	held := sub.take(entries, nil)
	require.Len(t, held, 3)
	require.Empty(t, sub.take(entries[:2], nil))
	require.Empty(t, sub.take(entries[:1], nil), "and once more")
	require.False(t, sub.uncertain.Load(), "they are in hand: looking now would find them all")
	sub.release(held[2], false)
	require.False(t, sub.uncertain.Load(), "the third did not come again")
	sub.release(held[0], false)
	require.False(t, sub.uncertain.Load(), "the second is in hand")
	sub.release(held[1], false)
	require.True(t, sub.uncertain.Swap(false))

	require.Equal(t, 1, sub.credits.take(t.Context(), 1))
	held = sub.take(entries[:1], nil)
	require.Len(t, held, 1)
	sub.setClaiming(map[entry.ID]bool{})
	sub.release(held[0], false)
	require.False(t, sub.uncertain.Load())
	require.Empty(t, sub.take(entries[:1], nil), "a claim brings what was settled while it was under way")
	require.True(t, sub.uncertain.Load())
}
