package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"heatobserver/event"
)

// Estimate is the coverage curve as it can be estimated from observations alone: the estimator of Kaplan and Meier,
// with timeouts as right-censored waits. Beyond the longest wait that was allowed it says nothing.
type Estimate struct {
	Samples  int64 // late observations that count
	Censored int64 // of them, those whose heat did not come while they waited
	LeftOut  int64 // found after the deadline, never waited, or ended by an error: they say nothing about the delay
	Foreign  int64 // without wait_ms: not ours
	Steps    []EstimateStep
	Longest  time.Duration // of all waits; beyond it nothing is known
}

// EstimateStep is the estimate from a wait on, with its 95 % confidence band (Greenwood, on the log-log scale).
type EstimateStep struct {
	WaitMs          int64
	Coverage        float64
	Lower, Upper    float64
	AtRisk, Arrived int64
}

// EstimateCurve reads the observations of r.
func EstimateCurve(ctx context.Context, source Source, r Range) (*Estimate, error) {
	c, err := open(ctx, source, Observations, r, r.From)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.r.Close() }()
	e := &Estimate{}
	var arrived, censored Histogram
	for n := 1; ; n++ {
		item := c.peek()
		if item == nil {
			break
		}
		if n%8192 == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("estimate the curve: %w", ctx.Err())
		}
		o, err := event.DecodeObservation(item.Fields)
		c.next()
		switch {
		case err != nil || o.Point != event.Late:
		case o.SourceID.Compare(zeroID) == 0:
			e.Foreign++
		case o.AfterDeadline, o.Reason != event.OK && o.Reason != event.Timeout:
			e.LeftOut++
		case o.Reason == event.OK:
			arrived.Add(o.WaitMs)
		default:
			censored.Add(o.WaitMs)
		}
	}
	e.Samples, e.Censored = arrived.n+censored.n, censored.n
	e.Steps = kaplanMeier(&arrived, &censored)
	e.Longest = time.Duration(max(arrived.Max(), censored.Max())) * time.Millisecond
	if err := c.failure(); err != nil {
		return e, err
	}
	if e.Samples == 0 {
		return e, errors.New("estimate the curve: no late observation with a wait in this range")
	}
	return e, nil
}

// kaplanMeier is the product-limit estimate. A wait censored in the millisecond of an arrival was at risk of it.
func kaplanMeier(arrived, censored *Histogram) (steps []EstimateStep) {
	const z = 1.959963984540054 // 97.5 % of a normal distribution
	risk := arrived.n + censored.n
	missing, greenwood := 1.0, 0.0
	for ms := range max(len(arrived.counts), len(censored.counts)) {
		if d := at(arrived, ms); d > 0 {
			missing *= 1 - float64(d)/float64(risk)
			step := EstimateStep{WaitMs: int64(ms), Coverage: 1 - missing, Lower: 1 - missing, Upper: 1 - missing, AtRisk: risk, Arrived: d}
			if missing > 0 {
				greenwood += float64(d) / (float64(risk) * float64(risk-d))
				spread := math.Exp(z * math.Sqrt(greenwood) / math.Abs(math.Log(missing)))
				step.Lower = 1 - math.Pow(missing, 1/spread)
				step.Upper = 1 - math.Pow(missing, spread)
			}
			steps = append(steps, step)
			risk -= d
		}
		risk -= at(censored, ms)
	}
	return steps
}

func at(h *Histogram, ms int) int64 {
	if ms < len(h.counts) {
		return h.counts[ms]
	}
	return 0
}

// Smallest is the smallest wait whose estimated coverage reaches a target.
func (e *Estimate) Smallest(target float64) (wait time.Duration, ok bool) {
	return e.first(func(s EstimateStep) bool { return s.Coverage >= target })
}

// Surely is the smallest wait from which the lower end of the band reaches a target.
func (e *Estimate) Surely(target float64) (wait time.Duration, ok bool) {
	return e.first(func(s EstimateStep) bool { return s.Lower >= target })
}

func (e *Estimate) first(good func(EstimateStep) bool) (wait time.Duration, ok bool) {
	for _, s := range e.Steps {
		if good(s) {
			return time.Duration(s.WaitMs) * time.Millisecond, true
		}
	}
	return 0, false
}

// At is the estimate for an allowed wait; ok is false beyond the longest that was observed.
func (e *Estimate) At(wait time.Duration) (step EstimateStep, ok bool) {
	if wait > e.Longest {
		return EstimateStep{}, false
	}
	for _, s := range e.Steps {
		if s.WaitMs > wait.Milliseconds() {
			break
		}
		step = s
	}
	return step, true
}
