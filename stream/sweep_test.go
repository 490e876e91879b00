package stream

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// TestSweep: an entry that lies with a consumer which lives and does other things is seen by nobody who looks for the dead. The
// sweep finds it.
func TestSweep(t *testing.T) {
	client := redistest.Start(t).Client()
	s, err := NewSubscriber(client, SubscriberConfig{Group: "g", Consumer: "me", MinIdle: time.Second})
	require.NoError(t, err)
	sub := newSubscription(t.Context(), s, "in")
	sub.sweepEvery = 100 * time.Millisecond
	require.NoError(t, sub.ensureGroup(t.Context()))
	id := client.XAdd(t.Context(), &redis.XAddArgs{Stream: "in", Values: []string{"a", "b"}}).Val()
	read := func(from string) []redis.XMessage {
		r, err := client.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "g", Consumer: "alive", Streams: []string{"in", from}, Block: -1}).Result()
		require.NoError(t, err)
		return r[0].Messages
	}
	require.Len(t, read(">"), 1)

	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sub.claim(ctx)
	}()
	signs := time.NewTicker(100 * time.Millisecond)
	defer signs.Stop()
	for begun, found := time.Now(), false; !found; {
		select {
		case m := <-sub.out:
			require.Equal(t, id, m.UUID)
			found = true
		case <-signs.C:
			// What is pending for it behind that one, which is nothing: Redis 7.0 takes no read of nothing new for a sign of life.
			require.Empty(t, read(id))
			require.Less(t, time.Since(begun), 30*time.Second)
		}
	}
	sub.beginDrain()
	stop()
	<-ended
	close(sub.abandon)
	sub.watchers.Wait()
}
