package web

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/operate"
	"heatobserver/stream"
)

func read(from, to uint64) (all []operate.Observed) {
	for ms := to; ms >= from; ms-- { // the newest first
		all = append(all, operate.Observed{ID: entry.ID{Ms: ms}, Observation: event.Observation{Point: event.Late, Reason: event.OK}})
	}
	return all
}

func TestRingIsBoundedAndItsViewsStay(t *testing.T) {
	var r ring
	r.add(read(1, 100), 0)
	before := r.view()
	for i := uint64(0); i < 10; i++ {
		r.add(read(101+i*2000, 100+(i+1)*2000), 5)
		require.LessOrEqual(t, len(r.items), ringMost)
		require.LessOrEqual(t, cap(r.items), 3*ringMost)
	}
	require.Len(t, r.items, ringMost)
	require.EqualValues(t, 20_100, r.last().Ms)
	require.Len(t, before, 100)
	for i := range before {
		require.EqualValues(t, i+1, before[i].id.Ms)
	}
	h := historyOf(r.view())
	require.EqualValues(t, 25, h.Skipped, "five gaps lie behind the first that is held")
	r.trim(entry.ID{Ms: 20_001})
	require.Len(t, r.items, 100)
	require.Zero(t, historyOf(r.view()).Skipped)
	require.Len(t, since(r.view(), time.UnixMilli(20_051)), 50)
	require.Len(t, after(r.view(), entry.ID{Ms: 20_090}), 10)
}

// TestPagesOfObservationsLoseNoneWithTheSameID reads on page by page over IDs that several partitions have.
func TestPagesOfObservationsLoseNoneWithTheSameID(t *testing.T) {
	s := &snapshot{}
	var want []string
	for i, ms := range []uint64{9, 8, 8, 8, 7, 6, 6, 5} { // the newest first
		plan := "p" + strconv.Itoa(i)
		want = append(want, plan)
		s.items = append([]item{{id: entry.ID{Ms: ms}, obs: event.Observation{PlanID: plan}}}, s.items...)
	}
	for limit := 1; limit <= len(want); limit++ {
		var got []string
		for before := (entry.ID{}); ; {
			page := s.observations(filter{before: before}, limit)
			require.Equal(t, len(want)-len(got), page.Matching)
			if page.Matching == 0 {
				break
			}
			for _, o := range page.Observations {
				got = append(got, o.PlanID)
			}
			var err error
			before, err = entry.ParseID(page.Observations[len(page.Observations)-1].ID)
			require.NoError(t, err)
		}
		require.Equal(t, want, got, "%d a page", limit)
	}
	require.Len(t, s.observations(filter{}, 2).Observations, 4)
	require.Len(t, s.observations(filter{}, 4).Observations, 4)
}

// written is a Source with an observation at each of so many milliseconds.
type written struct {
	Source
	n uint64
}

func (w *written) Observed(_ context.Context, from, to entry.ID, most int) ([]operate.Observed, error) {
	last := min(to.Ms, w.n)
	first := from.Ms
	if from.Seq > 0 {
		first++
	}
	if last < first {
		return nil, nil
	}
	return read(max(first, last-min(last, uint64(most))+1), last), nil
}

// TestOutageLeavesNoHole has rounds go on while nothing can be read, and finds all of what was written meanwhile.
func TestOutageLeavesNoHole(t *testing.T) {
	source := &written{}
	c := collector{opts: &Options{Source: source}}
	for _, n := range []uint64{100, 5000} {
		source.n = n
		state := stream.State{Length: int64(n), Added: int64(n), First: entry.ID{Ms: 1}, Last: entry.ID{Ms: n}}
		require.NoError(t, c.tail(t.Context(), operate.Streams{Observed: state}, time.Now()))
		require.Equal(t, int(n), len(c.ring.items)) //nolint:testifylint // not all of them in a failure
		require.Zero(t, historyOf(c.ring.view()).Skipped)
		c.last = &snapshot{made: time.Now()} // rounds that failed
		c.readAt = c.readAt.Add(-lookedFor)

	}
}

func TestTextIsClipped(t *testing.T) {
	long := make([]byte, 1<<20)
	for i := range long {
		long[i] = 'x'
	}
	o := held(event.Observation{PlanID: string(long), Error: string(long), Heat: event.Heat{Mode: string(long)}})
	require.Len(t, o.PlanID, textMost+len("…"))
	require.Len(t, o.Error, textMost+len("…"))
	require.Len(t, o.Heat.Mode, textMost+len("…"))
	require.Equal(t, "ä…", clip("ää", 3), "no half character")
}

func TestVerdict(t *testing.T) {
	now := time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC)
	summary := func(share float64, change func(*Summary)) *Summary {
		s := &Summary{
			Time: now, Redis: Redis{Reachable: true, AsOf: now}, Wait: Wait{MaxWaitMs: 2000}, History: History{Last: &now},
			Late:  Point{Enabled: true, Observations: 100, Coverage: &share, WaitMs: &Waiting{P99: 160}},
			Early: Point{Enabled: true},
		}
		change(s)
		return s
	}
	for _, c := range []struct {
		name   string
		share  float64
		change func(*Summary)
		want   Verdict
	}{
		{"good", 0.95, func(*Summary) {}, Verdict{good, "Heat arrives in time; p99 is 160 ms of 2000 ms."}},
		{"tight", 0.95, func(s *Summary) { s.Late.WaitMs.P99 = 1900 }, Verdict{warn, "Heat arrives just in time; p99 is 1900 ms of 2000 ms."}},
		{"some, and more would come", 0.7, func(s *Summary) {
			s.Late.Reasons.Timeout, s.Wait.advice = 30, advice{Advised: ptr(int64(3000)), gains: 0.2}
		}, Verdict{warn, "Heat arrives in time for 70.0 % of plans; p99 is 160 ms of 2000 ms. Most of the rest timed out: heat comes later than that; 3000 ms would do."}},
		{"some, and no more", 0.7, func(s *Summary) { s.Late.Reasons.Timeout, s.Wait.Advised = 30, ptr(int64(300)) }, Verdict{warn, "Heat arrives in time for 70.0 % of plans; p99 is 160 ms of 2000 ms. Most of the rest timed out: their heat does not come; look at the heat gate and the heat bridge, not at the wait."}},
		{"some, and few are late", 0.3, func(s *Summary) {
			s.Late.Reasons.Timeout, s.Wait.advice = 60, advice{Advised: ptr(int64(6500)), gains: 0.025}
		}, Verdict{bad, "Heat does not arrive in time: 30.0 % of plans have it; p99 is 160 ms of 2000 ms. Most of the rest timed out: their heat does not come; look at the heat gate and the heat bridge, not at the wait."}},
		{"few, by errors", 0.1, func(s *Summary) { s.Late.Reasons.RedisError = 90 }, Verdict{bad, "Heat does not arrive in time: 10.0 % of plans have it; p99 is 160 ms of 2000 ms. Most of the rest are failed lookups: look at Redis, not at the wait."}},
		{"not rounded up", 0.8999, func(s *Summary) { s.Late.WaitMs = nil }, Verdict{warn, "Heat arrives in time for 89.9 % of plans."}},
		{"stuck", 0.95, func(s *Summary) { s.Stuck = []string{"group x has no live consumer"} }, Verdict{bad, "Observing is stuck: group x has no live consumer."}},
		{"away", 0.95, func(s *Summary) { s.Redis.Reachable, s.Stuck = false, []string{"x"} }, Verdict{unknown, "Redis cannot be read; what is shown is of 05:00:00 UTC."}},
		{"never", 0.95, func(s *Summary) { s.Redis = Redis{} }, Verdict{unknown, "Redis cannot be read, and could not since this process started."}},
		{"quiet", 0, func(s *Summary) { s.Late = Point{Enabled: true}; s.History.Last = ptr(now.Add(-3 * time.Hour)) }, Verdict{unknown, "No plan has been observed for 3 h."}},
		{"nothing yet", 0, func(s *Summary) { s.Late = Point{Enabled: true}; s.History.Last = nil }, Verdict{unknown, "No plan has been observed yet."}},
		{"all too late", 0, func(s *Summary) { s.Late.Coverage = nil }, Verdict{bad, "Every look came after the deadline: the observer is behind, and nothing is known about the allowed wait."}},
		{"late off", 0, func(s *Summary) { s.Late.Enabled = false }, Verdict{unknown, "Late observation is switched off: whether heat arrives in time is not known."}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, verdict(summary(c.share, c.change))) })
	}
}
