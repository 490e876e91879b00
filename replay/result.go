package replay

import (
	"cmp"
	"math"
	"slices"

	"heatobserver/event"
)

// Bounds of what a result keeps, so that it stays small whatever the history holds.
const (
	maxSymbols = 500 // more are counted together as "(others)"
	maxWindows = 60  // more are joined in pairs
	maxWaitMs  = 1 << 20
)

// Result is what one observer saw. Coverage leaves out what was found after the deadline, which stands beside it.
type Result struct {
	Plans        int64 // that were decoded
	Malformed    int64 // plans that are dead letters
	Decisions    int64
	BadDecisions int64 // without a usable plan_id
	Dropped      int64 // late plans that found no room
	InflightPeak int
	BacklogPeak  int
	Added        Histogram // delay in ms of the first late look for want of room
	Points       [len(event.Points)]PointResult
	Symbols      map[string]*Tally
	Windows      []Window
	WindowMs     int64
	Begin        int64 // of the decisions that are left, ms; 0 when none are gone
	TooEarly     int64 // plans published before that: undecided at both points
	End          int64 // of the history, ms
	Incomplete   bool  // an error ended the history early
}

// PointResult is what was seen at one observation point.
type PointResult struct {
	Tally
	Reasons    map[event.Reason]int64
	Duplicates int64     // held back by the dedupe key
	Undecided  int64     // their window passes the end of the history, or begins before the decisions that are left
	Waits      Histogram // of what was found in time, ms
}

// Tally counts observations.
type Tally struct {
	Total         int64
	Found         int64 // in time
	AfterDeadline int64 // found too late to prove anything; part of Total
}

func (t *Tally) add(o *event.Observation) {
	t.Total++
	switch {
	case o.AfterDeadline:
		t.AfterDeadline++
	case o.Found():
		t.Found++
	}
}

// Coverage is the share found in time, 0 to 1; ok is false without an observation that counts.
func (t Tally) Coverage() (share float64, ok bool) {
	if n := t.Total - t.AfterDeadline; n > 0 {
		return float64(t.Found) / float64(n), true
	}
	return 0, false
}

// Window is a stretch of publish time.
type Window struct {
	StartMs int64
	Points  [len(event.Points)]Tally
}

func newResult() *Result {
	r := &Result{Symbols: make(map[string]*Tally), WindowMs: 1000}
	for i := range r.Points {
		r.Points[i].Reasons = make(map[event.Reason]int64)
	}
	return r
}

func (r *Result) add(o *event.Observation) {
	p := &r.Points[o.Point]
	p.add(o)
	p.Reasons[o.Reason]++
	if o.Found() && !o.AfterDeadline {
		p.Waits.Add(o.WaitMs)
	}
	r.window(int64(o.SourceID.Ms)).Points[o.Point].add(o)
	if o.Point != event.Late {
		return
	}
	t := r.Symbols[o.Symbol]
	if t == nil {
		name := o.Symbol
		if len(r.Symbols) >= maxSymbols {
			name = "(others)"
		}
		if t = r.Symbols[name]; t == nil {
			t = &Tally{}
			r.Symbols[name] = t
		}
	}
	t.add(o)
}

func (r *Result) added(ms int64) { r.Added.Add(max(0, ms)) }

// window is that of a publish time; the newest are asked for most.
func (r *Result) window(ms int64) *Window {
	for {
		start := ms - ms%r.WindowMs
		if n := len(r.Windows); n > 0 && r.Windows[n-1].StartMs == start {
			return &r.Windows[n-1]
		}
		i, found := slices.BinarySearchFunc(r.Windows, start, func(w Window, t int64) int { return cmp.Compare(w.StartMs, t) })
		if found {
			return &r.Windows[i]
		}
		if len(r.Windows) < maxWindows {
			r.Windows = slices.Insert(r.Windows, i, Window{StartMs: start})
			return &r.Windows[i]
		}
		r.joinWindows()
	}
}

func (r *Result) joinWindows() {
	r.WindowMs *= 2
	var joined []Window
	for _, w := range r.Windows {
		w.StartMs -= w.StartMs % r.WindowMs
		if n := len(joined); n > 0 && joined[n-1].StartMs == w.StartMs {
			for p := range w.Points {
				into := &joined[n-1].Points[p]
				into.Total += w.Points[p].Total
				into.Found += w.Points[p].Found
				into.AfterDeadline += w.Points[p].AfterDeadline
			}
			continue
		}
		joined = append(joined, w)
	}
	r.Windows = joined
}

// Histogram counts whole milliseconds exactly, up to a quarter of an hour. What is longer is counted together, and a percentile
// among it is the largest value.
type Histogram struct {
	counts []int64
	n      int64
	max    int64
}

// Add counts one value.
func (h *Histogram) Add(ms int64) {
	ms = max(ms, 0)
	h.max = max(h.max, ms)
	ms = min(ms, maxWaitMs)
	if int(ms) >= len(h.counts) {
		h.counts = append(h.counts, make([]int64, int(ms)+1-len(h.counts))...)
	}
	h.counts[ms]++
	h.n++
}

// N is the number of values.
func (h *Histogram) N() int64 { return h.n }

// Max is the largest value, 0 without one.
func (h *Histogram) Max() int64 { return h.max }

// Percentile is the smallest value that a share q (0 to 1) of all does not exceed, 0 without values.
func (h *Histogram) Percentile(q float64) int64 {
	if h.n == 0 {
		return 0
	}
	rank := min(h.n, max(1, int64(math.Ceil(q*float64(h.n)-1e-9)))) // less what 0.07 × 100 is above 7
	var seen int64
	for ms, c := range h.counts {
		if seen += c; seen >= rank && ms < maxWaitMs {
			return int64(ms)
		}
	}
	return h.Max()
}

// atMost is how many values do not exceed ms.
func (h *Histogram) atMost(ms int64) (n int64) {
	for i := int64(0); i <= ms && i < int64(len(h.counts)); i++ {
		n += h.counts[i]
	}
	return n
}
