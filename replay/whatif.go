package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"heatobserver/event"
)

// Choice is one combination of settings and what it would have given.
type Choice struct {
	Settings
	Result *Result
}

// WhatIf is the comparison of several settings over the same history.
type WhatIf struct {
	Choices []Choice
	Curve   Curve
}

// Curve is the coverage of the late observation point for every allowed wait up to Longest, in whole milliseconds.
type Curve struct {
	Longest time.Duration
	Decided int64 // late plans whose wait of Longest ended within the history
	Delays  *Histogram
}

// At is the coverage at an allowed wait, 0 to 1.
func (c Curve) At(wait time.Duration) float64 {
	if c.Decided == 0 {
		return 0
	}
	return float64(c.Delays.atMost(wait.Milliseconds())) / float64(c.Decided)
}

// Points are the allowed waits at which the curve rises, the shortest first.
func (c Curve) Points() (waits []time.Duration) {
	for ms, n := range c.Delays.counts {
		if n > 0 {
			waits = append(waits, time.Duration(ms)*time.Millisecond)
		}
	}
	return waits
}

// Smallest is the smallest allowed wait that reaches a coverage; ok is false where none up to Longest does.
func (c Curve) Smallest(target float64) (wait time.Duration, ok bool) {
	var found int64
	for ms, n := range c.Delays.counts {
		found += n
		if c.Decided > 0 && float64(found) >= target*float64(c.Decided) {
			return time.Duration(ms) * time.Millisecond, true
		}
	}
	return 0, false
}

// Compare simulates all settings in one pass over the history, and one more without limits that waits for longest: its
// coverage curve holds for every allowed wait. All settings have the read delay of the first.
func Compare(ctx context.Context, source Source, r Range, o Options, settings []Settings, longest time.Duration) (*WhatIf, error) {
	if len(settings) == 0 {
		return nil, errors.New("compare settings: there are none")
	}
	probe := settings[0]
	probe.MaxWait, probe.Notify, probe.Inflight, probe.Skip = longest, true, 0, false
	for i, s := range settings {
		if s.ReadDelay != settings[0].ReadDelay {
			return nil, errors.New("compare settings: they differ in their read delay")
		}
		if s.MaxWait > longest {
			return nil, fmt.Errorf("compare settings: number %d waits longer (%v) than the curve (%v)", i+1, s.MaxWait, longest)
		}
	}
	all := append(append([]Settings(nil), settings...), probe)
	results, err := run(ctx, source, r, o, all, make([]func(*event.Observation) error, len(all)))
	if results == nil {
		return nil, err
	}
	w := &WhatIf{}
	for i, s := range settings {
		w.Choices = append(w.Choices, Choice{Settings: s, Result: results[i]})
	}
	late := &results[len(settings)].Points[event.Late]
	w.Curve = Curve{Longest: longest, Decided: late.Total - late.AfterDeadline, Delays: &late.Waits}
	return w, err
}
