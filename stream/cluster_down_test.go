package stream_test

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/stream"
)

// TestRecoversFromClusterDown: a node of a cluster that has lost a slot says CLUSTERDOWN to everything. Nothing spins, nothing is lost
// and nothing is done twice, and it works again when the slot is served.
func TestRecoversFromClusterDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.WithConfig("cluster-enabled", "yes"))
	require.NoError(t, w.admin.ClusterAddSlotsRange(w.ctx, 0, 16383).Err())
	up := func() bool {
		return strings.Contains(w.admin.ClusterInfo(w.ctx).Val(), "cluster_state:ok")
	}
	eventually(t, "the cluster is up", up)
	const in, out, lost = "{tag}in", "{tag}out", 1 // any slot: the cluster is down without it
	cfg := w.config("a")
	cfg.KeyPrefix = "{tag}own:"
	sub := w.subscriber(nil, cfg)
	pub, err := stream.NewPublisher(w.admin, stream.PublisherConfig{
		Fields: []string{"answers"}, KeyPrefix: cfg.KeyPrefix, Events: w.events, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pub.Close()) })
	messages, err := sub.Subscribe(w.ctx, in)
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	t.Cleanup(func() { require.NoError(t, sub.Close()) })
	go func() {
		defer close(done)
		for m := range messages {
			if pub.Publish(out, answer(m)) != nil {
				m.Nack()
				continue
			}
			m.Ack()
		}
	}()
	var ids []string
	add := func(n int) {
		for range n {
			id, err := w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: in, Values: []string{"a", "b"}}).Result()
			require.NoError(t, err)
			ids = append(ids, id)
		}
	}
	answered := func() bool { return w.admin.XLen(w.ctx, out).Val() >= int64(len(ids)) }
	add(5)
	eventually(t, "it works", answered)

	require.NoError(t, w.admin.ClusterDelSlots(w.ctx, lost).Err())
	eventually(t, "the error is seen", func() bool {
		err := sub.Subscriptions()[0].Err
		return err != nil && strings.Contains(err.Error(), "CLUSTERDOWN")
	})
	failed, began := w.events.get("failed read"), time.Now()
	eventually(t, "it tries again", func() bool { return w.events.get("failed read") >= failed+2 })
	require.Less(t, w.events.get("failed read")-failed, int64(20+time.Since(began)/(25*time.Millisecond)), "it does not spin")

	require.NoError(t, w.admin.ClusterAddSlots(w.ctx, lost).Err())
	eventually(t, "the cluster is up again", up)
	add(5)
	eventually(t, "it works again", answered)
	eventually(t, "no error is left", func() bool { return sub.Subscriptions()[0].Err == nil })
	list, err := w.admin.XRange(w.ctx, out, "-", "+").Result()
	require.NoError(t, err)
	var got []string
	for _, m := range list {
		got = append(got, m.Values["answers"].(string))
	}
	require.ElementsMatch(t, ids, got, "each is answered once")
}
