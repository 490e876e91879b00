package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"heatobserver/entry"
	"heatobserver/replay"
)

const (
	curveLongest  = 30 * time.Second // the waits that are simulated
	curvePlans    = 20_000           // plans that are simulated
	curvePoints   = 400              // enough for waits of ten minutes
	curveEnough   = 20               // ended waits from which on something is advised
	curveTimeout  = 20 * time.Second // for one simulation
	curveYoung    = 1000             // with fewer plans the history is still young and changes much
	curveYoungFor = 5 * time.Second
	curveEmptyFor = time.Second // while no wait of a young history has ended
	curveSeldom   = time.Minute // how often it is renewed for those who only look at the advice
)

// advice is the allowed wait that history advises.
type advice struct {
	Advised *int64 `json:"advised_max_wait_ms"`
	Because string `json:"advised_because"`

	gains float64 // share of the plans that have their heat within the advised wait and not within the one that is set
}

// curve is what a simulated history says.
type curve struct {
	asOf    time.Time
	from    *time.Time
	plans   int64
	current int64 // allowed wait that is set, in ms
	note    string
	replay.Curve
	advice advice
}

// curves keeps the last curve, and makes one at a time.
type curves struct {
	opts  *Options
	work  gate
	ended <-chan struct{} // closed when the page ends

	mu   sync.Mutex
	last *curve
	err  error
	at   time.Time // when it was tried last
}

// advice is that of the last curve.
func (c *curves) advice() advice {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return advice{Because: "The history has not been simulated yet."}
	}
	return c.last.advice
}

// due reports whether the last curve is older than so long, or than a young history allows.
func (c *curves) due(lifetime time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.last == nil:
		lifetime = min(lifetime, curveYoungFor)
	case c.last.plans >= curveYoung:
	case c.last.Decided < curveEnough:
		lifetime = min(lifetime, curveEmptyFor)
	default:
		lifetime = min(lifetime, curveYoungFor)
	}
	return c.at.IsZero() || time.Since(c.at) >= lifetime
}

// renew makes a new curve now and then, for the advice.
func (c *curves) renew(ctx context.Context) {
	if !c.due(curveSeldom) || !c.work.try() {
		return
	}
	defer c.work.leave()
	c.make(ctx)
}

// get is a curve that is young enough. Whoever asks waits for the one that is being made.
func (c *curves) get(ctx context.Context) (*curve, error) {
	if !c.work.enter(ctx) {
		return nil, ctx.Err()
	}
	defer c.work.leave()
	if c.due(c.opts.CurveLifetime) {
		c.makeForAll(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		return nil, c.err
	}
	return c.last, nil
}

// makeForAll makes a curve that outlives who asks for it: others get it too. It ends with the page.
func (c *curves) makeForAll(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		select {
		case <-c.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	c.make(ctx)
}

// make simulates. The caller has the turn.
func (c *curves) make(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, curveTimeout)
	defer cancel()
	made, err := simulate(ctx, c.opts)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = time.Now()
	if c.err = err; err == nil {
		c.last = made
	}
}

// simulate asks the history for the coverage at every allowed wait.
func simulate(ctx context.Context, o *Options) (*curve, error) {
	plans, err := o.History.Extent(ctx, replay.Plans)
	if err != nil {
		return nil, err
	}
	decisions, err := o.History.Extent(ctx, replay.Decisions)
	if err != nil {
		return nil, err
	}
	end, err := o.History.End(ctx)
	if err != nil {
		return nil, err
	}
	out := &curve{asOf: end.UTC(), current: o.Settings.MaxWait.Milliseconds()}
	from, err := begin(ctx, o, plans, decisions, end)
	if err != nil {
		return nil, err
	}
	span := max(0, end.Sub(from.Time()))
	// A short history would have no wait of the longest that has ended.
	longest := max(o.Settings.MaxWait, min(curveLongest, span/2)).Truncate(time.Millisecond)
	source := &bounded{Source: o.History}
	w, err := replay.Compare(ctx, source, replay.Range{From: from, To: entry.MaxID}, o.Simulate, []replay.Settings{o.Settings}, longest)
	if err != nil {
		return nil, err
	}
	out.Curve, out.plans = w.Curve, w.Choices[0].Result.Plans
	out.advice = advise(out.Curve, o.Settings.MaxWait)
	if out.plans > 0 {
		at := from.Time().UTC()
		out.from = &at
	}
	switch {
	case out.plans == 0:
		out.note = "There are no plans in the streams with decisions beside them."
	case out.Decided == 0:
		out.note = fmt.Sprintf("No wait of %v has ended yet: the history reaches back only %v.", longest, span.Truncate(time.Millisecond))
	case source.cut:
		out.note = "There are more plans than are simulated; the newest are left out."
	case decisions.Trimmed && decisions.First.Compare(plans.First) > 0:
		out.note = "The decisions reach back less far than the plans; plans before them are left out."
	}
	return out, nil
}

// begin is where the plans begin that are simulated: behind what may be trimmed away while it is read, not before the
// decisions, and about so many plans before the end.
func begin(ctx context.Context, o *Options, plans, decisions replay.Extent, end time.Time) (entry.ID, error) {
	streams, err := o.Source.StreamsNow(ctx)
	if err != nil {
		return entry.ID{}, err
	}
	if streams.Plans.Length > 0 && plans.First == (entry.ID{}) { // the Redis of the demo does not say, or they came just now
		if plans.First, err = firstOf(ctx, o.History); err != nil {
			return entry.ID{}, err
		}
	}
	if plans.First == (entry.ID{}) {
		return entry.IDAt(end), nil
	}
	length, first, last := streams.Plans.Length, plans.First.Time(), streams.Plans.Last.Time()
	from := first
	if d := decisions.First.Time(); decisions.Trimmed && d.After(from) {
		from = d
	}
	span := max(0, last.Sub(first))
	later := func(share float64) {
		if t := first.Add(time.Duration(share * float64(span))); t.After(from) {
			from = t
		}
	}
	if length > curvePlans {
		later(1 - float64(curvePlans)/float64(length))
	}
	if plans.Trimmed || decisions.Trimmed {
		later(0.05)
	}
	return entry.IDAt(from), nil
}

// firstOf is the ID of the first plan, zero where there is none.
func firstOf(ctx context.Context, history replay.Source) (entry.ID, error) {
	reader, err := history.Open(ctx, replay.Plans, replay.Range{To: entry.MaxID})
	if err != nil {
		return entry.ID{}, err
	}
	var first entry.ID
	page, err := reader.Next()
	if len(page) > 0 {
		first, err = page[0].ID, nil
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return first, errors.Join(err, reader.Close())
}

// bounded is a history of which no more is read than twice what should have been.
type bounded struct {
	replay.Source
	cut bool
}

// Open is part of replay.Source.
func (b *bounded) Open(ctx context.Context, kind replay.Kind, r replay.Range) (replay.Reader, error) {
	reader, err := b.Source.Open(ctx, kind, r)
	if err != nil {
		return nil, err
	}
	most := 2 * curvePlans
	if kind == replay.Decisions {
		most *= 2 // those before the first plan too
	}
	return &boundedReader{Reader: reader, left: most, b: b}, nil
}

type boundedReader struct {
	replay.Reader
	left int
	b    *bounded
}

// Next is part of replay.Reader.
func (r *boundedReader) Next() ([]replay.Entry, error) {
	if r.left <= 0 {
		r.b.cut = true
		return nil, io.EOF
	}
	page, err := r.Reader.Next()
	page = page[:min(len(page), r.left)]
	r.left -= len(page)
	return page, err
}

// advisedShare of the heat that comes at all is there within the advised wait, and a quarter more is its headroom.
const advisedShare = 0.99

// advise is the smallest wait with which hardly anything is missed that a longer one would find.
func advise(c replay.Curve, current time.Duration) advice {
	if c.Decided < curveEnough {
		return advice{Because: fmt.Sprintf("Too little history: the wait of %d plans has ended, %d are needed.", c.Decided, curveEnough)}
	}
	best := c.At(c.Longest)
	if best == 0 {
		return advice{Because: fmt.Sprintf("No heat comes within %v, whatever the wait.", c.Longest)}
	}
	wait, _ := c.Smallest(advisedShare * best)
	ms := roundUp(max(1, wait.Milliseconds()) * 5 / 4)
	return advice{
		Advised: &ms,
		gains:   c.At(time.Duration(ms)*time.Millisecond) - c.At(current),
		Because: fmt.Sprintf("%.0f %% of the heat that comes within %v is there after %d ms; with a quarter more.", 100*advisedShare, c.Longest.Round(100*time.Millisecond), wait.Milliseconds()),
	}
}

// roundUp makes a setting of a number of milliseconds.
func roundUp(ms int64) int64 {
	step := int64(10)
	switch {
	case ms > 2000:
		step = 100
	case ms > 200:
		step = 50
	}
	return (ms + step - 1) / step * step
}

// WhatIf is the coverage at another allowed wait.
type WhatIf struct {
	AsOf      time.Time `json:"as_of"`
	MaxWaitMs int64     `json:"max_wait_ms"`
	Coverage  *float64  `json:"coverage"`
	Current   Choice    `json:"current"`
	advice
	LongestMs int64      `json:"longest_ms"`
	Curve     CurveTable `json:"curve"`
	Plans     int64      `json:"plans"`
	Decided   int64      `json:"decided"`
	From      *time.Time `json:"from"`
	Note      string     `json:"note"`
}

// Choice is an allowed wait and its coverage.
type Choice struct {
	MaxWaitMs int64    `json:"max_wait_ms"`
	Coverage  *float64 `json:"coverage"`
}

// CurveTable are waits and coverages in columns of one length.
type CurveTable struct {
	WaitMs   []int64   `json:"wait_ms"`
	Coverage []float64 `json:"coverage"`
}

// at is the coverage at a wait; nil beyond what was simulated.
func (c *curve) at(ms int64) *float64 {
	if c.Decided == 0 || ms > c.Longest.Milliseconds() {
		return nil
	}
	return ptr(c.At(time.Duration(ms) * time.Millisecond))
}

func (c *curve) whatIf(ms int64) WhatIf {
	out := WhatIf{
		AsOf: c.asOf, MaxWaitMs: ms, Coverage: c.at(ms), Current: Choice{c.current, c.at(c.current)}, advice: c.advice,
		LongestMs: c.Longest.Milliseconds(), Plans: c.plans, Decided: c.Decided, From: c.from, Note: c.note,
		Curve: CurveTable{WaitMs: []int64{}, Coverage: []float64{}},
	}
	if c.Decided == 0 {
		return out
	}
	add := func(ms int64) {
		out.Curve.WaitMs = append(out.Curve.WaitMs, ms)
		out.Curve.Coverage = append(out.Curve.Coverage, *c.at(ms))
	}
	// Small waits lie close together, large ones further apart; the longest is always there.
	for ms := int64(1); ms < out.LongestMs && len(out.Curve.WaitMs) < curvePoints-1; ms += max(1, ms/32) {
		add(ms)
	}
	add(out.LongestMs)
	return out
}

func (p *Page) whatIf(w http.ResponseWriter, r *http.Request) {
	q := params{values: r.URL.Query()}
	ms := q.number("max_wait_ms", int(p.opts.Settings.MaxWait.Milliseconds()), 1, 600_000)
	if q.refuse(w, "max_wait_ms") {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.opts.PollTimeout+curveTimeout)
	defer cancel()
	c, err := p.curves.get(ctx)
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	writeJSON(w, c.whatIf(int64(ms)))
}
