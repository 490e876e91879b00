package app_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// TestReasons provokes each reason of the wire contract for real. The plans go through one observer, so that at the end
// the operators' one-liner can be held against its metrics.
func TestReasons(t *testing.T) {
	t.Parallel()
	const maxWait = 3000 // long enough that a busy machine does not turn what is in time into what is late
	srv := redistest.Start(t)
	rdb := srv.Client()
	proxy := redistest.NewProxy(t, srv.Addr())
	o := start(t, srv, settings{
		"REDIS_URL":                "redis://" + proxy.Addr(),
		"P28_LATE_OBS_MAX_WAIT_MS": fmt.Sprint(maxWait), "P28_LATE_OBS_POLL_MS": "50",
	})
	long := func() time.Time { return time.Now().Add(-time.Minute) }
	hash := func(change ...string) func(plan string) {
		return func(plan string) { writeHeat(t, rdb, plan, change...) }
	}
	cutLookups := func() { proxy.DropReplies(-1, "hgetall", "exists") }

	cases := []struct {
		name        string
		published   func() time.Time // nil: when it is written
		before      func(plan string)
		between     func(plan string) // after the early observation
		after       func()
		early, late string
		tooLate     bool  // after_deadline
		minLate     int64 // least wait_ms of the late observation
	}{
		// Those published in the past come first, because the IDs of a stream only grow.
		{name: "missing: first looked at after its deadline", published: long, early: "missing", late: "missing", minLate: 60_000},
		{name: "after_deadline: found, but too late to prove anything", published: long, before: hash(), early: "ok", late: "ok",
			tooLate: true, minLate: 60_000},

		{name: "ok: there at once", before: hash(), early: "ok", late: "ok"},
		{name: "ok: empty numbers are no errors", before: hash("heat_score", "", "ts_epoch", ""), early: "ok", late: "ok"},
		{name: "ok: written while the late observation waits", between: hash(), early: "missing", late: "ok"},
		{name: "timeout: never written", early: "missing", late: "timeout", minLate: maxWait},
		{name: "parse_error: no hash", early: "parse_error", late: "parse_error",
			before: func(plan string) { require.NoError(t, rdb.Set(t.Context(), heatPrefix+plan, "hot", 0).Err()) }},
		{name: "parse_error: the score is no number", before: hash("heat_score", "nan"), early: "parse_error", late: "parse_error",
			minLate: 50},
		{name: "parse_error: the time is no number", before: hash("ts_epoch", "0x1p3"), early: "parse_error", late: "parse_error",
			minLate: 50},
		{name: "parse_error: a field would make the one-liner lie", before: hash("heat_level", "Heat_Found"), early: "parse_error",
			late: "parse_error"},
		{name: "parse_error: a field has a line break", before: hash("mode", "a\nobs_point"), early: "parse_error",
			late: "parse_error"},
		{name: "redis_error: Redis refuses lookups and takes writes", early: "redis_error", late: "redis_error", minLate: 50,
			before: func(plan string) { hash()(plan); srv.CLI("ACL", "SETUSER", "default", "-hgetall") },
			after:  func() { srv.CLI("ACL", "SETUSER", "default", "+@all") }},
		{name: "redis_error: connections are cut during lookups", early: "redis_error", late: "redis_error", minLate: 50,
			before: func(plan string) { hash()(plan); cutLookups() },
			after:  func() { proxy.DropReplies(0) }},
		{name: "a blip books nothing", early: "ok", late: "ok",
			before: func(plan string) { hash()(plan); proxy.DropReplies(1, "hgetall") },
			after:  func() { proxy.DropReplies(0) }},
	}
	want := series{}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.after != nil {
				t.Cleanup(c.after)
			}
			plan := fmt.Sprintf("plan%02d", i)
			if c.before != nil {
				c.before(plan)
			}
			pairs := []string{"plan_id", plan, "symbol", "BTCUSDT", "decision", "EXECUTE"}
			var id string
			if c.published != nil {
				id = publishAt(t, rdb, c.published(), pairs...)
			} else {
				id = publish(t, rdb, pairs...)
			}
			early := observe(t, rdb, earlyPoint, plan)
			if c.between != nil {
				c.between(plan)
			}
			late := observe(t, rdb, latePoint, plan)

			assert.Equal(t, c.early, early.reason(), "early, debug_json %s", early.fields["debug_json"])
			assert.Equal(t, c.late, late.reason(), "late, debug_json %s", late.fields["debug_json"])
			assert.Equal(t, c.tooLate, late.debug.AfterDeadline)
			assert.False(t, early.debug.AfterDeadline)
			assert.GreaterOrEqual(t, late.debug.WaitMs, c.minLate)
			for _, o := range []observation{early, late} {
				assert.Equal(t, id, o.debug.SourceID)
				assert.Equal(t, "EXECUTE", o.fields["apply_decision"])
				assert.Equal(t, strings.HasSuffix(o.reason(), "_error"), o.debug.Error != "", "debug_json %s", o.fields["debug_json"])
			}
			want[reasonSeries(earlyPoint, c.early)]++
			want[reasonSeries(latePoint, c.late)]++
		})
	}
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	o.awaitMetrics(want)
	assertOneLiner(t, srv, o, oneLiner)
	require.NoError(t, o.stop())
}

// TestHeatWrittenInTwoSteps: what is malformed for less than a poll interval is no parse_error of the late observation.
func TestHeatWrittenInTwoSteps(t *testing.T) {
	t.Parallel()
	for _, notify := range []string{"auto", "off"} {
		t.Run("notify "+notify, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			rdb := srv.Client()
			start(t, srv, settings{
				"P28_LATE_OBS_MAX_WAIT_MS": "5000", "P28_LATE_OBS_POLL_MS": "1500", "P28_LATE_OBS_NOTIFY": notify,
			})
			writeHeat(t, rdb, "p", "heat_score", "pending")
			publish(t, rdb, "plan_id", "p", "symbol", "BTCUSDT")
			assert.Equal(t, "parse_error", observe(t, rdb, earlyPoint, "p").reason())
			writeHeat(t, rdb, "p")
			assert.Equal(t, "ok", observe(t, rdb, latePoint, "p").reason())
		})
	}
}

// TestOutageWhilePlansWait: Redis is out of reach for long enough that a waiting plan meets its two errors, and the
// observation says so once Redis takes it, although the heat is there by then. The wait is long, because a busy machine may
// take two seconds until Redis is out of reach, and a plan that has timed out by then would be right.
func TestOutageWhilePlansWait(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	proxy := redistest.NewProxy(t, srv.Addr())
	o := start(t, srv, settings{
		"REDIS_URL": "redis://" + proxy.Addr(), "P28_LATE_OBS_POLL_MS": "100", "P28_LATE_OBS_MAX_WAIT_MS": "15000",
	})
	publish(t, rdb, "plan_id", "p", "symbol", "BTCUSDT")
	assert.Equal(t, "missing", observe(t, rdb, earlyPoint, "p").reason())
	awaitLookups := func(result string) {
		eventually(t, "two lookups "+result, func() error {
			if n := o.metrics()[`heat_observer_lookups_total{result="`+result+`"}`]; n < 2 {
				return fmt.Errorf("%v %s", n, result)
			}
			return nil
		})
	}
	awaitLookups("absent") // late has looked as well, and waits
	proxy.Blackhole(true)
	awaitLookups("failed")
	writeHeat(t, rdb, "p")
	proxy.Blackhole(false)
	late := observe(t, rdb, latePoint, "p")
	assert.Equal(t, "redis_error", late.reason(), "debug_json %s", late.fields["debug_json"])
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	assert.Equal(t, int64(2), rdb.XLen(t.Context(), observedStream).Val())
	require.NoError(t, o.stop())
}
