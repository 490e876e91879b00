package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
)

const (
	lastObservations = 200    // as in the operators' one-liner
	manyObservations = 10_000 // as many as are kept
)

// observed is the end of the observed stream.
type observed struct {
	records  []record
	counts   map[string]int // by "<obs_point> <heat_found>", as the one-liner counts
	burst    bool           // of one point alone, and the same plans at the other further back
	disorder int            // entries whose fields are not the contracted ones in the contracted order
	foreign  []event.Observation
	decoded  []event.Observation
}

func (p *probe) observed(ctx context.Context) (observed, error) {
	records, err := p.newest(ctx, p.Observed, lastObservations)
	o := observed{records: records, counts: map[string]int{}}
	for _, r := range records {
		o.counts[r.get("obs_point")+" "+r.get("heat_found")]++
		ordered := len(r.pairs) == 2*len(event.ObservationFields)
		for i, name := range event.ObservationFields {
			ordered = ordered && r.pairs[2*i] == name
		}
		if !ordered {
			o.disorder++
		}
		observation, err := event.DecodeObservation(r.fields())
		if err != nil {
			o.disorder++
			continue
		}
		o.decoded = append(o.decoded, observation)
		if observation.SourceID.Ms == 0 {
			o.foreign = append(o.foreign, observation)
		}
	}
	return o, err
}

func (o observed) at(point event.Point) int {
	return o.counts[point.String()+" 0"] + o.counts[point.String()+" 1"]
}

func (o observed) String() string {
	var parts []string
	for key, n := range o.counts {
		parts = append(parts, fmt.Sprintf("%s: %d", brief(key), n))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// observations is the never-lie command: both observation points in the last 200 observations, and their fields in order.
func (p *probe) observations(ctx context.Context) Check {
	var o observed
	_, err := poll(ctx, p.patience(), func() (bool, error) {
		var err error
		o, err = p.observed(ctx)
		return o.at(event.Early) > 0 && o.at(event.Late) > 0, err
	})
	switch {
	case err != nil:
		return cannot(err)
	case len(o.records) == 0:
		return bad(Fail, "start processor run and see its log; look at P28_HEAT_OBS_STREAM", "observer down: nothing in %s", p.Observed)
	case o.at(event.Early) == 0 || o.at(event.Late) == 0:
		// A burst's observations come early point first, more than 200 of each.
		if o.burst, err = p.burst(ctx, o); err != nil {
			return cannot(err)
		}
	}
	switch {
	case o.disorder > 0:
		return bad(Fail, "find what else writes the observed stream; one-liners rely on the order", "%d of the last %d entries have not the contracted fields in order; %s", o.disorder, len(o.records), o)
	case o.burst:
		return pass("%s; the same plans are observed at the other point too, before these", o)
	case o.at(event.Late) == 0:
		return p.noLate(ctx, o)
	case o.at(event.Early) == 0:
		return bad(Fail, "see the check of the early group", "early observer not working: no %s; %s", event.Early, o)
	}
	return pass("%s", o)
}

// burst reports whether a plan of the last observations, which are all of one point, is observed at the other point too.
func (p *probe) burst(ctx context.Context, o observed) (bool, error) {
	records, err := p.newest(ctx, p.Observed, manyObservations)
	if err != nil {
		return false, err
	}
	points := map[string]string{}
	for _, r := range o.records {
		points[r.get("plan_id")] = r.get("obs_point")
	}
	for _, r := range records {
		if point, last := points[r.get("plan_id")]; last && point != r.get("obs_point") {
			return true, nil
		}
	}
	return false, nil
}

// noLate explains that the last observations are all early. It is nobody's fault while their plans may still wait.
func (p *probe) noLate(ctx context.Context, o observed) Check {
	now, err := p.redis.Time(ctx).Result()
	if err != nil {
		return cannot(err)
	}
	over := func(ob event.Observation) bool { return now.Sub(ob.SourceID.Time()) >= p.within() }
	if !slices.ContainsFunc(o.decoded, over) {
		return p.settled(ctx, fmt.Sprintf("no %s; %s", event.Late, o))
	}
	return bad(Fail, lateHint, "late observer disabled or not working: no %s; %s", event.Late, o)
}

const lateHint = "set P28_LATE_OBS_ENABLED=true and restart; if it is, see the check of the late group"

// within is how old a plan may be before its late observation is missing, patience how long verify waits for it.
func (p *probe) within() time.Duration { return p.MaxWait + 3*time.Second }

func (p *probe) patience() time.Duration { return min(p.Wait, p.within()) }

// settled judges the late point by the newest plan whose wait must be over, where those seen may still wait.
func (p *probe) settled(ctx context.Context, seen string) Check {
	now, err := p.redis.Time(ctx).Result()
	if err != nil {
		return cannot(err)
	}
	plans, err := p.plansUpTo(ctx, entry.IDAt(now.Add(-p.within())).String(), 10)
	if err != nil {
		return cannot(err)
	}
	if len(plans) > 0 {
		older := plans[0].PlanID
		missing, err := p.missing(ctx, older)
		switch {
		case err != nil:
			return cannot(err)
		case !slices.Contains(missing, event.Late.String()):
			return pass("%s, within the wait of %s; plan %s before it is observed late", seen, p.MaxWait, brief(older))
		case len(missing) == 1: // nobody was there for a plan without any
			return bad(Fail, lateHint, "late observer disabled or behind: plan %s is observed early and not late, after a wait of %s", brief(older), p.MaxWait)
		}
	}
	return bad(Warn, "verify again when the wait is over, or ask processor trace for the plan", "%s, still within its wait of %s", seen, p.MaxWait)
}

// missing are the points at which a plan has no dedupe key.
func (p *probe) missing(ctx context.Context, planID string) (points []string, err error) {
	for _, point := range event.Points {
		n, err := p.redis.Exists(ctx, p.DedupePrefix+event.ObservationUUID(point, planID)).Result()
		if err != nil {
			return nil, err
		}
		if n == 0 {
			points = append(points, point.String())
		}
	}
	return points, nil
}

// observing looks whether the newest plan is observed at both points: old observations prove nothing about now. The dedupe
// keys tell, because no observation is without one.
func (p *probe) observing(ctx context.Context) Check {
	plans, err := p.newestPlans(ctx, 10)
	switch {
	case err != nil:
		return cannot(err)
	case len(plans) == 0:
		return bad(Warn, "verify again when there are plans, or use --canary", "no plan that could have been observed")
	}
	plan := plans[0]
	age, err := p.age(ctx, plan.ID)
	if err != nil {
		return cannot(err)
	}
	if age > p.DedupeTTL-p.Wait {
		return bad(Warn, "verify again when there are plans, or use --canary", "the newest plan is %s old: too old to tell", round(age))
	}
	var missing []string
	limit := min(p.Wait, max(500*time.Millisecond, p.within()-age))
	_, err = poll(ctx, limit, func() (bool, error) {
		missing, err = p.missing(ctx, plan.PlanID)
		return len(missing) == 0, err
	})
	switch {
	case err != nil:
		return cannot(err)
	case len(missing) == len(event.Points):
		return bad(Fail, "start processor run, or see its log and processor status", "observer down: plan %s has no observation", brief(plan.PlanID))
	case len(missing) == 1 && missing[0] == event.Late.String() && age+limit < p.within():
		return p.settled(ctx, fmt.Sprintf("plan %s is observed early", brief(plan.PlanID)))
	case len(missing) == 1 && missing[0] == event.Late.String():
		return bad(Fail, lateHint, "late observer disabled or behind: plan %s is observed early and not late", brief(plan.PlanID))
	case len(missing) == 1:
		return bad(Fail, "see the check of the early group", "plan %s is not observed early", brief(plan.PlanID))
	}
	return pass("plan %s is observed at both points", brief(plan.PlanID))
}

// python notices the observer that this one replaces. Its observations have no source_id and no wait_ms in debug_json.
func (p *probe) python(ctx context.Context) Check {
	o, err := p.observed(ctx)
	switch {
	case err != nil:
		return cannot(err)
	case len(o.records) == 0:
		return skip("no observations to judge by")
	case len(o.foreign) == 0:
		return pass("all of the last %d observations are ours", len(o.records))
	}
	now, err := p.redis.Time(ctx).Result()
	if err != nil {
		return cannot(err)
	}
	newest := o.foreign[0]
	silent := now.Sub(time.Unix(newest.TsEpoch, 0))
	early := 0
	for _, f := range o.foreign {
		if f.Point == event.Early {
			early++
		}
	}
	seen := fmt.Sprintf("%d of the last %d observations (%d early) have no source_id, as the Python observer writes them; the newest is %s old",
		len(o.foreign), len(o.decoded), early, round(silent))
	if silent > 2*time.Minute {
		return bad(Warn, "they leave the stream by themselves; until then they are in its counts", "the Python observer has run: %s", seen)
	}
	return bad(Fail, "switch it off as docs/migration.md says: it shares our dedupe keys, so that our early counts sink to nothing",
		"the Python observer runs beside us: %s", seen)
}

// waits looks whether late observations ended as rule 3 has it.
func (p *probe) waits(ctx context.Context) Check {
	o, err := p.observed(ctx)
	if err != nil {
		return cannot(err)
	}
	n, over, failed, worst := 0, 0, 0, int64(0)
	for _, ob := range o.decoded {
		if ob.SourceID.Ms == 0 || ob.Point != event.Late {
			continue
		}
		n++
		worst = max(worst, ob.WaitMs)
		switch {
		case ob.Reason == event.RedisError:
			failed++
		case !ob.AfterDeadline && ob.Reason == event.OK && ob.WaitMs > p.MaxWait.Milliseconds():
			over++
		}
	}
	switch {
	case n == 0:
		return bad(Warn, "see the check of observations", "no late observation of ours to judge by")
	case over > 0:
		return bad(Fail, "give verify the settings of the observer: P28_LATE_OBS_MAX_WAIT_MS",
			"%d of %d late observations found heat after max wait (%s) and are not marked", over, n, p.MaxWait)
	case failed > 0:
		return bad(Warn, "mend Redis before tuning the wait", "%d of %d late observations are redis_error", failed, n)
	}
	return pass("%d late observations, the longest wait %d ms of %d", n, worst, p.MaxWait.Milliseconds())
}
