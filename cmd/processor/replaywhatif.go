package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"heatobserver/config"
	"heatobserver/event"
	"heatobserver/replay"
)

type replayWhatIf struct {
	historyFlags
	MaxWait      []time.Duration `placeholder:"DURATION" help:"Allowed waits to compare. Default: the configured one."`
	Poll         []time.Duration `placeholder:"DURATION" help:"Poll intervals to compare, without announcements of writes. Default: as configured."`
	Inflight     []int           `placeholder:"PLANS" help:"Plans that may wait at once, over all workers; 0 sets no limit. Default: 0."`
	OnSaturation string          `default:"queue" enum:"queue,skip" help:"What becomes of plans beyond that: queue leaves them in the stream, skip drops them."`
	Target       share           `default:"99%" help:"Coverage for which the smallest allowed wait is looked for."`
	Longest      time.Duration   `default:"10s" help:"How far the coverage curve goes, where no allowed wait is longer."`
	ReadDelay    time.Duration   `default:"0s" help:"Time from the publishing of a plan to the first look."`
	Estimate     bool            `help:"Estimate the curve from the recorded observations, even where decisions are left."`
}

// longestWait is what the curve can hold; beyond some 17 minutes it would be cut without a word.
const longestWait = 15 * time.Minute

// share is a part of a whole, 0 to 1, given as 99% or 0.99.
type share float64

// UnmarshalText reads a percentage or a fraction.
func (s *share) UnmarshalText(text []byte) error {
	number, isPercent := strings.CutSuffix(string(text), "%")
	n, err := strconv.ParseFloat(number, 64)
	if isPercent {
		n /= 100
	}
	if err != nil || !(n > 0 && n <= 1) {
		return fmt.Errorf("%.20q is no share like 99%% or 0.99", text)
	}
	*s = share(n)
	return nil
}

func (s share) String() string { return strconv.FormatFloat(100*float64(s), 'f', -1, 64) + " %" }

// Help is the end of `processor replay what-if --help`.
func (replayWhatIf) Help() string {
	return `Examples:
  processor replay what-if --max-wait 500ms,1s,2s,3s,5s --target 99%
  processor replay what-if --archive history --max-wait 2s --inflight 200,1000,0 --on-saturation skip
  processor replay what-if --from -24h --max-wait 1s,2s --poll 50ms,100ms,500ms --json | jq .choices

Every combination is simulated in one pass over the history, and one observer more without limits, which gives the coverage curve. Where the decisions are gone and only observations are left, the curve is estimated from their waits, timeouts counted as waits that ended too soon (Kaplan-Meier, 95 % band), and says so: then there are no drops and no peaks.

Only reads. Ends with 0, with 1 when the history could not be read to its end, 2 when it could not be carried out.`
}

// choices are all combinations.
func (c *replayWhatIf) choices(p *past) ([]replay.Settings, error) {
	base := p.settings(c.ReadDelay)
	base.Skip = c.OnSaturation == config.SaturationSkip
	waits, limits := c.MaxWait, c.Inflight
	if len(waits) == 0 {
		waits = []time.Duration{base.MaxWait}
	}
	if len(limits) == 0 {
		limits = []int{0}
	}
	var all []replay.Settings
	for _, wait := range waits {
		for _, limit := range limits {
			s := base
			s.MaxWait, s.Inflight = wait, limit
			if len(c.Poll) == 0 {
				all = append(all, s)
			}
			for _, poll := range c.Poll {
				s.Poll, s.Notify = poll, false
				all = append(all, s)
			}
		}
	}
	const most = 200
	for _, s := range all {
		if s.MaxWait > longestWait {
			return nil, usage("an allowed wait must be at most %v", longestWait)
		}
		if s.MaxWait < time.Millisecond || s.Poll < time.Millisecond || s.Inflight < 0 {
			return nil, usage("--max-wait and --poll must be at least 1ms, --inflight not negative")
		}
	}
	if len(all) > most {
		return nil, usage("%d combinations are too many: at most %d", len(all), most)
	}
	return all, nil
}

// Run compares.
func (c *replayWhatIf) Run(ctx context.Context, sys *system) error {
	if c.ReadDelay < 0 || c.Longest <= 0 || c.Longest > longestWait {
		return usage("--read-delay must not be negative, --longest positive and at most %v", longestWait)
	}
	return c.history(ctx, sys, "", func(p *past) error {
		settings, err := c.choices(p)
		if err != nil {
			return err
		}
		longest := c.Longest
		for _, s := range settings {
			longest = max(longest, s.MaxWait)
		}
		left, err := decisionsLeft(ctx, p)
		if err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
		if left && !c.Estimate {
			return c.simulate(ctx, sys, p, settings, longest)
		}
		return c.estimate(ctx, sys, p, settings)
	})
}

// decisionsLeft says whether there are decisions of the range: else nothing can be simulated.
func decisionsLeft(ctx context.Context, p *past) (bool, error) {
	decisions, err := p.source.Extent(ctx, replay.Decisions)
	return !decisions.Empty() && (!decisions.Trimmed || decisions.First.Compare(p.span.To) <= 0), err
}

func (c *replayWhatIf) simulate(ctx context.Context, sys *system, p *past, settings []replay.Settings, longest time.Duration) error {
	found, err := replay.Compare(ctx, p.source, p.span, p.options, settings, longest)
	p.done()
	if found == nil {
		return replayError(err, true)
	}
	out := whatIfJSON{
		Basis: basisDecisions, Target: float64(c.Target), Plans: found.Choices[0].Result.Plans, Incomplete: err != nil,
		Curve: []curvePoint{},
	}
	out.From, out.To = position(p.span)
	for _, choice := range found.Choices {
		out.Choices = append(out.Choices, newChoiceJSON(choice))
	}
	for _, wait := range found.Curve.Points() {
		out.Curve = append(out.Curve, curvePoint{MaxWaitMs: wait.Milliseconds(), Coverage: found.Curve.At(wait)})
	}
	if wait, ok := found.Curve.Smallest(float64(c.Target)); ok && found.Curve.Decided > 0 {
		out.Smallest = new(wait.Milliseconds())
	}
	out.LongestMs, out.Decided, out.Reached = longest.Milliseconds(), found.Curve.Decided, found.Curve.At(longest)
	out.NotProven = replay.Limits(p.options, c.ReadDelay)
	return errors.Join(c.print(sys, out), err)
}

func (c *replayWhatIf) estimate(ctx context.Context, sys *system, p *past, settings []replay.Settings) error {
	found, err := replay.EstimateCurve(ctx, p.source, p.span)
	p.done()
	if found == nil || found.Samples == 0 {
		return replayError(err, true)
	}
	out := whatIfJSON{
		Basis: basisEstimate, Target: float64(c.Target), Incomplete: err != nil, Decided: found.Samples, Censored: found.Censored,
		LeftOut: found.LeftOut, Foreign: found.Foreign, LongestMs: found.Longest.Milliseconds(), Curve: []curvePoint{},
		NotProven: []string{
			"anything beyond the longest wait that was allowed: the estimate ends there",
			"when heat came: an observation knows when it was seen, which polling delays",
			"that plans which were not observed would have waited as long as those that were",
		},
	}
	out.From, out.To = position(p.span)
	var waits []time.Duration
	for _, s := range settings {
		waits = append(waits, s.MaxWait)
	}
	slices.Sort(waits)
	for _, wait := range slices.Compact(waits) {
		choice := choiceJSON{MaxWaitMs: wait.Milliseconds()}
		if at, ok := found.At(wait); ok {
			choice.Coverage, choice.Lower, choice.Upper = &at.Coverage, &at.Lower, &at.Upper
		}
		out.Choices = append(out.Choices, choice)
	}
	for _, s := range found.Steps {
		out.Curve = append(out.Curve, curvePoint{MaxWaitMs: s.WaitMs, Coverage: s.Coverage, Lower: &s.Lower, Upper: &s.Upper})
		out.Reached = s.Coverage
	}
	if wait, ok := found.Smallest(float64(c.Target)); ok {
		out.Smallest = new(wait.Milliseconds())
	}
	if wait, ok := found.Surely(float64(c.Target)); ok {
		out.Surely = new(wait.Milliseconds())
	}
	return errors.Join(c.print(sys, out), err)
}

const (
	basisDecisions = "simulation"
	basisEstimate  = "estimate"
)

// whatIfJSON is what --json prints; the rest prints the same.
type whatIfJSON struct {
	Basis      string       `json:"basis"` // simulation, or estimate
	From       string       `json:"from"`
	To         string       `json:"to"`
	Plans      int64        `json:"plans,omitempty"`
	Decided    int64        `json:"samples"` // late plans behind the curve
	Censored   int64        `json:"censored,omitempty"`
	LeftOut    int64        `json:"left_out,omitempty"`
	Foreign    int64        `json:"of_other_observers,omitempty"`
	Incomplete bool         `json:"incomplete"`
	Choices    []choiceJSON `json:"choices"`
	Target     float64      `json:"target"`
	Smallest   *int64       `json:"smallest_max_wait_ms"`                  // null: none reaches the target
	Surely     *int64       `json:"smallest_max_wait_surely_ms,omitempty"` // of the lower end of the band
	LongestMs  int64        `json:"longest_ms"`
	Reached    float64      `json:"coverage_at_longest"`
	Curve      []curvePoint `json:"curve"` // empty: no plan was found in time
	NotProven  []string     `json:"not_proven"`
}

type curvePoint struct {
	MaxWaitMs int64    `json:"max_wait_ms"`
	Coverage  float64  `json:"coverage"`
	Lower     *float64 `json:"lower,omitempty"`
	Upper     *float64 `json:"upper,omitempty"`
}

// choiceJSON is one combination of settings; null is what an estimate cannot say.
type choiceJSON struct {
	MaxWaitMs    int64    `json:"max_wait_ms"`
	PollMs       *int64   `json:"poll_ms"` // null: looks when a write is announced
	Inflight     *int     `json:"inflight"`
	OnSaturation string   `json:"on_saturation,omitempty"`
	Observations *int64   `json:"observations"`
	Coverage     *float64 `json:"coverage"` // of what was observed
	Lower        *float64 `json:"lower,omitempty"`
	Upper        *float64 `json:"upper,omitempty"`
	OfAll        *float64 `json:"coverage_of_all_plans"` // dropped ones count as not found
	Dropped      *int64   `json:"dropped"`
	After        *int64   `json:"found_after_deadline"`
	InflightPeak *int     `json:"inflight_peak"`
	WaitP99Ms    *int64   `json:"wait_p99_ms"` // of what was found in time
	AddedP99Ms   *int64   `json:"added_delay_p99_ms"`
	AddedMaxMs   *int64   `json:"added_delay_max_ms"`
}

func newChoiceJSON(c replay.Choice) choiceJSON {
	late := &c.Result.Points[event.Late]
	out := choiceJSON{
		MaxWaitMs: c.MaxWait.Milliseconds(), Inflight: &c.Inflight, OnSaturation: config.SaturationQueue, Observations: &late.Total,
		Dropped: &c.Result.Dropped, After: &late.AfterDeadline, InflightPeak: &c.Result.InflightPeak,
		AddedP99Ms: new(c.Result.Added.Percentile(0.99)), AddedMaxMs: new(c.Result.Added.Max()),
	}
	if c.Skip {
		out.OnSaturation = config.SaturationSkip
	}
	if !c.Notify {
		out.PollMs = new(c.Poll.Milliseconds())
	}
	if late.Waits.N() > 0 {
		out.WaitP99Ms = new(late.Waits.Percentile(0.99))
	}
	if share, ok := late.Coverage(); ok {
		out.Coverage = &share
	}
	if n := late.Total + c.Result.Dropped; n > 0 {
		out.OfAll = new(float64(late.Found) / float64(n))
	}
	return out
}

func (c *replayWhatIf) print(sys *system, w whatIfJSON) error {
	if c.JSON {
		return printJSON(sys.stdout, w)
	}
	out := newPrinter(sys.stdout)
	if w.Incomplete {
		out.alarm("the history could not be read to its end: this is what was good before")
	}
	printChoices(out, w)
	out.line("")
	printRecommendation(out, w, c.Target)
	printLimits(out, w.NotProven)
	return out.err
}

func printChoices(out *printer, w whatIfJSON) {
	var rows []table.Row
	if w.Basis == basisEstimate {
		out.line("ESTIMATE from %d recorded waits, %d of them censored: no decisions were used", w.Decided, w.Censored)
		for _, c := range w.Choices {
			rows = append(rows, table.Row{c.MaxWaitMs, percent(c.Coverage), percent(c.Lower), percent(c.Upper)})
		}
		out.table(table.Row{"max wait ms", "coverage", "95 % band from", "to"}, rows, 1, 2, 3, 4)
		return
	}
	out.line("%d plans simulated", w.Plans)
	for _, c := range w.Choices {
		looks, limit := "announced", "no limit"
		if c.PollMs != nil {
			looks = fmt.Sprintf("each %d ms", *c.PollMs)
		}
		if *c.Inflight > 0 {
			limit = fmt.Sprintf("%d, %s", *c.Inflight, c.OnSaturation)
		}
		rows = append(rows, table.Row{
			c.MaxWaitMs, looks, limit, *c.Observations, percent(c.Coverage), percent(c.OfAll), *c.Dropped, *c.After, milliseconds(c.WaitP99Ms), *c.InflightPeak,
			*c.AddedP99Ms, *c.AddedMaxMs,
		})
	}
	out.table(table.Row{
		"max wait ms", "looks", "in flight", "observed", "coverage", "of all plans", "dropped", "after deadline", "wait p99 ms", "in flight peak",
		"added p99 ms", "max",
	}, rows, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12)
}

func printRecommendation(out *printer, w whatIfJSON, target share) {
	switch {
	case w.Decided == 0:
		out.line("no plan is decided: nothing is recommended")
	case w.Smallest == nil:
		out.line("no allowed wait up to %d ms reaches %s: %s at the longest", w.LongestMs, target, percent(&w.Reached))
	case w.Basis == basisEstimate && w.Surely == nil:
		out.line("estimate: %d ms is the smallest allowed wait that reaches %s; the lower end of the band does not reach it", *w.Smallest, target)
	case w.Basis == basisEstimate:
		out.line("estimate: %d ms is the smallest allowed wait that reaches %s; its lower end does so from %d ms on", *w.Smallest, target, *w.Surely)
	default:
		out.line("%d ms is the smallest allowed wait that reaches %s of %d plans", *w.Smallest, target, w.Decided)
	}
	if len(w.Curve) == 0 {
		return
	}
	var rows []table.Row
	for _, p := range coarse(w.Curve) {
		rows = append(rows, table.Row{p.MaxWaitMs, percent(&p.Coverage)})
	}
	out.line("")
	out.table(table.Row{"max wait ms", "coverage (the whole curve: --json)"}, rows, 1, 2)
}

// coarse is the curve where it passes each 10 %, and its end.
func coarse(curve []curvePoint) (some []curvePoint) {
	next := 0.0
	for i, p := range curve {
		if p.Coverage >= next || i == len(curve)-1 {
			some = append(some, p)
			for next <= p.Coverage {
				next += 0.1
			}
		}
	}
	return some
}
