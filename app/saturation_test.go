package app_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// flood publishes n plans in one go.
func flood(t testing.TB, rdb *redis.Client, name string, n int) (plans []string) {
	t.Helper()
	pipe := rdb.Pipeline()
	for i := range n {
		plans = append(plans, fmt.Sprintf("%s%04d", name, i))
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: []string{"plan_id", plans[i], "symbol", "S"}})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	return plans
}

// TestSaturationSkip: the first plans are taken, those beyond are acknowledged without an observation and counted, and
// as many are taken again as have ended.
func TestSaturationSkip(t *testing.T) {
	t.Parallel()
	const limit, total = 20, 300
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv, settings{
		"P28_LATE_OBS_MAX_INFLIGHT": fmt.Sprint(limit), "P28_LATE_OBS_ON_SATURATION": "skip", "P28_LATE_OBS_MAX_WAIT_MS": "60000",
	})
	dropped := func(want int) {
		t.Helper()
		eventually(t, "dropped plans", func() error { return same("dropped", want, int(o.metrics()[droppedSeries])) })
	}
	waiting := func(want int) {
		t.Helper()
		eventually(t, "waiting plans", func() error { return same("wait", want, int(o.metrics()["heat_observer_waiting_plans"])) })
	}
	// The plans of one read come to the handler in any order, so those that are to be the first come alone.
	plans := flood(t, rdb, "a", limit)
	waiting(limit)
	plans = append(plans, flood(t, rdb, "b", total-limit)...)
	dropped(total - limit)
	assert.Contains(t, o.logs.String(), "P28_LATE_OBS_MAX_INFLIGHT", "the log says what to do")

	// Five places become free, and the next five plans get them.
	const freed = 5
	for _, plan := range plans[:freed] {
		writeHeat(t, rdb, plan)
	}
	awaitObserved(t, rdb, total+freed)
	more := flood(t, rdb, "c", freed)
	waiting(limit)
	more = append(more, flood(t, rdb, "d", 3)...)
	dropped(total - limit + 3)

	for _, plan := range append(plans, more...) {
		writeHeat(t, rdb, plan)
	}
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	seen := observations(t, rdb, 400)
	assert.Len(t, seen[earlyPoint], total+freed+3, "the early observer drops nothing")
	assert.Len(t, seen[latePoint], limit+freed)
	for _, plan := range slices.Concat(plans[:limit], more[:freed]) {
		assert.NotEmpty(t, seen[latePoint][plan].entryID, "plan %s had a place", plan)
	}
	counted, err := rdb.HGet(t.Context(), totalsKey, "dropped:"+lateGroup).Int()
	require.NoError(t, err)
	assert.Equal(t, total-limit+3, counted)
	assert.Zero(t, rdb.XLen(t.Context(), deadStream).Val())
	require.NoError(t, o.stop())
}

// TestSaturationQueue: plans beyond the limit stay in the stream and are observed later, none is dropped.
func TestSaturationQueue(t *testing.T) {
	t.Parallel()
	const limit, total = 10, 60
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv, settings{"P28_LATE_OBS_MAX_INFLIGHT": fmt.Sprint(limit), "P28_LATE_OBS_MAX_WAIT_MS": "60000"})
	plans := flood(t, rdb, "a", total)
	eventually(t, "waiting plans", func() error { return same("wait", limit, int(o.metrics()["heat_observer_waiting_plans"])) })
	pending, err := rdb.XPending(t.Context(), planStream, lateGroup).Result()
	require.NoError(t, err)
	assert.LessOrEqual(t, pending.Count, int64(limit+1), "what cannot wait here yet is not taken from the others")
	eventually(t, "the log to say what to do", func() error {
		if !strings.Contains(o.logs.String(), "raise P28_LATE_OBS_MAX_INFLIGHT") {
			return errors.New("it does not")
		}
		return nil
	})
	for _, plan := range plans {
		writeHeat(t, rdb, plan)
	}
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	assert.Len(t, observations(t, rdb, 400)[latePoint], total)
	assert.Zero(t, o.metrics()[droppedSeries])
	require.NoError(t, o.stop())
}

// TestThrottle: the rate and the burst hold for each handler.
func TestThrottle(t *testing.T) {
	t.Parallel()
	const perSecond, burst, total = 40, 10, 50
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv, settings{
		"P28_THROTTLE_PER_SEC": fmt.Sprint(perSecond), "P28_THROTTLE_BURST": fmt.Sprint(burst), "P28_LATE_OBS_MAX_WAIT_MS": "100",
	})
	begun := time.Now()
	flood(t, rdb, "a", total)
	awaitObserved(t, rdb, 2*total)
	assert.GreaterOrEqual(t, time.Since(begun), (total-burst)*time.Second/perSecond)
	assert.Len(t, observations(t, rdb, 400)[latePoint], total)
	require.NoError(t, o.stop())
}

// TestDrainWhileThrottled: plans that wait for their turn do not hold up the drain, and are not lost.
func TestDrainWhileThrottled(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv, settings{"P28_THROTTLE_PER_SEC": "0.01", "P28_THROTTLE_BURST": "1"})
	flood(t, rdb, "a", 20)
	eventually(t, "plans in hand", func() error {
		return same("in hand", 19, int(o.metrics()[`heat_observer_inflight_plans{handler="early"}`]))
	})
	begun := time.Now()
	require.NoError(t, o.stop())
	assert.Less(t, time.Since(begun), 15*time.Second)
	start(t, srv, settings{"P28_CONSUMER": "second"})
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	assert.Len(t, observations(t, rdb, 400)[earlyPoint], 20)
}
