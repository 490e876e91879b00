package replay_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/event"
	"heatobserver/replay"
)

// halfASecond is a history of n plans, one each millisecond, whose heat comes 500 ms later.
func halfASecond(n int64) *memory {
	m := &memory{end: n + 10_000}
	for i := range n {
		m.plan(1000+i, fmt.Sprint("p", i))
		if i >= 500 {
			m.decision(1000+i, fmt.Sprint("p", i-500), "0.5")
		}
	}
	return m
}

// whole says that every late plan is accounted for.
func whole(t *testing.T, result *replay.Result) {
	t.Helper()
	late := result.Points[event.Late]
	require.Equal(t, result.Plans, late.Total+late.Duplicates+late.Undecided+result.Dropped)
	require.Zero(t, late.Reasons[event.Timeout], "heat that was not read of is not missing")
	require.True(t, result.Incomplete)
}

// TestStopped: of plans that wait when a replay is stopped nothing is known.
func TestStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, s := range map[string]replay.Settings{"waiting": usual(), "waiting to wait": func() replay.Settings {
		s := usual()
		s.Inflight = 100
		return s
	}()} {
		t.Run(name, func(t *testing.T) {
			result, err := replay.Run(ctx, halfASecond(8000), replay.Everything, replay.Options{}, s, nil)
			require.ErrorIs(t, err, context.Canceled)
			whole(t, result)
			require.NotZero(t, result.Points[event.Late].Undecided)
		})
	}
}

// TestEmitFails: an observation that nobody took ends the replay, and what it gives is known to be a part.
func TestEmitFails(t *testing.T) {
	full := errors.New("the disk is full")
	n := 0
	result, err := replay.Run(t.Context(), halfASecond(2000), replay.Everything, replay.Options{}, usual(), func(*event.Observation) error {
		if n++; n == 1500 {
			return full
		}
		return nil
	})
	require.ErrorIs(t, err, full)
	require.Equal(t, 1500, n)
	whole(t, result)
	require.Less(t, result.Plans, int64(2000))
}
