package verify_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/verify"
)

// TestEveryPrimaryIsLookedAt: what is wrong with one of them is found, and it is named.
func TestEveryPrimaryIsLookedAt(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	look := func() verify.Report {
		return verify.Run(t.Context(), client, verify.Setup{
			Parts: []verify.Part{{Plans: "{q}plans", Observed: "{q}observed", Dead: "{q}dead", Redrive: "{q}redrive"}}, Decisions: "{q}decisions",
			Wait: time.Millisecond, // no plan will come
		})
	}
	good := look()
	for _, name := range []string{"redis version", "redis persistence", "redis eviction", "redis memory", "redis replication", "clock"} {
		require.Contains(t, named(t, good, name).Seen, ", one of 3 of 3 primaries like it: ", name)
	}
	require.Equal(t, verify.Pass, named(t, good, "redis eviction").Verdict, text(good))

	for _, primary := range cluster.Nodes[:3] { // whichever is asked first
		set := primary.Client().ConfigSet
		require.NoError(t, set(t.Context(), "maxmemory", "1gb").Err())
		require.NoError(t, set(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
		got := named(t, look(), "redis eviction")
		require.Equal(t, verify.Warn, got.Verdict, got.Seen)
		require.Contains(t, got.Seen, primary.Addr()+", one of 1 of 3 primaries like it: allkeys-lru")
		require.NoError(t, set(t.Context(), "maxmemory-policy", "noeviction").Err())
	}
}
