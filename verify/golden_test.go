package verify_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/verify"
)

// TestPlanPublishedAgain: the heat bridge writes no new key for a plan that comes again within two minutes, so that the key
// lives from its first publication on.
func TestPlanPublishedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		left    time.Duration // of the key of the plan that was published twice
		verdict verify.Verdict
		seen    string
	}{
		{"in the contract", 1681 * time.Second, verify.Pass, "living 30m"},
		{"too short", 10 * time.Second, verify.Fail, "TTL too short: keys live 2m9s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Start(t).Client()
			now := rdb.Time(t.Context()).Val()
			pipe := rdb.Pipeline()
			for _, at := range []time.Time{now.Add(-119 * time.Second), now} {
				id := entry.IDAt(at).String()
				pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "plans", ID: id, Values: []string{"plan_id", "p", "symbol", "S"}})
			}
			pipe.HSet(t.Context(), "heat:p", "plan_id", "p")
			pipe.PExpire(t.Context(), "heat:p", c.left)
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
			report := verify.Run(t.Context(), rdb, verify.Setup{
				Parts:  []verify.Part{{Plans: "plans", Observed: "observed", DedupePrefix: "dedupe:", KeyPrefix: "own:"}},
				Prefix: "heat:", MaxWait: 2 * time.Minute, Decisions: "decisions", Wait: 100 * time.Millisecond,
			})
			life := named(t, report, "heat TTL")
			require.Equal(t, c.verdict, life.Verdict, text(report))
			require.Contains(t, life.Seen, c.seen)
		})
	}
}

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
