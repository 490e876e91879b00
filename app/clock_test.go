package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// untold runs an observer that reads a plan and does not know the time, for its connection is lost whenever it asks.
func untold(t *testing.T) (*observer, *redistest.Proxy, *redis.Client) {
	t.Helper()
	srv := redistest.Start(t)
	proxy := redistest.NewProxy(t, srv.Addr())
	proxy.DropReplies(-1, "time")
	o := start(t, srv, settings{"REDIS_URL": "redis://" + proxy.Addr(), "P28_LATE_OBS_MAX_WAIT_MS": "100", "P28_DRAIN_TIMEOUT_SEC": "60"})
	publish(t, srv.Client(), "plan_id", "p", "symbol", "S")
	eventually(t, "both have read it", func() error { return handed(t, srv.Client(), 1) })
	return o, proxy, srv.Client()
}

// handed reports that not so many plans are pending in each group.
func handed(t *testing.T, rdb *redis.Client, want int64) error {
	for _, group := range []string{earlyGroup, lateGroup} {
		p, err := rdb.XPending(t.Context(), planStream, group).Result()
		if err != nil || p.Count != want {
			return fmt.Errorf("%s: %+v, %w", group, p, err)
		}
	}
	return nil
}

// TestNoVerdictWithoutAClock: nothing is observed before the clock of Redis has been measured, which is tried again soon.
func TestNoVerdictWithoutAClock(t *testing.T) {
	t.Parallel()
	_, proxy, rdb := untold(t)
	asked := proxy.Dropped()
	eventually(t, "it is asked again and again", func() error {
		if n := proxy.Dropped(); n < asked+5 {
			return fmt.Errorf("%d times after %d", n, asked)
		}
		return nil
	})
	require.Zero(t, rdb.XLen(t.Context(), observedStream).Val(), "observed by the local clock")
	proxy.DropReplies(0)
	observe(t, rdb, earlyPoint, "p")
	observe(t, rdb, latePoint, "p")
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
}

// TestDrainsWithoutAClock: what waits for the clock of Redis is handed back at once.
func TestDrainsWithoutAClock(t *testing.T) {
	t.Parallel()
	o, _, rdb := untold(t)
	begun := time.Now()
	require.NoError(t, o.stop())
	assert.Less(t, time.Since(begun), 30*time.Second, "the drain waits for the clock")
	assert.Empty(t, o.logs.Lines("level=ERROR"), "a drain is no error")
	require.NoError(t, handed(t, rdb, 1))
	require.Zero(t, rdb.XLen(t.Context(), observedStream).Val())
}
