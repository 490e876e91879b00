package verify_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/verify"
)

// TestNewestPlanWithoutDecision: a gate that decided all other plans left this one out, or has stopped before it.
func TestNewestPlanWithoutDecision(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		read       int64 // plans that the gate has read
		verdict    verify.Verdict
		seen, hint string
	}{
		{"left out", 4, verify.Warn, "3 of the newest 4 plans have one", "left out this plan"},
		{"not read", 3, verify.Fail, "the heat gate (group gate) has not read it", "start the heat gate"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Start(t).Client()
			pipe := rdb.Pipeline()
			add := func(name, id, plan string) {
				pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: name, ID: id, Values: []string{"plan_id", plan, "symbol", "BTCUSDT"}})
			}
			for _, id := range []string{"1-0", "2-0", "3-0"} {
				add("plans", id, "p"+id)
				add("decisions", id, "p"+id)
			}
			add("plans", "4-0", "p4-0")
			pipe.XGroupCreate(t.Context(), "plans", "gate", "0")
			pipe.XReadGroup(t.Context(), &redis.XReadGroupArgs{Group: "gate", Consumer: "g", Streams: []string{"plans", ">"}, Count: c.read, NoAck: true, Block: -1})
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
			report := verify.Run(t.Context(), rdb, verify.Setup{
				Parts:     []verify.Part{{Plans: "plans", Observed: "observed", DedupePrefix: "dedupe:", KeyPrefix: "own:"}},
				Decisions: "decisions", Prefix: "heat:", GateGroup: "gate", Wait: 100 * time.Millisecond,
			})
			golden := named(t, report, "golden chain")
			require.Equal(t, c.verdict, golden.Verdict, text(report))
			require.Contains(t, golden.Seen, c.seen)
			require.Contains(t, golden.Hint, c.hint)
		})
	}
}
