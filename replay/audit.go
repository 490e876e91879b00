package replay

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
)

var zeroID entry.ID

// AuditSettings say what is expected of the recording.
type AuditSettings struct {
	MaxWait   time.Duration
	DedupeTTL time.Duration
	Tolerance time.Duration // by which a look and a write may miss one another: one poll interval
	Grace     time.Duration // how long after its deadline an observation may still be written
	List      int           // how many findings are kept; all are counted
}

// FindingKind is what is wrong with a recorded observation, or the lack of one.
type FindingKind string

// The kinds of findings.
const (
	NotRecorded FindingKind = "missing"
	Doubled     FindingKind = "doubled"
	Disagrees   FindingKind = "disagrees"
)

// Finding is one of them, explained.
type Finding struct {
	Kind     FindingKind `json:"kind"`
	Point    string      `json:"obs_point"`
	PlanID   string      `json:"plan_id"`
	Plan     string      `json:"plan_entry"`
	Recorded []string    `json:"observations,omitempty"` // entry IDs
	Within   bool        `json:"within_tolerance"`
	Why      string      `json:"why"`
}

// Audit is the outcome of a comparison of what was recorded with what history says.
type Audit struct {
	Plans      int64
	Recorded   int64
	Agree      int64
	Within     int64 // disagreements not larger than the tolerance
	Disagree   int64
	Missing    int64
	Doubled    int64
	Held       int64 // publications whose observation the dedupe key held back
	Undecided  int64 // the end of the history is too near to expect an observation
	Unprovable int64 // redis_error, recorded since the audit began, or decisions of that time are trimmed
	Unjudged   int64 // published before the recording that still exists begins
	Foreign    int64 // observations without source_id
	Overdue    int64 // observations of plans of the range that were recorded after the grace, which Missing may hold too
	Unmatched  int64 // observations of plans of the range that are trimmed
	BadRecords int64
	Malformed  int64
	Matrix     map[[3]string]int64 // point, recorded, expected
	Findings   []Finding
}

// Bad reports whether observations are missing or doubled.
func (a *Audit) Bad() bool { return a.Missing > 0 || a.Doubled > 0 }

type publication struct {
	plan event.Plan
	seen [len(event.Points)]bool
}

// planEntry is what a plan is known by: partitions may have the same entry ID.
type planEntry struct {
	id     entry.ID
	planID string
}

type recorded struct {
	id   entry.ID
	plan entry.ID // of the range, that this one or one shortly before is about; zero for none
}

type uuid struct {
	point  event.Point
	planID string
}

type auditor struct {
	AuditSettings
	audit  *Audit
	hashes *hashes
	byID   map[planEntry]*publication
	open   queue[*publication]
	last   map[uuid]recorded
	expire queue[struct {
		key uuid
		id  entry.ID
	}]
	end                     int64
	firstSeen, firstDecided int64
	payload                 func(entry.ID, entry.Fields) []byte
	plans                   Range
}

// RunAudit compares the observations recorded for the plans of r with what the decisions say, each judged at the moment
// of its own look.
func RunAudit(ctx context.Context, source Source, r Range, o Options, s AuditSettings) (*Audit, error) {
	end, err := source.End(ctx)
	if err != nil {
		return nil, fmt.Errorf("find the end of the history: %w", err)
	}
	a := &auditor{
		AuditSettings: s, audit: &Audit{Matrix: make(map[[3]string]int64)},
		hashes: newHashes(o.BridgeDelay, s.Grace+s.MaxWait+o.BridgeDelay), byID: make(map[planEntry]*publication),
		last: make(map[uuid]recorded), end: end.UnixMilli(), payload: o.Payload, plans: r,
	}
	for kind, first := range map[Kind]*int64{Observations: &a.firstSeen, Decisions: &a.firstDecided} {
		extent, err := source.Extent(ctx, kind)
		if err != nil {
			return nil, fmt.Errorf("find the beginning of the %s: %w", kind, err)
		}
		if extent.Trimmed {
			*first = int64(extent.First.Ms)
		}
	}
	after := s.MaxWait + s.Grace
	margins := [...]Range{Plans: r, Decisions: r.Widen(hashTTL+repeatWindow+o.BridgeDelay, after), Observations: r.Widen(s.DedupeTTL, after)}
	var streams [len(Kinds)]*cursor
	defer func() {
		for _, s := range streams {
			if s != nil {
				_ = s.r.Close()
			}
		}
	}()
	for i, kind := range Kinds {
		if streams[i], err = open(ctx, source, kind, margins[i], r.From); err != nil {
			return nil, err
		}
	}
	err = a.walk(ctx, streams, o)
	return a.audit, err
}

func (a *auditor) walk(ctx context.Context, streams [len(Kinds)]*cursor, o Options) error {
	for n := 1; ; n++ {
		if n%8192 == 0 {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("audit: %w", err)
			}
			if o.Progress != nil {
				o.Progress(streams[0].n+streams[1].n+streams[2].n, streams[0].last.Time())
			}
		}
		// In the same millisecond the plan comes first, then its decision, then its observation. A decision is taken when it
		// stands in its stream, before its hash is written: the bridge may have been faster than is assumed.
		best := -1
		var e *Entry
		var errs error
		for i, c := range streams {
			p := c.peek()
			errs = errors.Join(errs, c.failure())
			if p != nil && (best < 0 || p.ID.Ms < e.ID.Ms) {
				best, e = i, p
			}
		}
		if errs != nil {
			for _, c := range streams {
				a.end = min(a.end, int64(c.last.Ms))
			}
			a.settle(math.MaxInt64)
			return errs
		}
		if best < 0 {
			a.settle(math.MaxInt64)
			return nil
		}
		a.settle(int64(e.ID.Ms))
		switch Kind(best) {
		case Plans:
			a.publish(e)
		case Decisions:
			if planID, heat, malformed, err := event.PeekDecision(e.ID, e.Fields); err == nil {
				k := a.hashes.hold(planID)
				a.hashes.decide(k, e.ID, heat, malformed)
				a.hashes.release(k)
			}
		case Observations:
			a.observe(e)
		}
		streams[best].next()
	}
}

func (a *auditor) publish(e *Entry) {
	payload := []byte(e.Fields)
	if a.payload != nil {
		payload = a.payload(e.ID, e.Fields)
	}
	plan, err := event.DecodePlan(e.ID, payload)
	if err != nil {
		a.audit.Malformed++
		return
	}
	a.audit.Plans++
	p := &publication{plan: plan}
	a.byID[planEntry{plan.ID, plan.PlanID}] = p
	a.open.push(p)
}

// settle gives up the wait for observations that should have been written by t.
func (a *auditor) settle(t int64) {
	for a.open.len() > 0 {
		p := *a.open.first()
		if !a.overdue(int64(p.plan.ID.Ms), t) {
			break
		}
		a.open.pop()
		delete(a.byID, planEntry{p.plan.ID, p.plan.PlanID})
		for _, point := range event.Points {
			if !p.seen[point] {
				a.absent(p, point)
			}
		}
	}
	for a.expire.len() > 0 && int64(a.expire.first().id.Ms)+(a.DedupeTTL+a.MaxWait+a.Grace).Milliseconds() < t {
		if e := a.expire.pop(); a.last[e.key].id == e.id {
			delete(a.last, e.key)
		}
	}
}

// overdue says whether the grace of a plan has passed.
func (a *auditor) overdue(published, t int64) bool {
	return published+(a.MaxWait+a.Grace).Milliseconds() < t
}

func (a *auditor) absent(p *publication, point event.Point) {
	published := int64(p.plan.ID.Ms)
	last, ok := a.last[uuid{point, p.plan.PlanID}]
	switch {
	case ok && int64(last.id.Ms)+a.DedupeTTL.Milliseconds() > published:
		a.audit.Held++ // another publication of the same plan was observed
	case published < a.firstSeen:
		a.audit.Unjudged++
	case published+(a.MaxWait+max(a.Tolerance, time.Second)).Milliseconds() > a.end:
		a.audit.Undecided++
	default:
		a.audit.Missing++
		a.find(Finding{Kind: NotRecorded, Point: point.String(), PlanID: p.plan.PlanID, Plan: p.plan.ID.String(),
			Why: fmt.Sprintf("not recorded within %v of its deadline: late, dropped at saturation, given up as a dead letter, or lost; "+
				"the streams of history do not say which", a.Grace)})
	}
}

func (a *auditor) find(f Finding) {
	if len(a.audit.Findings) < a.List {
		a.audit.Findings = append(a.audit.Findings, f)
	}
}

func (a *auditor) observe(e *Entry) {
	o, err := event.DecodeObservation(e.Fields)
	if err != nil {
		a.audit.BadRecords++
		return
	}
	key := uuid{o.Point, o.PlanID}
	last, twice := a.last[key]
	twice = twice && e.ID.Ms-last.id.Ms < uint64(a.DedupeTTL.Milliseconds())
	p := a.byID[planEntry{o.SourceID, o.PlanID}]
	now := recorded{id: e.ID}
	switch {
	case p != nil:
		now.plan = o.SourceID
	case twice: // whoever it was that recorded the plan again
		now.plan = last.plan
	}
	// Whoever was first holds back the others: another observer, and we for an earlier publication.
	a.last[key] = now
	a.expire.push(struct {
		key uuid
		id  entry.ID
	}{key, e.ID})
	if twice && now.plan != zeroID {
		a.audit.Doubled++
		a.find(Finding{Kind: Doubled, Point: o.Point.String(), PlanID: o.PlanID, Plan: now.plan.String(),
			Recorded: []string{last.id.String(), e.ID.String()},
			Why:      fmt.Sprintf("recorded twice, %d ms apart, within the dedupe TTL of %v", e.ID.Ms-last.id.Ms, a.DedupeTTL)})
	}
	switch {
	case o.SourceID == zeroID:
		a.audit.Foreign++
		return
	case p == nil:
		switch {
		case !a.plans.Contains(o.SourceID):
		case a.overdue(int64(o.SourceID.Ms), int64(e.ID.Ms)):
			a.audit.Overdue++
		default:
			a.audit.Unmatched++
		}
		return
	}
	a.audit.Recorded++
	p.seen[o.Point] = true
	a.judge(e.ID, &o)
}

// judge compares an observation with the state of its hash at the moment of its look.
func (a *auditor) judge(id entry.ID, o *event.Observation) {
	published := int64(o.SourceID.Ms)
	moment := published + o.WaitMs
	expected, why, miss := a.expect(o, published, moment)
	// A live stream grows while it is read: what was recorded since then may rest on a decision that was not read.
	if expected == "" || int64(id.Ms) > a.end {
		a.audit.Unprovable++
		return
	}
	a.audit.Matrix[[3]string{o.Point.String(), string(o.Reason), expected}]++
	if why == "" {
		a.audit.Agree++
		return
	}
	within := miss <= a.Tolerance.Milliseconds()
	if within {
		a.audit.Within++
	} else {
		a.audit.Disagree++
	}
	a.find(Finding{Kind: Disagrees, Point: o.Point.String(), PlanID: o.PlanID, Plan: o.SourceID.String(),
		Recorded: []string{id.String()}, Within: within, Why: why})
}

// expect is the reason that history gives for the moment of a look, "" where it cannot; why is empty when it agrees with
// what was recorded, and miss is by how many milliseconds the two are apart.
func (a *auditor) expect(o *event.Observation, published, moment int64) (expected, why string, miss int64) {
	const never = math.MaxInt64
	deadline := published + a.MaxWait.Milliseconds()
	k := a.hashes.byPlan[o.PlanID]
	w := k.writeAt(moment)
	switch {
	case o.Reason == event.RedisError, w == nil && published < a.firstDecided:
		return "", "", 0
	case w != nil && w.err != nil:
		if o.Reason == event.ParseError {
			return string(event.ParseError), "", 0
		}
		return string(event.ParseError), fmt.Sprintf("recorded %s, though what decision %s had written %d ms before the look cannot be read", o.Reason, w.by, moment-w.at), moment - w.at
	case w != nil:
		if o.Reason == event.OK {
			return string(event.OK), "", 0
		}
		why = fmt.Sprintf("recorded %s %d ms after the plan, though decision %s was there %d ms before that look", o.Reason, o.WaitMs, w.by, moment-w.at)
		if o.Point == event.Late {
			why += fmt.Sprintf(" and %d ms before the deadline", deadline-w.at)
		}
		return string(event.OK), why, moment - w.at
	}
	expected = string(event.Missing)
	if o.Point == event.Late && o.Reason != event.Missing {
		expected = string(event.Timeout)
	}
	switch o.Reason {
	case event.Missing, event.Timeout:
		if o.Point == event.Late && moment < deadline {
			return expected, fmt.Sprintf("recorded %s %d ms before the deadline, with the wait not over", o.Reason, deadline-moment), deadline - moment
		}
		return expected, "", 0
	}
	if next := k.writeAfter(moment); next != nil {
		return expected, fmt.Sprintf("recorded %s %d ms after the plan, though decision %s came only %d ms after that look", o.Reason, o.WaitMs, next.by, next.at-moment), next.at - moment
	}
	return expected, fmt.Sprintf("recorded %s %d ms after the plan, though no decision about it had come", o.Reason, o.WaitMs), never
}
