package pipeline

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
)

// GateConfig are the settings of a Gate.
type GateConfig struct {
	Plans     string // stream it reads, in GateGroup; "" = PlanStream
	Decisions string // stream it writes; "" = DecisionStream
	MaxLen    int64  // approximate length of the decision stream; 0 = 10,000, negative = never trimmed
	Delay     Delay  // from a plan's publish time to its decision; the zero Delay decides at once
	Seed      uint64

	waiting int // decisions that may wait at once; beyond them plans stay in the stream. 0 = 100,000
}

// Gate decides about the heat of plans as the heat gate does: one entry in the decision stream for each
// well-formed plan, after the delay that is drawn for it. Malformed plans are passed over. The delay counts by
// the local clock, which is taken to be the Redis server's.
type Gate struct {
	client redis.UniversalClient
	config GateConfig
	log    *slog.Logger
	group  group
	queue  queue

	decided   atomic.Uint64
	never     atomic.Uint64 // plans for which there will be no decision
	malformed atomic.Uint64
}

// NewGate never closes the client.
func NewGate(client redis.UniversalClient, config GateConfig, log *slog.Logger) *Gate {
	config.Plans = cmp.Or(config.Plans, PlanStream)
	config.Decisions = cmp.Or(config.Decisions, DecisionStream)
	config.MaxLen = max(0, cmp.Or(config.MaxLen, defaultMaxLen))
	config.waiting = cmp.Or(config.waiting, 100_000)
	g := &Gate{client: client, config: config}
	g.group = newGroup(client, config.Plans, GateGroup, log)
	g.log = g.group.log
	return g
}

// Run decides until the context ends. It must be called once.
func (g *Gate) Run(ctx context.Context) error { return rounds(ctx, g.log, g.round) }

// round writes the decisions that are due and reads plans until the next one is.
func (g *Gate) round(ctx context.Context) error {
	if err := g.decide(ctx); err != nil {
		return err
	}
	if err := g.group.flush(ctx); err != nil {
		return err
	}
	block := readBlock
	if len(g.queue) > 0 {
		block = min(block, time.Until(g.queue[0].due))
	}
	if len(g.queue) >= g.config.waiting {
		pause(ctx, block)
		return nil
	}
	// Redis takes a block of 0 for ever, and go-redis a negative one for no block.
	if block = block.Truncate(time.Millisecond); block <= 0 {
		block = -1
	}
	messages, err := g.group.read(ctx, block)
	if err != nil {
		return err
	}
	g.enqueue(messages)
	return nil
}

// enqueue lets plans wait for their decision. Those that have none to wait for are done.
func (g *Gate) enqueue(messages []redis.XMessage) {
	now := time.Now()
	for _, message := range messages {
		id, err := entry.ParseID(message.ID)
		if err != nil { // Redis gives no other
			continue
		}
		plan, err := event.DecodePlan(id, fields(message))
		if err != nil {
			g.malformed.Add(1)
			g.group.done(message.ID)
			continue
		}
		delay, ok := g.config.Delay.For(g.config.Seed, plan.PlanID)
		if !ok {
			g.never.Add(1)
			g.group.done(message.ID)
			continue
		}
		action, _ := message.Values["action"].(string)
		heap.Push(&g.queue, waiting{due: plan.Published(now).Add(delay), plan: plan, action: action})
	}
}

// decide writes the decisions that are due. Their plans are done then.
func (g *Gate) decide(ctx context.Context) error {
	const batch = 500
	for {
		now := time.Now()
		var due []waiting
		for len(g.queue) > 0 && len(due) < batch && !g.queue[0].due.After(now) {
			due = append(due, heap.Pop(&g.queue).(waiting))
		}
		if len(due) == 0 {
			return nil
		}
		if err := g.write(ctx, due, now); err != nil {
			for _, w := range due { // all of them again: a decision twice is one decision to the bridge
				heap.Push(&g.queue, w)
			}
			return err
		}
		g.decided.Add(uint64(len(due)))
		for _, w := range due {
			g.group.done(w.plan.ID.String())
		}
	}
}

func (g *Gate) write(ctx context.Context, due []waiting, now time.Time) error {
	pipe := g.client.Pipeline()
	for _, w := range due {
		d := Decide(g.config.Seed, w.plan, w.action, now)
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: g.config.Decisions, MaxLen: g.config.MaxLen, Approx: g.config.MaxLen > 0, Values: d.Pairs()})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write decisions to %s: %w", g.config.Decisions, err)
	}
	return nil
}

// Decide makes the heat decision about a plan, always the same for a seed, but for its time.
func Decide(seed uint64, plan event.Plan, action string, now time.Time) event.Decision {
	rng := planRand(^seed, plan.PlanID)
	score := rng.Float64()
	d := event.Decision{
		TsEpoch: strconv.FormatInt(now.Unix(), 10), Symbol: plan.Symbol, PlanID: plan.PlanID,
		InAction: action, OutAction: action, Action: action,
		HeatLevel: "cold", HeatScore: strconv.FormatFloat(score, 'f', 4, 64), HeatAction: "NONE", Reason: "heat_cold",
		InputsAgeSec: strconv.Itoa(rng.IntN(30)), Mode: "shadow",
		DebugJSON: `{"plan_entry":"` + plan.ID.String() + `"}`,
	}
	switch {
	case score < 0.05:
		d.HeatLevel, d.HeatAction, d.Reason = "unknown", "PASS_THROUGH", "inputs_missing"
	case score > 0.8:
		d.HeatLevel, d.HeatAction, d.Reason = "hot", pickHot(rng), "heat_hot"
	case score > 0.5:
		d.HeatLevel, d.Reason = "warm", "heat_warm"
	}
	if d.HeatAction == "DOWNGRADE_FULL_TO_PARTIAL" {
		d.OutAction, d.RecommendedPartial = "PARTIAL_CLOSE_PROPOSED", "0.25"
	}
	return d
}

func pickHot(rng *rand.Rand) string { return pick(rng, "DOWNGRADE_FULL_TO_PARTIAL", "HOLD_CLOSE") }

// waiting is a plan whose decision is not yet due.
type waiting struct {
	due    time.Time
	plan   event.Plan
	action string
}

// queue is a heap (container/heap) of waiting plans, the next one due first.
type queue []waiting

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(waiting)) }

func (q *queue) Pop() any {
	old := *q
	last := len(old) - 1
	w := old[last]
	old[last] = waiting{} // lets its strings go
	*q = old[:last]
	return w
}
