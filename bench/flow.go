package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"heatobserver/event"
)

// flowCase is plans at a steady rate whose heat comes some time after them.
type flowCase struct {
	Scheme   scheme  `json:"scheme"`
	Rate     float64 `json:"plans_per_s"`
	Heat     string  `json:"heat_after"` // in words
	InFlight int     `json:"in_flight"`

	seconds float64
	delay   func(*rand.Rand) time.Duration
}

// flow is what a case showed.
type flow struct {
	flowCase
	Plans int `json:"plans"`
	// Noticed is the time from just before the hash went to Redis until the end of the millisecond in the entry ID of the
	// late observation.
	Noticed spread `json:"written_to_observation"`
	// InTime plans had their heat within the allowed wait; Covered of them have a late observation that says so. Heat
	// found after the deadline proves nothing about the wait and counts as not covered.
	InTime        int     `json:"heat_in_time"`
	Covered       int     `json:"covered"`
	Coverage      float64 `json:"coverage_percent"`
	AtOnce        int     `json:"late_found_at_once"`
	AfterDeadline int     `json:"late_after_deadline"`
	Timeout       int     `json:"late_timeout"`
	Missing       int     `json:"late_missing"`
	Dropped       int     `json:"dropped"`
	// Reader is the reader's delay: from publishing to the early look. It flatters the early coverage.
	Reader        spread             `json:"reader_delay"`
	EarlyCoverage float64            `json:"early_coverage_percent"`
	CPU           map[string]float64 `json:"cpu_percent_of_a_core"`
	PeakMB        float64            `json:"peak_rss_mb"`
	Behind        float64            `json:"load_behind_ms"`   // what the load fell behind at worst
	Warned        bool               `json:"warned_saturated"` // the log names the setting to raise
	Invalid       []string           `json:"invalid,omitempty"`

	noticed []time.Duration
}

// allowedWait is the default of P28_LATE_OBS_MAX_WAIT_MS.
const allowedWait = 2 * time.Second

// run measures one case.
func (c flowCase) run(t *trial, binary string) flow {
	l := newLoad(c.Rate, int(c.Rate*c.seconds), c.delay)
	h := observe(t, binary, c.Scheme, startServer(t), inFlight(c.InFlight))
	tail := startTail(t.ctx, h.newClient(), l)
	t.Cleanup(func() { _ = tail.end() })
	meter := startMeter(t, h.pids())

	behind := l.run(t, h.server.Addr())
	f := flow{flowCase: c, Plans: l.plans, Behind: millis(behind)}
	f.await(t, h, tail)
	f.CPU = meter.cpu()
	m, err := memoryOf(h.child.pid())
	t.check("measure the observer", err)
	f.PeakMB = m.peak
	f.Dropped = h.dropped(t)
	h.child.stop() // what it still writes at its end would be doubled
	pauseUntil(t.ctx, time.Now().Add(200*time.Millisecond))
	t.check("read the observed stream", tail.end())
	f.count(l, tail)
	f.Warned = warnedSaturated(h.child)
	return f
}

// warnedSaturated reports whether the log names the setting to raise.
func warnedSaturated(c *child) bool {
	return slices.ContainsFunc(c.warned(), func(line string) bool { return strings.Contains(line, "P28_LATE_OBS_MAX_INFLIGHT") })
}

// await waits until every plan is observed, or until nothing can come any more.
func (f *flow) await(t *trial, h *house, tail *tail) {
	want := 2 * int64(f.Plans)
	limit := time.Now().Add(allowedWait + 20*time.Second)
	if h.scheme == pythonScheme { // what it dropped is known only at its end
		want, limit = int64(f.Plans), time.Now().Add(allowedWait+time.Second)
	}
	for tail.saw.Load() < want && time.Now().Before(limit) && t.ctx.Err() == nil {
		pauseUntil(t.ctx, time.Now().Add(20*time.Millisecond))
	}
}

// count makes the figures of what was seen, and checks that it is complete.
func (f *flow) count(l *load, tail *tail) {
	inTime := make([]bool, l.plans)
	for _, h := range l.heat {
		if h.due-l.moment(h.plan) < allowedWait {
			inTime[h.plan] = true
			f.InTime++
		}
	}
	var reader []time.Duration
	lost, doubled, early := 0, 0, 0
	for i, late := range tail.late {
		switch {
		case late.times == 0:
			lost++
		case late.times > 1:
			doubled++
		}
		if e := tail.early[i]; e.times > 0 {
			early++
			doubled += min(1, e.times-1)
			reader = append(reader, time.Duration(e.what.WaitMs)*time.Millisecond)
			if e.what.Found() {
				f.EarlyCoverage++
			}
		}
		if late.times > 0 {
			f.add(late, inTime[i], l.written[i])
		}
	}
	f.EarlyCoverage = percent(int(f.EarlyCoverage), early)
	f.Coverage = percent(f.Covered, f.InTime)
	f.Noticed, f.Reader = spreadOf(f.noticed), spreadOf(reader)
	invalid := func(is bool, format string, args ...any) {
		if is {
			f.Invalid = append(f.Invalid, fmt.Sprintf(format, args...))
		}
	}
	invalid(lost != f.Dropped, "%d plans without a late observation, %d dropped", lost, f.Dropped)
	invalid(doubled > 0, "%d observations doubled", doubled)
	invalid(f.Scheme != pythonScheme && early != l.plans, "%d plans without an early observation", l.plans-early)
	invalid(tail.strange > 0, "%d entries that are no observation", tail.strange)
	invalid(f.Behind > 500, "the load fell %.0f ms behind", f.Behind)
}

func (f *flow) add(late seen, inTime bool, written time.Duration) {
	o := late.what
	switch {
	case o.AfterDeadline:
		f.AfterDeadline++
	case o.Reason == event.OK:
		if inTime {
			f.Covered++
		}
	case o.Reason == event.Timeout:
		f.Timeout++
	case o.Reason == event.Missing:
		f.Missing++
	}
	if o.Reason == event.OK {
		if o.Noticed == event.AtOnce {
			f.AtOnce++
		}
		f.noticed = append(f.noticed, late.at-written)
	}
}
