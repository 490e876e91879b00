package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// latencyCommand measures how long a plan takes from its publication to its early observation, under load.
type latencyCommand struct {
	Quick   bool    `help:"One short round: does everything work?"`
	Rounds  int     `default:"3" help:"How often each load is measured; shown are the medians."`
	Seconds float64 `default:"5" help:"How long each load lasts, after a second to warm up."`
	output
}

// latencyFigures are all that was measured.
type latencyFigures struct {
	Machine machine   `json:"machine"`
	Quick   bool      `json:"quick,omitempty"`
	Maximum []float64 `json:"maximum_plans_per_s"` // with plans written as fast as Redis takes them, at the same time
	Loads   []loaded  `json:"loads"`
}

// loaded is one load. Times are from the moment at which the plan was due, so that a load that falls behind shows in
// them; the observation is taken to be made at the end of the millisecond in its entry ID.
type loaded struct {
	Share     float64  `json:"share"`
	Rate      float64  `json:"plans_per_s"`
	Plans     int      `json:"plans"`
	P50       float64  `json:"p50_ms"`
	P99       float64  `json:"p99_ms"`
	P999      float64  `json:"p99_9_ms"`
	Max       float64  `json:"max_ms"`
	ClientCPU float64  `json:"client_cpu_percent"`
	RedisCPU  float64  `json:"redis_cpu_percent"`
	Behind    float64  `json:"load_behind_ms"` // the load itself, at worst
	Invalid   []string `json:"invalid,omitempty"`
}

var latencyGoal = limits{must: 10, aim: 3} // p99 at a tenth of the maximum, in ms

// Run measures, prints and writes.
func (c *latencyCommand) Run(ctx context.Context) error {
	flood := 100_000
	if c.Quick {
		c.Rounds, c.Seconds, flood = 1, 1, 20_000
	}
	binary, end, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	f := latencyFigures{Machine: describeMachine(ctx), Quick: c.Quick}
	for range c.Rounds {
		err := try(ctx, func(t *trial) { f.Maximum = append(f.Maximum, newPace(t, flood).flood(t, binary)) })
		if err != nil {
			return fmt.Errorf("measure the maximum: %w", err)
		}
	}
	failed := 0
	for round := range c.Rounds {
		for _, share := range []float64{0.1, 0.5, 0.8} {
			l := loaded{Share: share, Rate: share * median(f.Maximum)}
			err := try(ctx, func(t *trial) { newPace(t, int((c.Seconds+1)*l.Rate)).measure(t, binary, &l) })
			if err != nil {
				l.Invalid = append(l.Invalid, err.Error())
			}
			if len(l.Invalid) > 0 {
				failed++
			}
			f.Loads = append(f.Loads, l)
			fmt.Fprintf(os.Stderr, "round %d  %2.0f %% of the maximum, %6.0f plans/s  p50 %.1f  p99 %.1f  p99.9 %.1f ms  %v\n",
				round+1, 100*share, l.Rate, l.P50, l.P99, l.P999, l.Invalid)
		}
	}
	f.print(os.Stdout)
	if err := writeJSON(c.file("latency.json"), f); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d measurements failed or are invalid", failed)
	}
	return ctx.Err()
}

// pace is plans that are written at their moments, on a server of their own.
type pace struct {
	data     *dataset
	server   *redistest.Server
	client   *redis.Client
	commands [][]byte
}

func newPace(t *trial, plans int) *pace {
	p := &pace{server: startServer(t), commands: make([][]byte, plans)}
	p.data = &dataset{plans: plans, index: make(map[string]int, plans)}
	p.client = p.server.NewClient(func(o *redis.Options) { o.ReadTimeout = 30 * time.Second })
	now := time.Now()
	pipe := p.client.Pipeline()
	for i := range plans {
		pairs := pipeline.PlanPairs(plansSeed, uint64(i), now)
		p.commands[i], p.data.index[pairs[1]] = xadd(pairs), i
		if p.data.hasHeat(i) {
			pipe.HSet(t.ctx, heatPrefix+pairs[1], heatPairs(pairs[1], pairs[3]))
		}
		if pipe.Len() == 500 || i == plans-1 {
			_, err := pipe.Exec(t.ctx)
			t.check("write the heat", err)
		}
	}
	t.check("create the group", p.client.XGroupCreateMkStream(t.ctx, planStream, earlyGroup, "0").Err())
	return p
}

var earlyAlone = variant{Key: "d", processes: 1, early: true}

// flood writes all plans as fast as Redis takes them and returns how many were observed in a second.
func (p *pace) flood(t *trial, binary string) float64 {
	earlyAlone.start(t, binary, p.server, nil)
	w := dialWire(t, p.server.Addr())
	start := time.Now()
	for _, command := range p.commands {
		t.check("write a plan", w.write(command))
	}
	t.check("write the plans", w.settle(t.ctx))
	earlyAlone.await(t, p.client, []string{earlyGroup}, p.data)
	tally := p.data.count(t, p.client, expectation{plans: p.data.plans, points: []string{event.Early.String()}, ordered: true})
	if wrong := tally.invalid(); len(wrong) > 0 {
		t.Fatalf("the observations are wrong: %v", wrong)
	}
	return float64(p.data.plans) / tally.last.Time().Sub(start).Seconds()
}

// measure writes the plans at their moments and takes the times of all but those of the first second.
func (p *pace) measure(t *trial, binary string, l *loaded) {
	children := earlyAlone.start(t, binary, p.server, nil)
	w := dialWire(t, p.server.Addr())
	meter := startMeter(t, map[string]int{"client": children[0].pid(), "redis": p.server.PID()})
	start := time.Now().Add(10 * time.Millisecond)
	due := func(plan int) time.Time {
		return start.Add(time.Duration(float64(plan) / l.Rate * float64(time.Second)))
	}
	for next := 0; next < len(p.commands); {
		pauseUntil(t.ctx, due(next))
		now := time.Now()
		l.Behind = max(l.Behind, millis(now.Sub(due(next))))
		for ; next < len(p.commands) && !due(next).After(now); next++ {
			t.check("write a plan", w.write(p.commands[next]))
		}
		t.check("write the plans", w.out.Flush())
	}
	cpu := meter.cpu()
	l.ClientCPU, l.RedisCPU = cpu["client"], cpu["redis"]
	t.check("write the plans", w.settle(t.ctx))
	earlyAlone.await(t, p.client, []string{earlyGroup}, p.data)
	tally := p.data.count(t, p.client, expectation{plans: p.data.plans, points: []string{event.Early.String()}, ordered: true})
	l.Invalid = tally.invalid()
	var sample []time.Duration
	for plan, id := range p.observedAt(t) {
		if plan >= int(l.Rate) {
			sample = append(sample, id.Time().Add(time.Millisecond).Sub(due(plan)))
		}
	}
	slices.Sort(sample)
	if l.Plans = len(sample); l.Plans > 0 {
		l.P50, l.P99, l.P999, l.Max = quantile(sample, 0.5), quantile(sample, 0.99), quantile(sample, 0.999), quantile(sample, 1)
	}
}

// observedAt are the entry IDs of the observations, by the places of their plans.
func (p *pace) observedAt(t *trial) map[int]entry.ID {
	ids := make(map[int]entry.ID, p.data.plans)
	for from := "-"; ; {
		reply, err := p.client.XRangeN(t.ctx, observedStream, from, "+", 2000).Result()
		t.check("read the observations", err)
		for _, m := range reply {
			id, err := entry.ParseID(m.ID)
			t.check("read an entry ID", err)
			planID, _ := m.Values["plan_id"].(string)
			ids[p.data.index[planID]] = id
			from = "(" + m.ID
		}
		if len(reply) < 2000 {
			return ids
		}
	}
}

func (f *latencyFigures) print(w io.Writer) {
	t := newTable(fmt.Sprintf("Publish to early observation, open loop; the maximum with the load on the same machine is %.0f plans/s", median(f.Maximum)),
		"load", "plans/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "client CPU %", "Redis CPU %", "load late ms", "p99 goal")
	for _, share := range []float64{0.1, 0.5, 0.8} {
		of := func(figure func(loaded) float64) float64 {
			var values []float64
			for _, l := range f.Loads {
				if l.Share == share && len(l.Invalid) == 0 {
					values = append(values, figure(l))
				}
			}
			return median(values)
		}
		number := func(figure func(loaded) float64) string { return fmt.Sprintf("%.1f", of(figure)) }
		verdict := ""
		if share == 0.1 {
			verdict = latencyGoal.verdict(of(func(l loaded) float64 { return l.P99 }))
		}
		t.row(fmt.Sprintf("%.0f %%", 100*share), fmt.Sprintf("%.0f", of(func(l loaded) float64 { return l.Rate })),
			number(func(l loaded) float64 { return l.P50 }), number(func(l loaded) float64 { return l.P99 }),
			number(func(l loaded) float64 { return l.P999 }), number(func(l loaded) float64 { return l.Max }),
			number(func(l loaded) float64 { return l.ClientCPU }), number(func(l loaded) float64 { return l.RedisCPU }),
			number(func(l loaded) float64 { return l.Behind }), verdict)
	}
	t.print(w)
}
