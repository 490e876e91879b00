package app_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// TestDrainHandsWaitingPlansOn: a drain with a hundred waiting plans ends at once, another process takes them over at once
// although it would otherwise claim nothing for a minute, and every plan is observed once.
func TestDrainHandsWaitingPlansOn(t *testing.T) {
	t.Parallel()
	const total = 100
	srv := redistest.Start(t)
	rdb := srv.Client()
	slow := settings{"P28_LATE_OBS_MAX_WAIT_MS": "30000", "P28_CLAIM_MIN_IDLE_MS": "60000"}
	for _, alone := range []bool{true, false} {
		t.Run(fmt.Sprintf("successor only afterwards %v", alone), func(t *testing.T) {
			require.NoError(t, rdb.FlushAll(t.Context()).Err())
			first := start(t, srv, slow, settings{"P28_CONSUMER": "first"})
			plans := flood(t, rdb, "a", total)
			eventually(t, "waiting plans", func() error {
				return same("wait", total, int(first.metrics()["heat_observer_waiting_plans"]))
			})
			awaitQuiet(t, rdb, earlyGroup)
			var second *observer
			if !alone {
				second = start(t, srv, slow, settings{"P28_CONSUMER": "second"})
			}
			begun := time.Now()
			require.NoError(t, first.stop())
			assert.Less(t, time.Since(begun), 15*time.Second, "waiting plans hold up the drain")
			assert.Empty(t, first.logs.Lines("level=ERROR"), "a drain is no error")
			assert.Empty(t, observations(t, rdb, 400)[latePoint], "nothing was observed before its time")
			pending, err := rdb.XPending(t.Context(), planStream, lateGroup).Result()
			require.NoError(t, err)
			assert.Equal(t, int64(total), pending.Count)
			if alone {
				second = start(t, srv, slow, settings{"P28_CONSUMER": "second"})
			}
			eventually(t, "plans taken over", func() error {
				return same("wait", total, int(second.metrics()["heat_observer_waiting_plans"]))
			})
			assert.Less(t, time.Since(begun), 20*time.Second, "they were not claimable at once")
			for _, plan := range plans {
				writeHeat(t, rdb, plan)
			}
			awaitQuiet(t, rdb, earlyGroup, lateGroup)
			seen := observations(t, rdb, 400)
			assert.Len(t, seen[earlyPoint], total)
			assert.Len(t, seen[latePoint], total)
			for _, o := range seen[latePoint] {
				require.Equal(t, "ok", o.reason())
			}
			require.NoError(t, second.stop())
		})
	}
}

// TestRollingRestartUnderLoad: three generations follow each other while plans and heat come; nothing is lost, nothing
// is observed twice.
func TestRollingRestartUnderLoad(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	current := start(t, srv, settings{"P28_CONSUMER": "generation0", "P28_LATE_OBS_MAX_INFLIGHT": "1000"})
	var plans []string
	for generation := 1; generation <= 3; generation++ {
		plans = append(plans, flood(t, rdb, fmt.Sprintf("before%d-", generation), 50)...)
		next := start(t, srv, settings{"P28_CONSUMER": fmt.Sprint("generation", generation), "P28_LATE_OBS_MAX_INFLIGHT": "1000"})
		plans = append(plans, flood(t, rdb, fmt.Sprintf("during%d-", generation), 50)...)
		for _, plan := range plans[len(plans)-75:] {
			writeHeat(t, rdb, plan)
		}
		require.NoError(t, current.stop())
		current = next
	}
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	seen := observations(t, rdb, 400)
	assert.Len(t, seen[earlyPoint], len(plans))
	assert.Len(t, seen[latePoint], len(plans))
	require.NoError(t, current.stop())
}
