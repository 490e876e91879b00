package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
)

// Options are what holds for all settings that are simulated in one pass.
type Options struct {
	BridgeDelay time.Duration // from a decision to its hash
	// Payload is the payload of a plan's entry as event.DecodePlan takes it; nil takes the fields as they are. It is
	// where envelopes are opened.
	Payload func(entry.ID, entry.Fields) []byte
	// Progress is told of every few thousand entries how many were read and up to when; nil for nobody.
	Progress func(entries int64, at time.Time)
}

// Run simulates one observer over the plans of r. Every observation goes to emit, which may be nil, in the order in
// which it would have been made; an error of emit ends the run. The result is valid beside an error too: it is that
// of the history before it.
func Run(ctx context.Context, source Source, r Range, o Options, s Settings, emit func(*event.Observation) error) (*Result, error) {
	results, err := run(ctx, source, r, o, []Settings{s}, []func(*event.Observation) error{emit})
	if results == nil {
		return nil, err
	}
	return results[0], err
}

// run simulates several observers in one pass over the history.
func run(ctx context.Context, source Source, r Range, o Options, settings []Settings, emit []func(*event.Observation) error) ([]*Result, error) {
	end, err := source.End(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the end of the history: %w", err)
	}
	known, err := source.Extent(ctx, Decisions)
	if err != nil {
		return nil, fmt.Errorf("find the beginning of the decisions: %w", err)
	}
	var begin int64 // of the decisions, where earlier ones are gone
	if known.Trimmed {
		begin = int64(known.First.Ms)
	}
	p := pass{Options: o, hashes: newHashes(o.BridgeDelay, 0)}
	var after time.Duration
	for i, s := range settings {
		after = max(after, s.MaxWait+s.ReadDelay)
		p.sims = append(p.sims, newSimulation(i, s, p.hashes, begin, end.UnixMilli(), emit[i]))
	}
	err = p.run(ctx, source, r, r.Widen(hashTTL+repeatWindow+o.BridgeDelay, after))
	results := make([]*Result, len(settings))
	for _, s := range p.sims {
		err = errors.Join(err, s.err)
	}
	for i, s := range p.sims {
		s.result.Incomplete = err != nil
		s.result.Decisions, s.result.Malformed, s.result.BadDecisions = p.decisions, p.malformed, p.badDecisions
		s.result.Begin, s.result.End = begin, end.UnixMilli()
		results[i] = s.result
	}
	return results, err
}

// pass is one walk over a history with everybody who watches it.
type pass struct {
	Options
	hashes *hashes
	sims   []*simulation

	decisions, malformed, badDecisions int64
}

func (p *pass) run(ctx context.Context, source Source, r, margin Range) error {
	decisions, err := open(ctx, source, Decisions, margin, r.From)
	if err != nil {
		return err
	}
	defer func() { _ = decisions.r.Close() }()
	plans, err := open(ctx, source, Plans, r, r.From)
	if err != nil {
		return err
	}
	defer func() { _ = plans.r.Close() }()

	delay := p.sims[0].ReadDelay.Milliseconds()
	for n := int64(1); ; n++ {
		if n%8192 == 0 {
			if err := ctx.Err(); err != nil {
				return p.stop(known(decisions, plans), fmt.Errorf("replay: %w", err))
			}
			if p.Progress != nil {
				p.Progress(plans.n+decisions.n, plans.last.Time())
			}
		}
		d, plan := decisions.peek(), plans.peek()
		if err := errors.Join(decisions.failure(), plans.failure()); err != nil {
			return p.stop(known(decisions, plans), err)
		}
		switch {
		case d == nil && plan == nil:
			return p.stop(math.MaxInt64, nil)
		case plan == nil || d != nil && int64(d.ID.Ms)+p.hashes.delay <= int64(plan.ID.Ms)+delay:
			p.decide(d)
			decisions.next()
		default:
			p.read(plan, int64(plan.ID.Ms)+delay)
			plans.next()
		}
		for _, s := range p.sims {
			if s.err != nil {
				return p.stop(known(decisions, plans), nil) // the error is told by the simulation
			}
		}
	}
}

// known is up to when all that happened has been read: what follows the last entry of a stream that is not at its end is
// unknown.
func known(streams ...*cursor) int64 {
	ms := int64(math.MaxInt64)
	for _, c := range streams {
		if len(c.batch) > 0 || !errors.Is(c.err, io.EOF) {
			ms = min(ms, int64(c.last.Ms))
		}
	}
	return ms
}

// stop ends all simulations; nothing behind known is decided.
func (p *pass) stop(known int64, err error) error {
	for _, s := range p.sims {
		s.end = min(s.end, known)
		s.close()
	}
	return err
}

func (p *pass) decide(e *Entry) {
	p.decisions++
	planID, heat, malformed, err := event.PeekDecision(e.ID, e.Fields)
	if err != nil {
		p.badDecisions++ // as the bridge does
		return
	}
	at := int64(e.ID.Ms) + p.hashes.delay
	for _, s := range p.sims {
		s.advance(at)
	}
	k := p.hashes.hold(planID)
	if p.hashes.decide(k, e.ID, heat, malformed) {
		for _, s := range p.sims {
			s.written(k, at)
		}
	}
	p.hashes.release(k)
}

func (p *pass) read(e *Entry, t int64) {
	for _, s := range p.sims {
		s.advance(t + 1) // deadlines of the same millisecond make room first
	}
	payload := []byte(e.Fields)
	if p.Payload != nil {
		payload = p.Payload(e.ID, e.Fields)
	}
	plan, err := event.DecodePlan(e.ID, payload)
	if err != nil {
		p.malformed++ // a dead letter, never observed
		return
	}
	k := p.hashes.hold([]byte(plan.PlanID))
	plan.PlanID = k.planID
	for _, s := range p.sims {
		s.read(plan, k, t)
	}
	p.hashes.release(k)
}
