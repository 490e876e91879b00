package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

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
	pairs   [][]string
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
		pairs: make([][]string, plans), written: make([]time.Duration, plans), epoch: time.Now(),
	}
	rng := rand.New(rand.NewPCG(seed, uint64(plans)))
	now := time.Now()
	for i := range plans {
		l.pairs[i] = pipeline.PlanPairs(seed, uint64(i), now)
		l.ids[i] = l.pairs[i][1]
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

// run writes plans and heat and returns when both are written, and how far it fell behind at worst.
func (l *load) run(ctx context.Context, plans, heat *redis.Client) (behind time.Duration, err error) {
	start := time.Now()
	var behindPlans, behindHeat time.Duration
	var errPlans, errHeat error
	var both sync.WaitGroup
	both.Go(func() { behindPlans, errPlans = l.writePlans(ctx, plans, start) })
	both.Go(func() { behindHeat, errHeat = l.writeHeat(ctx, heat, start) })
	both.Wait()
	if errPlans != nil {
		return 0, errPlans
	}
	return max(behindPlans, behindHeat), errHeat
}

// batch is how many plans or hashes travel in one pipeline at most: so many are due at once only after a pause.
const batch = 256

// writePlans writes every plan at its moment.
func (l *load) writePlans(ctx context.Context, client *redis.Client, start time.Time) (behind time.Duration, err error) {
	for next := 0; next < l.plans; {
		pauseUntil(ctx, start.Add(l.moment(next)))
		elapsed := time.Since(start)
		behind = max(behind, elapsed-l.moment(next))
		pipe := client.Pipeline()
		for ; next < l.plans && l.moment(next) <= elapsed && pipe.Len() < batch; next++ {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: planStream, Values: l.pairs[next]})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return behind, fmt.Errorf("write plans: %w", err)
		}
	}
	return behind, nil
}

// writeHeat writes every hash at its moment, and notes when. Its clock is read before the hash goes out: what is measured
// from there holds the way to Redis as well.
func (l *load) writeHeat(ctx context.Context, client *redis.Client, start time.Time) (behind time.Duration, err error) {
	for next := 0; next < len(l.heat); {
		pauseUntil(ctx, start.Add(l.heat[next].due))
		elapsed := time.Since(start)
		behind = max(behind, elapsed-l.heat[next].due)
		pipe := client.Pipeline()
		first := next
		for ; next < len(l.heat) && l.heat[next].due <= elapsed && pipe.Len() < 2*batch; next++ {
			l.writeOne(ctx, pipe, l.heat[next].plan)
		}
		stamp := time.Since(l.epoch)
		for _, h := range l.heat[first:next] {
			l.written[h.plan] = stamp
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return behind, fmt.Errorf("write heat: %w", err)
		}
	}
	return behind, nil
}

// writeOne writes a hash as the heat bridge does: twelve fields, and its time to live.
func (l *load) writeOne(ctx context.Context, pipe redis.Pipeliner, plan int) {
	key := heatPrefix + l.ids[plan]
	pipe.HSet(ctx, key, "ts_epoch", "1700000000", "symbol", l.pairs[plan][3], "plan_id", l.ids[plan],
		"in_action", "FULL_CLOSE_PROPOSED", "out_action", "PARTIAL_CLOSE_PROPOSED", "heat_level", "hot", "heat_score", "0.8765",
		"heat_action", "DOWNGRADE_FULL_TO_PARTIAL", "recommended_partial", "0.25", "reason", "heat_hot", "mode", "shadow",
		"debug_json", `{"source":"bench"}`)
	pipe.Expire(ctx, key, 30*time.Minute)
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
