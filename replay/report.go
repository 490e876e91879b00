package replay

import (
	"maps"
	"slices"

	"heatobserver/event"
)

// Report is a Result as it is shown and written as JSON; the same history gives the same bytes.
type Report struct {
	Plans        int64          `json:"plans"`
	Malformed    int64          `json:"malformed_plans"`
	Decisions    int64          `json:"decisions"`
	BadDecisions int64          `json:"malformed_decisions"`
	TooEarly     int64          `json:"plans_before_decisions"`
	Dropped      int64          `json:"dropped"`
	InflightPeak int            `json:"inflight_peak"`
	BacklogPeak  int            `json:"backlog_peak"`
	AddedP99Ms   int64          `json:"added_delay_p99_ms"`
	AddedMaxMs   int64          `json:"added_delay_max_ms"`
	Incomplete   bool           `json:"incomplete"`
	Points       []PointReport  `json:"obs_points"`
	Symbols      []TallyReport  `json:"symbols"` // of the late point
	WindowMs     int64          `json:"window_ms"`
	Windows      []WindowReport `json:"windows"`
}

// TallyReport is a Tally with its coverage, null where nothing counts.
type TallyReport struct {
	Name          string   `json:"name"`
	Observations  int64    `json:"observations"`
	Found         int64    `json:"found_in_time"`
	AfterDeadline int64    `json:"found_after_deadline"`
	Coverage      *float64 `json:"coverage"`
}

// PointReport is what was seen at one observation point. The waits are null where nothing was found in time.
type PointReport struct {
	TallyReport
	Reasons    map[event.Reason]int64 `json:"reasons"`
	Duplicates int64                  `json:"duplicates"`
	Undecided  int64                  `json:"undecided"`
	P50Ms      *int64                 `json:"wait_p50_ms"`
	P90Ms      *int64                 `json:"wait_p90_ms"`
	P99Ms      *int64                 `json:"wait_p99_ms"`
	MaxMs      *int64                 `json:"wait_max_ms"`
}

// WindowReport is a stretch of publish time.
type WindowReport struct {
	StartMs int64       `json:"start_ms"`
	Early   TallyReport `json:"early"`
	Late    TallyReport `json:"late"`
}

func tally(name string, t Tally) TallyReport {
	r := TallyReport{Name: name, Observations: t.Total, Found: t.Found, AfterDeadline: t.AfterDeadline}
	if share, ok := t.Coverage(); ok {
		r.Coverage = &share
	}
	return r
}

// Report makes the report of a result.
func (r *Result) Report() Report {
	out := Report{
		Plans: r.Plans, Malformed: r.Malformed, Decisions: r.Decisions, BadDecisions: r.BadDecisions, TooEarly: r.TooEarly, Dropped: r.Dropped,
		InflightPeak: r.InflightPeak, BacklogPeak: r.BacklogPeak,
		AddedP99Ms: r.Added.Percentile(0.99), AddedMaxMs: r.Added.Max(), Incomplete: r.Incomplete,
		WindowMs: r.WindowMs, Symbols: []TallyReport{}, Windows: []WindowReport{},
	}
	for _, point := range event.Points {
		p := &r.Points[point]
		out.Points = append(out.Points, PointReport{
			TallyReport: tally(point.String(), p.Tally), Reasons: p.Reasons, Duplicates: p.Duplicates, Undecided: p.Undecided,
		})
		if p.Waits.N() > 0 {
			r := &out.Points[len(out.Points)-1]
			r.P50Ms, r.P90Ms, r.P99Ms = new(p.Waits.Percentile(0.5)), new(p.Waits.Percentile(0.9)), new(p.Waits.Percentile(0.99))
			r.MaxMs = new(p.Waits.Max())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Symbols)) {
		out.Symbols = append(out.Symbols, tally(name, *r.Symbols[name]))
	}
	for _, w := range r.Windows {
		out.Windows = append(out.Windows, WindowReport{w.StartMs, tally("early", w.Points[event.Early]), tally("late", w.Points[event.Late])})
	}
	return out
}
