package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"heatobserver/config"
	"heatobserver/replay"
)

// adviseCommand says from the live streams whether the allowed wait fits.
type adviseCommand struct {
	historyFlags
	Target  share         `default:"99%" help:"Coverage that the advised max wait is to reach."`
	Margin  float64       `default:"2" help:"The advised max wait is this many times the smallest that reaches the target."`
	Longest time.Duration `default:"10s" help:"Longest max wait that is looked at."`
}

// Help is the end of `processor advise --help`.
func (adviseCommand) Help() string {
	return `Examples:
  processor advise
  processor advise --from -24h --target 99.5%
  processor advise | grep P28A3_TRUTH
  processor advise --json | jq .advised_max_wait_ms

P28A3_TRUTH measures late observations that found heat: from the entry ID of the plan to the entry ID of the observation, what dashboards call publish to late observation. Negative ones, of plans whose ID lies in the future, are counted apart. headroom_x is the configured max wait over p99. P28A3_ADVICE has the same and the advice: the smallest max wait that reaches the target over all plans (simulated from the decisions; estimated from the observed waits where those are gone), times --margin, rounded up to 100 ms.

Only reads. Ends with 0, with 1 when there is nothing to measure or no max wait up to --longest reaches the target, 2 when Redis could not be asked.`
}

// adviceJSON is what --json prints, and the lines too; null is unknown.
type adviceJSON struct {
	P99Ms             *int64   `json:"p99_ms"`
	MaxMs             *int64   `json:"max_ms"`
	Samples           int64    `json:"samples"`
	Negative          int64    `json:"negative_outliers"`
	Foreign           int64    `json:"of_other_observers"`
	HeadroomX         *float64 `json:"headroom_x"`
	MaxWaitMs         int64    `json:"max_wait_ms"` // as configured
	Basis             string   `json:"basis"`
	Target            float64  `json:"target"`
	Coverage          *float64 `json:"coverage_at_max_wait"`
	SmallestMaxWaitMs *int64   `json:"smallest_max_wait_ms"`
	AdvisedMaxWaitMs  *int64   `json:"advised_max_wait_ms"`
}

// Run advises.
func (c *adviseCommand) Run(ctx context.Context, sys *system) error {
	if !(c.Margin >= 1 && c.Margin <= 100) || c.Longest <= 0 || c.Longest > 15*time.Minute {
		return usage("--margin must be 1 to 100, --longest positive and at most 15m")
	}
	return c.history(ctx, sys, "", func(p *past) error {
		defer p.done()
		advice := adviceJSON{MaxWaitMs: p.cfg.Late.MaxWait.Milliseconds(), Target: float64(c.Target)}
		delays, err := replay.MeasureDelays(ctx, p.source, p.span)
		if err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
		advice.Samples, advice.Negative, advice.Foreign = delays.Found.N(), delays.Negative, delays.Foreign
		if advice.Samples > 0 {
			advice.P99Ms, advice.MaxMs = new(delays.Found.Percentile(0.99)), new(delays.Found.Max())
			if *advice.P99Ms > 0 {
				advice.HeadroomX = new(float64(advice.MaxWaitMs) / float64(*advice.P99Ms))
			}
		}
		if err := c.curve(ctx, p, &advice); err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
		p.done()
		if err := c.print(sys, advice); err != nil {
			return err
		}
		switch {
		case advice.Samples == 0:
			return withCode(config.ExitFailed, errors.New("no late observation with heat to measure"))
		case advice.SmallestMaxWaitMs == nil:
			return withCode(config.ExitFailed, fmt.Errorf("no max wait that was looked at reaches %s", c.Target))
		}
		return nil
	})
}

// curve fills in what the what-if says.
func (c *adviseCommand) curve(ctx context.Context, p *past, advice *adviceJSON) error {
	left, err := decisionsLeft(ctx, p)
	if err != nil {
		return err
	}
	var smallest time.Duration
	var reached bool
	if left {
		settings := p.settings(0)
		found, err := replay.Compare(ctx, p.source, p.span, p.options, []replay.Settings{settings}, max(c.Longest, settings.MaxWait))
		if err != nil {
			return err
		}
		advice.Basis = basisDecisions
		if found.Curve.Decided > 0 {
			advice.Coverage = new(found.Curve.At(settings.MaxWait))
			smallest, reached = found.Curve.Smallest(float64(c.Target))
		}
	} else {
		advice.Basis = basisEstimate
		found, err := replay.EstimateCurve(ctx, p.source, p.span)
		switch {
		case found != nil && found.Samples == 0: // the caller says that nothing was measured
			return nil
		case err != nil:
			return err
		}
		if at, ok := found.At(p.cfg.Late.MaxWait); ok {
			advice.Coverage = &at.Coverage
		}
		smallest, reached = found.Smallest(float64(c.Target))
	}
	if reached {
		const step = 100 * time.Millisecond
		advised := time.Duration(float64(smallest) * c.Margin)
		advised = max(step, (advised + step - 1).Truncate(step))
		advice.SmallestMaxWaitMs, advice.AdvisedMaxWaitMs = new(smallest.Milliseconds()), new(advised.Milliseconds())
	}
	return nil
}

func (c *adviseCommand) print(sys *system, a adviceJSON) error {
	if c.JSON {
		return printJSON(sys.stdout, a)
	}
	headroom := "unknown"
	if a.HeadroomX != nil {
		headroom = fmt.Sprintf("%.1f", *a.HeadroomX)
	}
	measured := fmt.Sprintf("p99_ms=%s max_ms=%s samples=%d negative_outliers=%d headroom_x=%s max_wait_ms=%d",
		known(a.P99Ms), known(a.MaxMs), a.Samples, a.Negative, headroom, a.MaxWaitMs)
	coverage := "unknown"
	if a.Coverage != nil {
		coverage = fmt.Sprintf("%.2f%%", 100**a.Coverage)
	}
	out := newPrinter(sys.stdout)
	out.line("P28A3_ADVICE %s coverage=%s target=%s%% smallest_max_wait_ms=%s advised_max_wait_ms=%s basis=%s", measured, coverage,
		strconv.FormatFloat(100*a.Target, 'f', -1, 64), known(a.SmallestMaxWaitMs), known(a.AdvisedMaxWaitMs), a.Basis)
	out.line("P28A3_TRUTH %s", measured)
	return out.err
}

// known is a number, or the word for one that nobody knows.
func known(n *int64) string {
	if n == nil {
		return "unknown"
	}
	return strconv.FormatInt(*n, 10)
}
