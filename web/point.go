package web

import (
	"slices"

	"heatobserver/event"
)

// Point is what was seen at one observation point.
type Point struct {
	Enabled       bool     `json:"enabled"`
	Observations  int      `json:"observations"`
	Found         int      `json:"found"`
	AfterDeadline int      `json:"after_deadline"`
	Coverage      *float64 `json:"coverage"`
	Reasons       Reasons  `json:"reasons"`
	WaitMs        *Waiting `json:"wait_ms"`
}

// Reasons counts by reason.
type Reasons struct {
	OK         int `json:"ok"`
	Missing    int `json:"missing"`
	Timeout    int `json:"timeout"`
	RedisError int `json:"redis_error"`
	ParseError int `json:"parse_error"`
}

func (r *Reasons) add(reason event.Reason) {
	switch reason {
	case event.OK:
		r.OK++
	case event.Missing:
		r.Missing++
	case event.Timeout:
		r.Timeout++
	case event.RedisError:
		r.RedisError++
	case event.ParseError:
		r.ParseError++
	}
}

// Waiting are percentiles in milliseconds.
type Waiting struct {
	P50 int64 `json:"p50"`
	P90 int64 `json:"p90"`
	P99 int64 `json:"p99"`
	Max int64 `json:"max"`
}

// tally counts observations of one point.
type tally struct {
	Point
	waits []int64
}

// add counts an observation. Waits are those of heat found in time; for early, the delay of the readers, of all.
func (t *tally) add(o *event.Observation) {
	t.Observations++
	t.Reasons.add(o.Reason)
	switch {
	case o.AfterDeadline:
		t.AfterDeadline++
		return
	case o.Found():
		t.Found++
	case o.Point == event.Late:
		return
	}
	if ours(o) {
		t.waits = append(t.waits, o.WaitMs)
	}
}

// ours reports whether the observation says how long it took: those of the Python observer do not.
func ours(o *event.Observation) bool { return o.SourceID.Ms != 0 }

// done works out shares and percentiles.
func (t *tally) done() Point {
	if n := t.Observations - t.AfterDeadline; n > 0 {
		share := float64(t.Found) / float64(n)
		t.Coverage = &share
	}
	t.WaitMs = waitingOf(t.waits)
	return t.Point
}

// waitingOf sorts waits; nil without one.
func waitingOf(waits []int64) *Waiting {
	if len(waits) == 0 {
		return nil
	}
	slices.Sort(waits)
	return &Waiting{P50: rank(waits, 0.5), P90: rank(waits, 0.9), P99: rank(waits, 0.99), Max: waits[len(waits)-1]}
}

// rank is the smallest of sorted values that a share q of all does not exceed.
func rank(sorted []int64, q float64) int64 {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted)-1)))]
}

// pointsOf counts items.
func pointsOf(items []item, o *Options) (late, early Point) {
	var t [len(event.Points)]tally
	t[event.Late].Enabled, t[event.Early].Enabled = o.Late.Enabled, o.Early.Enabled
	for i := range items {
		if it := &items[i]; !it.bad {
			t[it.obs.Point].add(&it.obs)
		}
	}
	return t[event.Late].done(), t[event.Early].done()
}
