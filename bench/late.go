package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// lateCommand measures the late observation.
type lateCommand struct {
	Quick  bool     `help:"One short round: does everything work?"`
	Rounds int      `default:"3" help:"How often the latencies are measured; shown is the median."`
	JSON   string   `placeholder:"FILE" help:"Where the figures go. Default: late.json in the output folder."`
	Out    string   `default:"bin/bench" placeholder:"DIR" help:"Output folder of figures and pictures."`
	Binary string   `placeholder:"FILE" help:"A processor to measure in place of the one built from this tree."`
	Only   []string `placeholder:"PART" enum:"latency,coverage,waiting,idle,backlog" help:"Parts to measure: latency, coverage, waiting, idle, backlog. Default: all."`
}

// lateFigures are all that was measured.
type lateFigures struct {
	Machine  machine   `json:"machine"`
	Quick    bool      `json:"quick,omitempty"`
	Latency  []flow    `json:"latency,omitempty"`
	Coverage []flow    `json:"coverage,omitempty"`
	Waiting  []waiting `json:"waiting,omitempty"`
	Idle     []idle    `json:"idle,omitempty"`
	Backlog  []backlog `json:"backlog,omitempty"`
}

// lateRun is one run of the command.
type lateRun struct {
	*lateCommand
	ctx     context.Context //nolint:containedctx // it is the run's own
	binary  string
	figures lateFigures
	failed  int // measurements that failed or are invalid
}

// Run measures, prints and writes.
func (c *lateCommand) Run(ctx context.Context) error {
	if err := os.MkdirAll(c.Out, 0o750); err != nil {
		return fmt.Errorf("make the output folder: %w", err)
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the binary: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	binary := c.Binary
	if binary == "" {
		if binary, err = buildProcessor(ctx, dir); err != nil {
			return err
		}
	}
	r := &lateRun{lateCommand: c, ctx: ctx, binary: binary}
	r.figures.Machine, r.figures.Quick = describeMachine(ctx), c.Quick
	for _, part := range []struct {
		name    string
		measure func()
	}{
		{"latency", r.latency}, {"coverage", r.coverage}, {"waiting", r.waiting}, {"idle", r.idle}, {"backlog", r.backlog},
	} {
		if ctx.Err() == nil && c.wants(part.name) {
			part.measure()
		}
	}
	r.figures.writeTables(os.Stdout)
	if c.JSON == "" {
		c.JSON = filepath.Join(c.Out, "late.json")
	}
	if err := writeJSON(c.JSON, r.figures); err != nil {
		return err
	}
	if len(r.figures.Latency) > 0 {
		if err := r.figures.draw(filepath.Join(c.Out, "late.svg"), filepath.Join(c.Out, "late.png")); err != nil {
			return err
		}
	}
	if r.failed > 0 {
		return fmt.Errorf("%d measurements failed or are invalid", r.failed)
	}
	return ctx.Err()
}

func (c *lateCommand) wants(part string) bool {
	for _, p := range c.Only {
		if p == part {
			return true
		}
	}
	return len(c.Only) == 0
}

// pick is full, or quick in a quick run.
func pick[T any](c *lateCommand, full, quick T) T {
	if c.Quick {
		return quick
	}
	return full
}

// measure makes one measurement and says how it went.
func (r *lateRun) measure(name string, do func(t *trial) (invalid []string)) {
	if r.ctx.Err() != nil {
		return
	}
	var invalid []string
	start := time.Now()
	err := try(r.ctx, func(t *trial) { invalid = do(t) })
	for _, why := range invalid {
		err = errors.Join(err, fmt.Errorf("invalid: %s", why))
	}
	state := "ok"
	if err != nil {
		state = err.Error()
		r.failed++
	}
	fmt.Fprintf(os.Stderr, "%s  %-60s %5.1f s  %s\n", start.Format(time.TimeOnly), name, time.Since(start).Seconds(), state)
}

// latency: the heat comes 50 to 150 ms after its plan, at a random phase to whatever polls.
func (r *lateRun) latency() {
	for round := range pick(r.lateCommand, r.Rounds, 1) {
		for _, rate := range []float64{1000, 5000} {
			for _, c := range []flowCase{{Scheme: us, InFlight: 10_000}, {Scheme: polling, InFlight: 10_000}, {Scheme: pythonScheme, InFlight: loneInFlight}} {
				c.Rate, c.Heat, c.delay = rate, "50-150 ms", between(50*time.Millisecond, 150*time.Millisecond)
				c.seconds = pick(r.lateCommand, 10.0, 2)
				r.measure(fmt.Sprintf("latency, round %d, %.0f/s, %s", round+1, rate, c.Scheme), func(t *trial) []string {
					f := c.run(t, r.binary)
					r.figures.Latency = append(r.figures.Latency, f)
					return f.Invalid
				})
			}
		}
	}
}

// coverage: 1000 plans a second whose heat comes after a fixed time, and a case in which a fifth never gets any.
func (r *lateRun) coverage() {
	for _, heat := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 1500 * time.Millisecond} {
		for _, c := range []flowCase{
			{Scheme: us, InFlight: loneInFlight}, {Scheme: us, InFlight: 10_000}, {Scheme: polling, InFlight: 10_000}, {Scheme: pythonScheme, InFlight: loneInFlight},
		} {
			c.Heat, c.delay = fmt.Sprintf("%d ms", heat.Milliseconds()), fixed(heat)
			r.cover(c)
		}
	}
	for _, n := range []int{loneInFlight, 10_000} {
		r.cover(flowCase{Scheme: us, InFlight: n, Heat: "500 ms, never for 20 %", delay: mostly(0.8, fixed(500*time.Millisecond))})
	}
}

func (r *lateRun) cover(c flowCase) {
	c.Rate, c.seconds = 1000, pick(r.lateCommand, 10.0, 3)
	r.measure(fmt.Sprintf("coverage, heat after %s, %d in flight, %s", c.Heat, c.InFlight, c.Scheme), func(t *trial) []string {
		f := c.run(t, r.binary)
		r.figures.Coverage = append(r.figures.Coverage, f)
		return f.Invalid
	})
}

// waiting: many plans in one process.
func (r *lateRun) waiting() {
	small := 5
	if !r.Quick {
		small = 1
	}
	const usual, long = 5 * time.Second, 15 * time.Second // the default, and what docs/sizing.md advises where so many wait
	for _, c := range []waitingCase{
		{Scheme: us, Plans: 50_000, MinIdle: usual},
		{Scheme: us, Plans: 50_000, MinIdle: long},
		{Scheme: us, Plans: 100_000, MinIdle: long},
		{Scheme: polling, Plans: 10_000, MinIdle: usual},
		{Scheme: polling, Plans: 50_000, MinIdle: usual},
	} {
		c.Plans /= small
		c.window = pick(r.lateCommand, 20*time.Second, 5*time.Second)
		r.measure(fmt.Sprintf("%d plans waiting, min idle %v, %s", c.Plans, c.MinIdle, c.Scheme), func(t *trial) []string {
			w := c.run(t, r.binary)
			r.figures.Waiting = append(r.figures.Waiting, w)
			return w.Invalid
		})
	}
}

func (r *lateRun) idle() {
	for _, s := range []scheme{us, polling, pythonScheme} {
		r.measure(fmt.Sprintf("idle, %s", s), func(t *trial) []string {
			r.figures.Idle = append(r.figures.Idle, runIdle(t, r.binary, s, pick(r.lateCommand, 20*time.Second, 5*time.Second)))
			return nil
		})
	}
}

func (r *lateRun) backlog() {
	plans := pick(r.lateCommand, 50_000, 5_000)
	r.measure(fmt.Sprintf("backlog of %d plans past their deadline", plans), func(t *trial) []string {
		b := runBacklog(t, r.binary, plans)
		r.figures.Backlog = append(r.figures.Backlog, b)
		return b.Invalid
	})
}
