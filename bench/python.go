package main

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
)

// pythonCommand is the late observer that the project replaces, written in Go so that it runs everywhere: a reader that
// takes at most 200 plans in flight and drops the others, and four threads that look at each of them every 100 ms, one
// lookup to a round trip, until the hash is there or the deadline passed. Its rules are those of the report; its speed is
// better than the original's, which has an interpreter lock, so what it drops is what the scheme drops.
type pythonCommand struct {
	Redis    string        `required:"" help:"URL of the server."`
	Threads  int           `default:"4"`
	InFlight int           `default:"200"`
	Poll     time.Duration `default:"100ms"`
	MaxWait  time.Duration `default:"2s"`
}

// Run observes until ctx ends and prints how many plans it dropped.
func (c *pythonCommand) Run(ctx context.Context) error {
	opts, err := redis.ParseURL(c.Redis)
	if err != nil {
		return err
	}
	opts.PoolSize = c.Threads + 2
	client := redis.NewClient(opts)
	defer func() { _ = client.Close() }() // nothing was written that could be lost
	p := &pythonLike{pythonCommand: *c, client: client, wake: make(chan struct{}, 1)}
	if err := client.XGroupCreateMkStream(ctx, planStream, lateGroup, "0").Err(); err != nil {
		return fmt.Errorf("create the group: %w", err)
	}
	slog.New(slog.NewJSONHandler(os.Stderr, nil)).InfoContext(ctx, "observing", "http", "")
	var threads sync.WaitGroup
	for range c.Threads {
		threads.Go(func() { p.poll(ctx) })
	}
	err = p.read(ctx)
	threads.Wait()
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(pythonCounts{Dropped: p.dropped.Load(), Failed: p.failed.Load()}))
}

// pythonCounts is what the process prints at its end.
type pythonCounts struct {
	Dropped int64 `json:"dropped"`
	Failed  int64 `json:"failed"`
}

type pythonLike struct {
	pythonCommand
	client *redis.Client
	wake   chan struct{}

	mu       sync.Mutex
	polls    polls
	inFlight int

	dropped, failed atomic.Int64
}

// poll is one plan in flight.
type pollEntry struct {
	due  time.Time
	plan event.Plan
}

// polls is a heap of plans, the next due first.
type polls []*pollEntry

var _ heap.Interface = (*polls)(nil)

func (p polls) Len() int           { return len(p) }
func (p polls) Less(i, j int) bool { return p[i].due.Before(p[j].due) }
func (p polls) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *polls) Push(x any)        { *p = append(*p, x.(*pollEntry)) }

func (p *polls) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	*p = (*p)[:last]
	return x
}

// read takes plans as they come, and drops what is too much.
func (p *pythonLike) read(ctx context.Context) error {
	for ctx.Err() == nil {
		streams, err := p.client.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: lateGroup, Consumer: "python", Streams: []string{planStream, ">"}, Count: 100, Block: 100 * time.Millisecond, NoAck: true,
		}).Result()
		switch {
		case errors.Is(err, redis.Nil), ctx.Err() != nil:
			continue
		case err != nil:
			return fmt.Errorf("read plans: %w", err)
		}
		for _, m := range streams[0].Messages {
			id, err := entry.ParseID(m.ID)
			if err != nil {
				return err
			}
			text := func(name string) string { s, _ := m.Values[name].(string); return s }
			p.submit(event.Plan{ID: id, PlanID: text("plan_id"), Symbol: text("symbol"), Decision: text("decision")})
		}
	}
	return nil
}

func (p *pythonLike) submit(plan event.Plan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight >= p.InFlight {
		p.dropped.Add(1)
		return
	}
	p.inFlight++
	heap.Push(&p.polls, &pollEntry{due: time.Now(), plan: plan})
	p.signal()
}

func (p *pythonLike) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// poll is one thread.
func (p *pythonLike) poll(ctx context.Context) {
	for ctx.Err() == nil {
		e := p.next(ctx)
		if e == nil {
			continue
		}
		if p.look(ctx, e) {
			p.mu.Lock()
			p.inFlight--
			p.mu.Unlock()
			continue
		}
		e.due = time.Now().Add(p.Poll)
		p.mu.Lock()
		heap.Push(&p.polls, e)
		p.mu.Unlock()
	}
}

// next is the next plan that is due, or nil after a pause.
func (p *pythonLike) next(ctx context.Context) *pollEntry {
	p.mu.Lock()
	pause := 10 * time.Millisecond
	if len(p.polls) > 0 {
		pause = min(pause, time.Until(p.polls[0].due))
		if pause <= 0 {
			e := heap.Pop(&p.polls).(*pollEntry)
			p.mu.Unlock()
			return e
		}
	}
	p.mu.Unlock()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-p.wake:
	}
	return nil
}

// look makes one lookup and, when it decides, writes the observation. It reports whether the plan is done with.
func (p *pythonLike) look(ctx context.Context, e *pollEntry) bool {
	values, err := p.client.HGetAll(ctx, heatPrefix+e.plan.PlanID).Result()
	if err != nil {
		p.failed.Add(1)
		return true
	}
	now := time.Now()
	v := event.Verdict{Reason: event.Timeout, At: now, Waited: now.Sub(e.plan.ID.Time()), Noticed: event.Sweep}
	switch {
	case len(values) > 0:
		v.Reason = event.OK
		v.Heat = event.Heat{TsEpoch: values["ts_epoch"], Level: values["heat_level"], Score: values["heat_score"], Action: values["heat_action"],
			OutAction: values["out_action"], RecommendedPartial: values["recommended_partial"]}
	case v.Waited < p.MaxWait:
		return false
	}
	o := event.Observe(e.plan, event.Late, v, now)
	fresh, err := p.client.SetNX(ctx, "quantum:dedupe:p28:"+o.UUID(), "1", 10*time.Minute).Result()
	if err == nil && fresh {
		err = p.client.XAdd(ctx, &redis.XAddArgs{Stream: observedStream, Values: o.AppendFields(nil, 400).Values()}).Err()
	}
	if err != nil {
		p.failed.Add(1)
	}
	return true
}
