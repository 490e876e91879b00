package operate_test

import (
	"context"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"heatobserver/operate"
	"heatobserver/stream"
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

// A plan of a Watermill producer is found like any other, and its dead letters also once the plan is trimmed.
func TestTraceOfAPlanInAnEnvelope(t *testing.T) {
	w := newWorld(t)
	w.observe()
	add := func(payload string) string {
		fields, err := stream.Envelope{}.Encode(message.NewMessage("u1", []byte(payload)))
		require.NoError(t, err)
		var pairs []string
		for name, value := range fields.Strings() {
			pairs = append(pairs, name, value)
		}
		return w.add(planStream, pairs...)
	}
	add(`{"plan_id":"good","symbol":"BTCUSDT"}`)
	bad := add(`{"plan_id":"bad","decision":"EXECUTE"}`)
	w.eventually("observed and parked", func() bool { return len(w.observations("good")) == 2 && w.len(deadStream) == 2 && w.idle() })
	seen := func(planID string) map[string]int {
		seen := map[string]int{}
		w.operate(func(ctx context.Context, o *operate.Operator) {
			trace, err := o.Trace(ctx, planID, time.Now().Add(-time.Hour))
			require.NoError(t, err)
			for _, e := range trace.Events {
				seen[e.What]++
				if e.What == "published" && planID == "good" {
					require.Equal(t, "BTCUSDT", e.Detail["symbol"])
				}
			}
		})
		return seen
	}
	require.Equal(t, map[string]int{"published": 1, "read": 2, "observation": 2, "dedupe_key": 2}, seen("good"))
	require.Equal(t, map[string]int{"published": 1, "read": 2, "dead_letter": 2}, seen("bad"))
	require.NoError(t, w.rdb.XDel(t.Context(), planStream, bad).Err())
	require.Equal(t, map[string]int{"dead_letter": 2}, seen("bad"))
}
