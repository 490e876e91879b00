package operate_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/operate"
)

func TestTraceOfAPlanFromPublishingToObservation(t *testing.T) {
	w := newWorld(t)
	w.observe()
	id := w.add(planStream, "plan_id", "a4f3", "symbol", "BTCUSDT", "decision", "EXECUTE")
	w.add(planStream, "plan_id", "other", "symbol", "BTCUSDT")
	w.add("quantum:stream:harvest.heat.decision", "plan_id", "a4f3", "heat_level", "warm")
	require.NoError(t, w.rdb.HSet(t.Context(), "quantum:harvest:heat:by_plan:a4f3", "plan_id", "a4f3", "heat_level", "warm").Err())
	require.NoError(t, w.rdb.Expire(t.Context(), "quantum:harvest:heat:by_plan:a4f3", 1800*time.Second).Err())
	w.eventually("observed twice", func() bool { return len(w.observations("a4f3")) == 2 && w.idle() })

	w.operate(func(ctx context.Context, o *operate.Operator) {
		trace, err := o.Trace(ctx, "a4f3", time.Now().Add(-time.Hour))
		require.NoError(t, err)
		require.True(t, trace.Found)
		require.Empty(t, trace.Notes)
		seen := map[string]int{}
		for _, e := range trace.Events {
			seen[e.What]++
			if !e.Unknown {
				require.NotNil(t, e.AfterMS)
			}
			if e.What == "published" {
				require.Equal(t, id, e.EntryID)
				require.Zero(t, *e.AfterMS)
			}
		}
		require.Equal(t, map[string]int{"published": 1, "read": 2, "decision": 1, "hash": 1, "observation": 2, "dedupe_key": 2}, seen)

		trace, err = o.Trace(ctx, "nobody", time.Now().Add(-time.Hour))
		require.NoError(t, err)
		require.False(t, trace.Found)
		require.NotEmpty(t, trace.Notes)
	})
}

func TestTraceOfADeadLetter(t *testing.T) {
	w := newWorld(t)
	w.observe()
	w.add(planStream, "plan_id", "a4f3", "symbol", "")
	w.eventually("parked by both groups", func() bool { return w.len(deadStream) == 2 })
	w.operate(func(ctx context.Context, o *operate.Operator) {
		trace, err := o.Trace(ctx, "a4f3", time.Now().Add(-time.Hour))
		require.NoError(t, err)
		dead := 0
		for _, e := range trace.Events {
			if e.What == "dead_letter" {
				dead++
				require.Equal(t, "no_symbol", e.Detail["reason"])
			}
		}
		require.Equal(t, 2, dead)
	})
}
