package chaos

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/pipeline"
)

// heatPairs are the fields of a by_plan hash.
func heatPairs(plan string, at time.Time) []string {
	return []string{
		"ts_epoch", strconv.FormatInt(at.Unix(), 10), "symbol", "BTCUSDT", "plan_id", plan,
		"in_action", "FULL_CLOSE_PROPOSED", "out_action", "PARTIAL_CLOSE_PROPOSED",
		"heat_level", "warm", "heat_score", "0.412", "heat_action", "DOWNGRADE_FULL_TO_PARTIAL",
		"recommended_partial", "0.5", "reason", "score", "mode", "live", "debug_json", `{"source":"stand_in"}`,
	}
}

// published is one entry of the plan stream that Redis has acknowledged.
type published struct {
	plan      string // the plan's ID, "" for a malformed entry
	id        entry.ID
	malformed bool
}

// load writes plans at a steady rate and their heat after a delay. It is an open loop, and it survives everything: what
// Redis did not acknowledge is written again, so that a plan may stand in the stream twice but never be missing.
type load struct {
	client *redis.Client
	seed   uint64
	rate   float64

	mu      sync.Mutex
	entries []published
	heats   []heat // to be written, in no order
	recent  []heat // written in the last seconds, in their order
	n       uint64
}

// heat is a hash that is due.
type heat struct {
	plan string
	at   time.Time
}

// malformedShare is the share of plans without a symbol.
const malformedShare = 0.01

// write publishes until ctx ends. It goes on where it ended before.
func (l *load) write(ctx context.Context) {
	start, first := time.Now(), l.n
	var again []uint64
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		const most = 400 // plans in one pipeline
		batch := again[:min(len(again), most)]
		again = again[len(batch):]
		for due := first + uint64(time.Since(start).Seconds()*l.rate); l.n < due && len(batch) < most; l.n++ {
			batch = append(batch, l.n)
		}
		if len(batch) > 0 {
			// Never given up halfway: what Redis took without our knowing would pass for a plan that nobody published.
			again = append(again, l.publish(context.WithoutCancel(ctx), batch)...)
		}
	}
}

// publish writes plans by their numbers and returns those that Redis did not acknowledge.
func (l *load) publish(ctx context.Context, batch []uint64) (failed []uint64) {
	pipe := l.client.Pipeline()
	cmds := make([]*redis.StringCmd, len(batch))
	for i, n := range batch {
		pairs := pipeline.PlanPairs(l.seed, n, time.Now())
		if l.chance(n).Float64() < malformedShare {
			pairs = append(pairs[:2:2], pairs[4:]...) // no symbol
		}
		cmds[i] = pipe.XAdd(ctx, &redis.XAddArgs{Stream: planStream, Values: pairs})
	}
	_, _ = pipe.Exec(ctx) // every command has its own error
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, n := range batch {
		id, err := entry.ParseID(cmds[i].Val())
		if err != nil || cmds[i].Err() != nil {
			failed = append(failed, n)
			continue
		}
		rng := l.chance(n)
		e := published{plan: pipeline.PlanID(l.seed, n), id: id, malformed: rng.Float64() < malformedShare}
		l.entries = append(l.entries, e)
		if delay := heatDelay(rng); delay >= 0 && !e.malformed {
			l.heats = append(l.heats, heat{e.plan, now.Add(delay)})
		}
	}
	return failed
}

func (l *load) chance(n uint64) *rand.Rand { return rand.New(rand.NewPCG(^l.seed, n)) }

// heatDelay is as in production: most after 100 to 170 ms, some slow, some after the deadline, some never (-1).
func heatDelay(rng *rand.Rand) time.Duration {
	ms := func(from, to int) time.Duration {
		return time.Duration(from+rng.IntN(to-from)) * time.Millisecond
	}
	switch share := rng.Float64(); {
	case share < 0.92:
		return ms(100, 170)
	case share < 0.96:
		return ms(300, 1500)
	case share < 0.98:
		return ms(2200, 3000)
	}
	return -1
}

// heat writes the hashes that are due until ctx ends.
func (l *load) writeHeat(ctx context.Context) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := l.dueHeat(time.Now())
		if len(due) == 0 {
			continue
		}
		pipe := l.client.Pipeline()
		for _, h := range due {
			pipe.HSet(ctx, heatPrefix+h.plan, heatPairs(h.plan, time.Now()))
			pipe.Expire(ctx, heatPrefix+h.plan, 1800*time.Second)
		}
		_, err := pipe.Exec(ctx)
		l.mu.Lock()
		if err != nil {
			l.heats = append(l.heats, due...) // writing a hash twice does no harm
		} else {
			l.recent = append(l.recent, due...)
		}
		l.mu.Unlock()
	}
}

func (l *load) dueHeat(now time.Time) (due []heat) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := l.heats[:0]
	for _, h := range l.heats {
		if h.at.After(now) {
			rest = append(rest, h)
		} else {
			due = append(due, h)
		}
	}
	l.heats = rest
	const remembered = 10_000
	if over := len(l.recent) - remembered; over > remembered {
		l.recent = append(l.recent[:0], l.recent[over:]...)
	}
	return due
}

// rewrite has the heat of the last seconds written again, which Redis may have lost.
func (l *load) rewrite() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heats = append(l.heats, l.recent...)
	l.recent = nil
}

// acknowledged is every entry that Redis has acknowledged so far.
func (l *load) acknowledged() []published {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]published(nil), l.entries...)
}
