package app_test

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/event"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
	"heatobserver/replay"
)

// TestAuditAgreesWithTheLiveProcessor: what the processor records on a seeded pipeline is what history says, but for looks
// within one poll interval of a write. Decision and hash are written in one transaction, so that no way of a bridge lies
// between; the poll interval is long, so that a busy machine does not count as a disagreement.
func TestAuditAgreesWithTheLiveProcessor(t *testing.T) {
	t.Parallel()
	const (
		plans, again = 300, 20
		maxWait      = 1500 * time.Millisecond
		poll         = 500 * time.Millisecond
		decisions    = "quantum:stream:harvest.heat.decision"
	)
	srv := redistest.Start(t)
	rdb := srv.Client()
	start(t, srv, settings{
		"P28_LATE_OBS_MAX_WAIT_MS": fmt.Sprint(maxWait.Milliseconds()), "P28_LATE_OBS_POLL_MS": fmt.Sprint(poll.Milliseconds()),
		"P28_LATE_OBS_MAX_INFLIGHT": "1000",
	})

	type step struct {
		at time.Duration
		do func()
	}
	var steps []step
	rng := rand.New(rand.NewPCG(11, 0))
	for i := range plans {
		at := time.Duration(i) * 5 * time.Millisecond
		pairs := pipeline.PlanPairs(11, uint64(i), time.Now())
		publish := func() {
			require.NoError(t, rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: pairs}).Err())
		}
		steps = append(steps, step{at, publish})
		if i < again {
			steps = append(steps, step{at + 700*time.Millisecond, publish})
		}
		// Before its plan, in time, on both sides of the deadline, much too late, never.
		delay := time.Duration([...]int{-200, 20, 150, 600, 1490, 1510, 2600, 0}[rng.IntN(8)]) * time.Millisecond
		if delay == 0 {
			continue
		}
		d := pipeline.Decide(11, event.Plan{PlanID: pairs[1], Symbol: pairs[3]}, pairs[5], time.Now())
		steps = append(steps, step{at + delay, func() {
			_, err := rdb.TxPipelined(t.Context(), func(tx redis.Pipeliner) error {
				tx.XAdd(t.Context(), &redis.XAddArgs{Stream: decisions, Values: d.Pairs()})
				tx.HSet(t.Context(), heatPrefix+d.PlanID, d.HashPairs())
				tx.Expire(t.Context(), heatPrefix+d.PlanID, 1800*time.Second)
				return nil
			})
			require.NoError(t, err)
		}})
	}
	sort.SliceStable(steps, func(i, j int) bool { return steps[i].at < steps[j].at })
	begin := time.Now()
	for _, s := range steps {
		time.Sleep(time.Until(begin.Add(s.at))) // the pace of the load
		s.do()
	}
	awaitQuiet(t, rdb, earlyGroup, lateGroup)

	history := app.NewHistory(rdb, [...]string{planStream, decisions, observedStream})
	var audit *replay.Audit
	eventually(t, "every plan is old enough to be judged", func() (err error) {
		audit, err = replay.RunAudit(t.Context(), history, replay.Everything, replay.Options{Payload: app.PlanPayload}, replay.AuditSettings{
			MaxWait: maxWait, DedupeTTL: 600 * time.Second, Tolerance: poll, Grace: time.Minute, List: 1000,
		})
		if err == nil && audit.Undecided > 0 {
			err = fmt.Errorf("%d are undecided", audit.Undecided)
		}
		return err
	})
	require.False(t, audit.Bad(), "%+v", audit.Findings)
	for _, f := range audit.Findings {
		require.True(t, f.Within, "%+v", f)
	}
	require.EqualValues(t, plans+again, audit.Plans)
	require.EqualValues(t, 2*plans, audit.Recorded)
	require.EqualValues(t, 2*plans, audit.Agree+audit.Within)
	require.EqualValues(t, 2*again, audit.Held)
	require.Greater(t, audit.Agree, int64(plans), "most agree to the millisecond")
	for _, reason := range []event.Reason{event.OK, event.Timeout} {
		require.Positive(t, audit.Matrix[[3]string{latePoint, string(reason), string(reason)}], "%s", reason)
	}
}
