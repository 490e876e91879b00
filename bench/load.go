package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"heatobserver/pipeline"
)

// The names of the wire contract.
const (
	planStream     = "quantum:stream:apply.plan"
	observedStream = "quantum:stream:apply.heat.observed"
	heatPrefix     = "quantum:harvest:heat:by_plan:"
	lateGroup      = "p28_late"
)

// load is an open loop: the moment of each plan and of its heat is fixed from the start, so that a slow observer meets
// the same load as a fast one.
type load struct {
	rate  float64 // plans per second
	plans int
	// delay is the time from the moment of a plan to that of its heat; heat below 0 never comes.
	delay func(rng *rand.Rand) time.Duration

	ids     []string
	index   map[string]int
	plan    [][]byte // the commands that write each plan
	hash    [][]byte // and its heat
	heat    []heatAt
	written []time.Duration // since epoch, when the hash of each plan was on its way to Redis; 0 never
	epoch   time.Time
}

// heatAt is when the heat of a plan is due.
type heatAt struct {
	plan int
	due  time.Duration
}

const never = time.Duration(-1)

// fixed is a delay that is always the same.
func fixed(d time.Duration) func(*rand.Rand) time.Duration {
	return func(*rand.Rand) time.Duration { return d }
}

// between is a delay of random phase to whatever polls.
func between(from, to time.Duration) func(*rand.Rand) time.Duration {
	return func(rng *rand.Rand) time.Duration { return from + time.Duration(rng.Int64N(int64(to-from))) }
}

// mostly has the heat of a share of the plans never come.
func mostly(share float64, delay func(*rand.Rand) time.Duration) func(*rand.Rand) time.Duration {
	return func(rng *rand.Rand) time.Duration {
		if rng.Float64() >= share {
			return never
		}
		return delay(rng)
	}
}

// newLoad makes everything beforehand that can be.
func newLoad(rate float64, plans int, delay func(*rand.Rand) time.Duration) *load {
	const seed = 4
	l := &load{
		rate: rate, plans: plans, delay: delay, ids: make([]string, plans), index: make(map[string]int, plans),
		plan: make([][]byte, plans), hash: make([][]byte, plans), written: make([]time.Duration, plans), epoch: time.Now(),
	}
	rng := rand.New(rand.NewPCG(seed, uint64(plans)))
	now := time.Now()
	for i := range plans {
		pairs := pipeline.PlanPairs(seed, uint64(i), now)
		l.ids[i] = pairs[1]
		l.plan[i], l.hash[i] = xadd(pairs), hashOf(pairs[1], pairs[3])
		l.index[l.ids[i]] = i
		if d := delay(rng); d >= 0 {
			l.heat = append(l.heat, heatAt{i, l.moment(i) + d})
		}
	}
	slices.SortFunc(l.heat, func(a, b heatAt) int { return int(a.due - b.due) })
	return l
}

// moment is when a plan is due, since the beginning of the load.
func (l *load) moment(plan int) time.Duration {
	return time.Duration(float64(plan) / l.rate * float64(time.Second))
}

// run writes plans and heat and returns when Redis has taken both, and how far the writing fell behind at worst.
func (l *load) run(t *trial, addr string) (behind time.Duration) {
	start := time.Now().Add(10 * time.Millisecond)
	plans, heat := dialWire(t, addr), dialWire(t, addr)
	var behindPlans, behindHeat time.Duration
	var errPlans, errHeat error
	var both sync.WaitGroup
	both.Go(func() { behindPlans, errPlans = l.writePlans(t.ctx, plans, start) })
	both.Go(func() { behindHeat, errHeat = l.writeHeat(t.ctx, heat, start) })
	both.Wait()
	t.check("write the plans", errPlans)
	t.check("write the heat", errHeat)
	return max(behindPlans, behindHeat)
}

// step is the time whose writes travel together. A timer for each of 5000 writes a second would cost the machine as much as
// what is measured.
const step = time.Millisecond

// await waits for the end of the step in which something is due, and says how much of the load is due then.
func await(ctx context.Context, start time.Time, due time.Duration) (elapsed time.Duration) {
	pauseUntil(ctx, start.Add(due.Truncate(step)+step))
	return time.Since(start)
}

// writePlans writes every plan at the end of the step in which it is due.
func (l *load) writePlans(ctx context.Context, w *wire, start time.Time) (behind time.Duration, err error) {
	for next := 0; next < l.plans && ctx.Err() == nil; {
		elapsed := await(ctx, start, l.moment(next))
		behind = max(behind, elapsed-l.moment(next))
		for ; next < l.plans && l.moment(next) <= elapsed; next++ {
			if err := w.write(l.plan[next]); err != nil {
				return behind, err
			}
		}
		if err := w.out.Flush(); err != nil {
			return behind, err
		}
	}
	return behind, w.settle(ctx)
}

// writeHeat writes every hash at the end of the step in which it is due, and notes when. Its clock is read before the hash
// goes out: what is measured from there holds the way to Redis as well.
func (l *load) writeHeat(ctx context.Context, w *wire, start time.Time) (behind time.Duration, err error) {
	for next := 0; next < len(l.heat) && ctx.Err() == nil; {
		elapsed := await(ctx, start, l.heat[next].due)
		behind = max(behind, elapsed-l.heat[next].due)
		stamp := time.Since(l.epoch)
		for ; next < len(l.heat) && l.heat[next].due <= elapsed; next++ {
			plan := l.heat[next].plan
			l.written[plan] = stamp
			w.sent++ // there are two commands
			if err := w.write(l.hash[plan]); err != nil {
				return behind, err
			}
		}
		if err := w.out.Flush(); err != nil {
			return behind, err
		}
	}
	return behind, w.settle(ctx)
}

// hashOf encodes the commands that write a hash as the heat bridge does: twelve fields, and its time to live.
func hashOf(planID, symbol string) []byte {
	key := heatPrefix + planID
	set := appendCommand(nil, "HSET", key, "ts_epoch", "1700000000", "symbol", symbol, "plan_id", planID,
		"in_action", "FULL_CLOSE_PROPOSED", "out_action", "PARTIAL_CLOSE_PROPOSED", "heat_level", "hot", "heat_score", "0.8765",
		"heat_action", "DOWNGRADE_FULL_TO_PARTIAL", "recommended_partial", "0.25", "reason", "heat_hot", "mode", "shadow",
		"debug_json", `{"source":"bench"}`)
	return appendCommand(set, "EXPIRE", key, "1800")
}

// pauseUntil waits for a moment, or for the end of ctx.
func pauseUntil(ctx context.Context, moment time.Time) {
	pause := time.Until(moment)
	if pause <= 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
