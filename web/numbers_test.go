package web_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/operate"
	"heatobserver/replay"
	"heatobserver/web"
)

// history writes observations of which all numbers are known: in the last minute 8 late ones, of which 4 found in time,
// one too late and 3 not, and 5 early ones, of which one found; and before that, out of the window of five minutes, two more.
func history(s *site, now time.Time) {
	late := func(i int, reason string, wait time.Duration) observed {
		return observed{at: now.Add(time.Duration(i-60) * time.Second), plan: fmt.Sprint("p", i), point: latePoint, reason: reason, wait: wait}
	}
	tooLate := late(14, "ok", 2500*time.Millisecond)
	tooLate.after = true
	eth := late(15, "parse_error", 300*time.Millisecond)
	eth.symbol = "ETHUSDT"
	s.observe(
		observed{at: now.Add(-time.Hour), plan: "old", point: latePoint, reason: "timeout", wait: 2 * time.Second},
		observed{at: now.Add(-time.Hour), plan: "old", point: earlyPoint, reason: "missing"},
	)
	s.observe(
		observed{at: now.Add(-60 * time.Second), plan: "p1", point: earlyPoint, reason: "ok", wait: time.Millisecond},
		observed{at: now.Add(-60 * time.Second), plan: "p2", point: earlyPoint, reason: "missing", wait: 2 * time.Millisecond},
		observed{at: now.Add(-60 * time.Second), plan: "p3", point: earlyPoint, reason: "missing", wait: 3 * time.Millisecond},
		observed{at: now.Add(-60 * time.Second), plan: "p4", point: earlyPoint, reason: "missing", wait: 4 * time.Millisecond},
		observed{at: now.Add(-60 * time.Second), plan: "p5", point: earlyPoint, reason: "missing", wait: 5 * time.Millisecond},
		late(10, "ok", 100*time.Millisecond), late(11, "ok", 110*time.Millisecond), late(12, "ok", 120*time.Millisecond), late(13, "ok", 400*time.Millisecond),
		tooLate, eth, late(16, "timeout", 2*time.Second), late(17, "timeout", 2*time.Second),
	)
	s.do("XADD", observedStream, fmt.Sprintf("%d-*", now.Add(-40*time.Second).UnixMilli()), "no", "observation")
}

func TestNumbersAreThoseOfTheStreams(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newSite(t, server)
	now := s.now()
	history(s, now)

	sum := get[web.Summary](s, "summary")
	require.True(t, sum.Redis.Reachable)
	late, early := sum.Late, sum.Early
	require.Equal(t, web.Reasons{OK: 5, Timeout: 2, ParseError: 1}, late.Reasons)
	require.Equal(t, []int{8, 4, 1}, []int{late.Observations, late.Found, late.AfterDeadline})
	require.InDelta(t, 4.0/7, *late.Coverage, 1e-9, "what was found after the deadline counts in neither")
	require.Equal(t, web.Waiting{P50: 110, P90: 120, P99: 120, Max: 400}, *late.WaitMs)
	require.InDelta(t, 0.2, *early.Coverage, 1e-9)
	require.Equal(t, web.Waiting{P50: 3, P90: 4, P99: 4, Max: 5}, *sum.ReadersDelay)
	require.Equal(t, 15, sum.History.Observations)
	require.Equal(t, 1, sum.History.Unreadable)
	require.Equal(t, now.Add(-time.Hour).UTC(), *sum.History.First)
	require.False(t, sum.DayAgo.Available, "nothing is invented")
	require.Contains(t, sum.DayAgo.Note, "no further than "+now.Add(-time.Hour).UTC().Format(time.RFC3339))
	require.EqualValues(t, 2000, sum.Wait.MaxWaitMs)

	series := get[web.Series](s, "series")
	require.Equal(t, []int{10, 6}, []int{total(series.Late.Observations) + 1, total(series.Early.Observations)}, "the hour before is there too")
	require.Equal(t, 4, total(series.Late.Found))
	require.Equal(t, 3, total(series.Late.Reasons.Timeout))
	require.Len(t, series.Late.Coverage, len(series.T))
	require.Nil(t, series.Late.Coverage[len(series.T)/2], "an empty bucket has no coverage")
	require.Equal(t, 8, total(get[web.Series](s, "series?minutes=2&buckets=10").Late.Observations))

	waits := get[web.Waits](s, "waits")
	found, givenUp, after := 0, 0, 0
	for _, bin := range waits.Bins {
		found, givenUp, after = found+bin.Found, givenUp+bin.GivenUp, after+bin.AfterDeadline
		if bin.From <= 400 && 400 < bin.To {
			require.Equal(t, 1, bin.Found)
		}
	}
	require.Equal(t, []int{4, 4, 0, 1}, []int{found, givenUp, after, waits.Beyond})
	require.Equal(t, 4, waits.GivenUp)
	require.Less(t, waits.MaxWaitMs, waits.Bins[len(waits.Bins)-1].To)

	all := get[web.Observations](s, "observations?limit=500")
	require.Equal(t, 15, all.Matching)
	require.Equal(t, "p17", all.Observations[0].PlanID, "the newest first")
	require.EqualValues(t, s.rdb.XLen(t.Context(), observedStream).Val()-1, len(all.Observations))
	for query, want := range map[string]int{
		"symbol=ETHUSDT": 1, "reason=timeout": 3, "plan_id=p1": 1, "obs_point=" + earlyPoint: 6, "reason=missing&obs_point=" + latePoint: 0,
		"limit=2": 15, "before=" + all.Observations[0].ID: 14,
	} {
		require.Equal(t, want, get[web.Observations](s, "observations?"+query).Matching, query)
	}
	require.Len(t, get[web.Observations](s, "observations?limit=2").Observations, 2)

	// Another process, or this one after a restart, says the same.
	other := newSite(t, server)
	again := get[web.Summary](other, "summary")
	require.Equal(t, sum.Late, again.Late)
	require.Equal(t, sum.History, again.History)

	// What the stream loses the page loses.
	s.do("XTRIM", observedStream, "MINID", fmt.Sprintf("%d", now.Add(-48*time.Second).UnixMilli()))
	left := eventually(s, "summary", func(v web.Summary) bool { return v.History.Observations < 15 })
	require.Equal(t, 6, left.Late.Observations)
	require.Zero(t, left.Early.Observations)
}

func total(column []int) (n int) {
	for _, v := range column {
		n += v
	}
	return n
}

func TestDayAgo(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	then := s.now().Add(-24*time.Hour - time.Minute)
	s.observe(
		observed{at: then.Add(-time.Hour), plan: "before", point: latePoint, reason: "timeout"},
		observed{at: then, plan: "a", point: latePoint, reason: "ok", wait: 50 * time.Millisecond},
		observed{at: then, plan: "b", point: latePoint, reason: "timeout", wait: 2 * time.Second},
		observed{at: then.Add(time.Hour), plan: "after", point: latePoint, reason: "timeout"},
	)
	day := get[web.Summary](s, "summary").DayAgo
	require.True(t, day.Available, day.Note)
	require.Equal(t, 2, day.Late.Observations)
	require.InDelta(t, 0.5, *day.Late.Coverage, 1e-9)
}

func TestFlowAndFleet(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	now := s.now()
	for i := range 5 {
		s.plan(fmt.Sprint("p", i), now.Add(time.Duration(i-5)*time.Second), -1)
	}
	for _, group := range []string{earlyGroup, lateGroup} {
		s.do("XGROUP", "CREATE", planStream, group, "0")
		s.do("XREADGROUP", "GROUP", group, self, "COUNT", 3, "STREAMS", planStream, ">")
	}
	s.do("XACK", planStream, earlyGroup, s.rdb.XRange(t.Context(), planStream, "-", "+").Val()[0].ID)
	s.do("XGROUP", "CREATECONSUMER", planStream, lateGroup, "host-2-drained")
	s.do("HSET", "quantum:p28:totals", "dropped:"+lateGroup, 7, "trimmed:"+earlyGroup, 2, "dead:"+lateGroup, 1, "duplicate:"+earlyGroup, 4)
	s.do("SET", workerPrefix+self, `{"version":"v1.2.3","started":"2026-01-02T03:04:05Z","state":"running","per_sec":30}`)
	s.do("SET", workerPrefix+"host-2-drained", `{"version":"v1.2.2","started":"2026-01-02T03:04:05Z","state":"drained","per_sec":0}`)
	s.do("XADD", deadStream, "*", "reason", "no_symbol", "group", lateGroup)

	flow := get[web.Flow](s, "flow")
	edge := map[string]web.Edge{}
	for _, e := range flow.Edges {
		edge[e.ID] = e
	}
	require.EqualValues(t, 2, *edge["plans-early"].Lag)
	require.EqualValues(t, 2, edge["plans-early"].Pending)
	require.EqualValues(t, 3, edge["plans-late"].Pending)
	require.EqualValues(t, 3, edge["plans-late"].InFlight)
	require.EqualValues(t, []int64{7, 1}, []int64{edge["plans-late"].Dropped, edge["plans-late"].DeadLetters})
	require.EqualValues(t, 2, edge["plans-early"].Trimmed)
	require.EqualValues(t, 5, *flow.Nodes[0].Length)
	require.False(t, edge["plans-late"].Stuck, "it has a consumer that lives")
	sum := get[web.Summary](s, "summary")
	require.Equal(t, web.Lost{Dropped: 7, Trimmed: 2, Duplicates: 4, DeadLetters: 1}, sum.Lost)

	workers := get[web.Workers](s, "workers")
	require.Len(t, workers.Workers, 2)
	me, gone := workers.Workers[0], workers.Workers[1]
	require.Equal(t, []any{self, "alive", true, "v1.2.3"}, []any{me.Name, me.State, me.This, *me.Version})
	require.InDelta(t, 1, *me.Share, 1e-9)
	require.InDelta(t, 30, *me.PerSec, 1e-9)
	require.EqualValues(t, []web.WorkerGroup{{Group: earlyGroup, Pending: 2}, {Group: lateGroup, Pending: 3}},
		[]web.WorkerGroup{{Group: me.Groups[0].Group, Pending: me.Groups[0].Pending}, {Group: me.Groups[1].Group, Pending: me.Groups[1].Pending}})
	require.Equal(t, []any{"host-2-drained", "drained", "v1.2.2"}, []any{gone.Name, gone.State, *gone.Version})
}

// TestAbandonedGroupIsStuck shortens the idle time after which a worker is dead, and finds it dead and its group stuck.
func TestAbandonedGroupIsStuck(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := newSite(t, server, func(o *web.Options) {
		operator := o.Source.(*operate.Operator)
		setup := operator.Setup
		setup.MinIdle = time.Millisecond
		o.Source = operate.New(server.Client(), setup)
	})
	s.plan("p", s.now(), -1)
	for _, group := range []string{earlyGroup, lateGroup} {
		s.do("XGROUP", "CREATE", planStream, group, "0")
	}
	s.do("XREADGROUP", "GROUP", lateGroup, "host-3-dead", "COUNT", 1, "STREAMS", planStream, ">")
	flow := eventually(s, "flow", func(f web.Flow) bool { return len(f.Edges) > 0 && f.Edges[1].Stuck })
	require.Contains(t, flow.Edges[1].Why[0], "no live consumer while 1 are pending")
	require.Equal(t, "dead", get[web.Workers](s, "workers").Workers[0].State)
	verdict := get[web.Summary](s, "summary").Verdict
	require.Equal(t, "bad", verdict.State)
	require.Contains(t, verdict.Text, "stuck")
}

// TestWaitsOfAnAllowedWaitOfMinutes has plans given up after minutes, and one by a worker that was away for an hour.
func TestWaitsOfAnAllowedWaitOfMinutes(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t), func(o *web.Options) { o.Settings.MaxWait = 10 * time.Minute })
	now := s.now()
	s.observe(
		observed{at: now, plan: "p1", point: latePoint, reason: "timeout", wait: 10 * time.Minute},
		observed{at: now, plan: "p2", point: latePoint, reason: "timeout", wait: time.Hour},
	)
	waits := get[web.Waits](s, "waits")
	givenUp := 0
	for _, bin := range waits.Bins {
		givenUp += bin.GivenUp
	}
	require.Equal(t, []int{1, 1, 2}, []int{givenUp, waits.Beyond, waits.GivenUp})
}

func TestPlanAndDeadLetters(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	now := s.now()
	const hostile = `"><img src=x onerror=alert(1)> /../%2e ☃`
	s.plan(hostile, now.Add(-time.Second), 100*time.Millisecond)
	s.observe(observed{at: now, plan: hostile, point: latePoint, reason: "ok", wait: 100 * time.Millisecond})
	status, header, body := s.ask("/api/v1/plans?plan_id=" + url.QueryEscape(hostile))
	require.Equal(t, 200, status, body)
	require.Equal(t, "application/json", header.Get("Content-Type"))
	require.NotContains(t, body, "<img", "no markup survives in JSON")
	plan := get[web.Plan](s, "plans?plan_id="+url.QueryEscape(hostile))
	require.Equal(t, hostile, plan.PlanID)
	var what []string
	for _, e := range plan.Events {
		what = append(what, e.What)
	}
	require.Equal(t, []string{"published", "decision", "observation"}, what)
	require.False(t, get[web.Plan](s, "plans?plan_id=nobody").Found)
	_, _, body = s.ask("/api/v1/observations")
	require.NotContains(t, body, "<img")

	for i := range 3 {
		s.do("XADD", deadStream, fmt.Sprintf("%d-0", i+1), "reason", []string{"no_symbol", "bad_field", "no_symbol"}[i], "error", "<script>", "stream", planStream,
			"group", lateGroup, "entry_id", "1-1", "failures", "1", "ts_epoch", "1", "raw", `{"plan_id":"<b>x</b>"}`)
	}
	s.do("XADD", deadStream, "4-0", "reason", "too_large", "group", lateGroup, "raw", `{"x":"`+string(make([]byte, 0))+long(5000)+`"}`)
	dead := get[web.DeadLetters](s, "deadletters")
	require.EqualValues(t, 4, dead.Total)
	require.Equal(t, "4-0", dead.DeadLetters[0].ID)
	require.Equal(t, "null", string(dead.DeadLetters[0].Raw), "what is long is shown by itself alone")
	require.JSONEq(t, `{"plan_id":"<b>x</b>"}`, string(dead.DeadLetters[1].Raw))
	require.Len(t, get[web.DeadLetters](s, "deadletters?reason=no_symbol").DeadLetters, 2)
	require.Len(t, get[web.DeadLetters](s, "deadletters?limit=1").DeadLetters, 1)
	require.Len(t, get[web.DeadLetter](s, "deadletters/4-0").Raw, 5008)
	status, _, _ = s.ask("/api/v1/deadletters/9-9")
	require.Equal(t, 404, status)
}

func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'x'
	}
	return string(b)
}

// TestWhatIf knows the delay of every plan: of 100 plans 90 have heat after 100, 200, … 900 ms, ten each, and ten never.
func TestWhatIf(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	empty := get[web.WhatIf](s, "what-if")
	require.Nil(t, empty.Coverage)
	require.NotEmpty(t, empty.Note)
	begin := s.now().Add(-10 * time.Minute)
	for i := range 100 {
		delay := time.Duration(i%10) * 100 * time.Millisecond
		if delay == 0 {
			delay = -1
		}
		s.plan(fmt.Sprint("p", i), begin.Add(time.Duration(i)*time.Second), delay)
	}
	for ms, want := range map[int]float64{50: 0, 100: 0.1, 550: 0.5, 2000: 0.9} {
		w := get[web.WhatIf](s, fmt.Sprint("what-if?max_wait_ms=", ms))
		require.EqualValues(t, 100, w.Decided)
		require.InDelta(t, want, *w.Coverage, 1e-9, "%d ms", ms)
		require.InDelta(t, 0.9, *w.Current.Coverage, 1e-9)
		require.EqualValues(t, 1150, *w.Advised, "99 %% of what comes is there after 900 ms, and a quarter more")
		require.Len(t, w.Curve.Coverage, len(w.Curve.WaitMs))
		require.Equal(t, w.LongestMs, w.Curve.WaitMs[len(w.Curve.WaitMs)-1])
	}
	require.Nil(t, get[web.WhatIf](s, "what-if?max_wait_ms=600000").Coverage, "beyond what was simulated nothing is known")
	sum := eventually(s, "summary", func(v web.Summary) bool { return v.Wait.Advised != nil })
	require.EqualValues(t, 1150, *sum.Wait.Advised)
}

// silent does not say where a stream begins, as the Redis of the demo.
type silent struct{ replay.Source }

func (s silent) Extent(ctx context.Context, kind replay.Kind) (replay.Extent, error) {
	e, err := s.Source.Extent(ctx, kind)
	e.First = entry.ID{}
	return e, err
}

// TestWhatIfOfAYoungHistory has a curve from the first seconds on, over waits that have ended in them.
func TestWhatIfOfAYoungHistory(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t), func(o *web.Options) { o.History = silent{o.History} })
	begin := s.now().Add(-8 * time.Second)
	for i := range 30 {
		s.plan(fmt.Sprint("p", i), begin.Add(time.Duration(i)*10*time.Millisecond), 100*time.Millisecond)
	}
	w := get[web.WhatIf](s, "what-if")
	require.GreaterOrEqual(t, w.LongestMs, int64(4000))
	require.EqualValues(t, 30, w.Decided, w.Note)
	require.NotEmpty(t, w.Curve.WaitMs)
}
