package verify_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/internal/redistest"
	"heatobserver/verify"
)

func values(o event.Observation) (values []any) {
	for name, value := range o.AppendFields(nil, 400).Strings() {
		values = append(values, name, value)
	}
	return values
}

// TestObservationsOfABurst: after a burst the last 200 observations are all late, which accuses nobody while the same plans
// have been observed early.
func TestObservationsOfABurst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		early   int // number of the first plan observed early
		verdict verify.Verdict
		seen    string
	}{
		{"a burst", 0, verify.Pass, "at the other point too"},
		{"early stopped before it", -300, verify.Fail, "early observer not working"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Start(t).Client()
			pipe := rdb.Pipeline()
			add := func(point event.Point, reason event.Reason, from int) {
				for i := range 300 {
					o := event.Observation{
						TsEpoch: time.Now().Unix(), PlanID: "p" + strconv.Itoa(from+i), Symbol: "BTCUSDT", Point: point, Reason: reason,
						SourceID: entry.ID{Ms: uint64(time.Now().UnixMilli())},
					}
					pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "observed", Values: values(o)})
				}
			}
			add(event.Early, event.Missing, c.early)
			add(event.Late, event.Timeout, 0)
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
			report := verify.Run(t.Context(), rdb, verify.Setup{
				Parts: []verify.Part{{Plans: "plans", Observed: "observed", DedupePrefix: "dedupe:", KeyPrefix: "own:"}},
				Wait:  100 * time.Millisecond, EarlyEnabled: true, LateEnabled: true,
			})
			found := named(t, report, "observations")
			require.Equal(t, c.verdict, found.Verdict, found.Seen)
			require.Contains(t, found.Seen, c.seen)
		})
	}
}

// TestPlanWithinItsWait: the late point is not missing while its wait runs, which may be longer than verify does.
func TestPlanWithinItsWait(t *testing.T) {
	t.Parallel()
	both := []event.Point{event.Early, event.Late}
	early := both[:1]
	for _, c := range []struct {
		name       string
		older, new []event.Point // where the plan whose wait is over and the newest are observed; nil = there is no older one
		verdict    verify.Verdict
		seen       string
	}{
		{"no plan is older", nil, early, verify.Warn, "still within its wait of 1m0s"},
		{"an older one is observed", both, early, verify.Pass, "plan older before it is observed late"},
		{"an older one is not observed late", early, early, verify.Fail, "plan older is observed early and not late"},
		{"nobody was there for the older one", []event.Point{}, early, verify.Warn, "still within its wait of 1m0s"},
		{"not early either", both, nil, verify.Fail, "observer down: plan new has no observation"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Start(t).Client()
			now, err := rdb.Time(t.Context()).Result()
			require.NoError(t, err)
			pipe := rdb.Pipeline()
			add := func(plan string, published time.Time, points []event.Point) {
				pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "plans", ID: entry.IDAt(published).String(), Values: []string{"plan_id", plan, "symbol", "BTCUSDT"}})
				for _, point := range points {
					pipe.Set(t.Context(), "dedupe:"+event.ObservationUUID(point, plan), "1", 0)
				}
			}
			if c.older != nil {
				add("older", now.Add(-64*time.Second), c.older)
			}
			add("new", now, c.new)
			o := event.Observation{TsEpoch: now.Unix(), PlanID: "new", Symbol: "BTCUSDT", Point: event.Early, Reason: event.Missing, SourceID: entry.IDAt(now)}
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "observed", Values: values(o)})
			_, err = pipe.Exec(t.Context())
			require.NoError(t, err)
			report := verify.Run(t.Context(), rdb, verify.Setup{
				Parts:   []verify.Part{{Plans: "plans", Observed: "observed", DedupePrefix: "dedupe:", KeyPrefix: "own:"}},
				MaxWait: time.Minute, DedupeTTL: time.Hour, Wait: 300 * time.Millisecond, EarlyEnabled: true, LateEnabled: true,
			})
			checks := []string{"observing now", "observations"}
			if len(c.new) == 0 {
				checks = checks[:1]
			}
			for _, name := range checks {
				found := named(t, report, name)
				require.Equal(t, c.verdict, found.Verdict, text(report))
				require.Contains(t, found.Seen, c.seen)
			}
		})
	}
}

// TestCanaryWithinItsWait: a canary without heat is observed late only when its wait is over.
func TestCanaryWithinItsWait(t *testing.T) {
	t.Parallel()
	long := map[string]string{"P28_LATE_OBS_MAX_WAIT_MS": "60000"}
	report, _ := verified(t, world{noBridge: true, settings: long, look: long, setup: func(_ *testing.T, s *verify.Setup) {
		s.Canary, s.Wait = true, 5*time.Second
	}})
	canary := named(t, report, "canary")
	require.Equal(t, verify.Warn, canary.Verdict, text(report))
	require.Contains(t, canary.Seen, "still within its wait of 1m0s")
	require.Contains(t, canary.Hint, "processor trace canary-")
}
