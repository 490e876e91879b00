package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"heatobserver/config"
	"heatobserver/pipeline"
)

// loadCommand writes plans at a rate, with bursts.
type loadCommand struct {
	*settings
	Rate     float64        `default:"1000" help:"Plans per second, steadily; 0 for bursts alone."`
	Burst    pipeline.Burst `placeholder:"PLANS@INTERVAL" help:"On top of the rate, so many plans at once after each interval: 5000@10s."`
	Duration time.Duration  `default:"30s" help:"Time in which plans are due; 0 until interrupted."`
	Plans    uint64         `help:"How many plans in all; 0 sets no limit."`
	Delay    delayFlag      `placeholder:"DELAY" help:"Run the heat gate's and the heat bridge's stand-ins as well, with this time from a plan to its decision: production, or like 100ms-170ms,slow=2%:3s,never=1%. Without it heat is for others to write."`
	Envelope bool           `help:"Write through watermill-redisstream's own Publisher, as a Go producer would."`
	Writers  int            `help:"Writes under way at once; 0 means 4, and 32 with --envelope."`
	MaxLen   int64          `name:"max-len" default:"10000" help:"Approximate length to which the plan stream is trimmed, as producers do; negative never trims."`

	Malformed float64 `help:"Share of malformed entries, 0 to 1."`
	whichPlans
	YesLive bool `help:"Write plans even to a stream that others use as well."`
	JSON    bool `name:"json" help:"Print JSON in place of text."`
}

// delayFlag is a pipeline.Delay that may be left out.
type delayFlag struct {
	pipeline.Delay
	given bool
}

// UnmarshalText reads the delay.
func (d *delayFlag) UnmarshalText(text []byte) error {
	d.given = true
	return d.Delay.UnmarshalText(text)
}

// Help is the end of `processor load --help`.
func (loadCommand) Help() string {
	return `Examples:
  processor load --rate 1000 --burst 5000@10s
  processor load --rate 200 --duration 5m --delay production
  processor load --rate 500 --envelope --json | jq .write_delay_ms

The moment at which each plan is due is fixed from the start. A Redis that is slow changes none of them: what is late is made up, and the write delay counts from the moment when a plan was due (free of coordinated omission). With P28_PLAN_STREAMS a plan goes to the partition of its ID.

Services that act on plans may read the plan stream, so that one which others use is refused; with --delay a stream of decisions as well.

Exit codes: 0 everything that was due is written, 1 it is not (interrupted, or Redis refused), 2 could not be carried out, 78 configuration.`
}

// Run writes until everything is written.
func (c *loadCommand) Run(ctx context.Context, sys *system) (err error) {
	cfg, log, client, err := c.connect(ctx, sys)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, client.Close()) }()

	seed, first := c.numbers()
	load, err := pipeline.NewLoad(client, pipeline.LoadConfig{
		Streams: cfg.PlanStreams(), MaxLen: c.MaxLen, Rate: c.Rate, Burst: c.Burst, Duration: c.Duration, Plans: c.Plans,
		First: first, Seed: seed, Malformed: c.Malformed, Envelope: c.Envelope, Writers: c.Writers,
	}, log)
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	err = foreign(ctx, client, cfg)
	if err == nil && c.Delay.given {
		err = foreignDecisions(ctx, client, cfg)
	}
	switch {
	case errors.Is(err, pipeline.ErrForeign) && c.YesLive:
		if c.Delay.given {
			return usage("--delay would take entries from the heat gate or the heat bridge that reads these streams; leave it out")
		}
	case err != nil:
		return withCode(config.ExitNotCarriedOut, err)
	}
	beside, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	defer func() { stop(); running.Wait() }()
	if c.Delay.given {
		c.standIns(beside, &running, client, cfg, seed, log)
	}
	if isTerminal(sys.stderr) {
		running.Go(func() { c.progress(beside, sys.stderr, load) })
	}
	if err := load.Run(ctx); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if c.Delay.given {
		c.settle(ctx)
	}
	counts := load.Counts()
	if err := c.print(sys, counts); err != nil {
		return err
	}
	if counts.Written < counts.Offered || ctx.Err() != nil && c.Duration > 0 {
		return &silentError{errors.New("not everything that was due is written")}
	}
	return nil
}

// settle leaves the stand-ins the time that the last heat needs to come in which a wait could notice it.
func (c *loadCommand) settle(ctx context.Context) {
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// progress writes a line a second for who watches.
func (c *loadCommand) progress(ctx context.Context, w io.Writer, load *pipeline.Load) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			_, _ = fmt.Fprint(w, "\r\x1b[K")
			return
		case <-tick.C:
			n := load.Counts()
			_, _ = fmt.Fprintf(w, "\r\x1b[K%.0fs  offered %d  written %d  behind %d  write delay p99 %.1f ms",
				n.Seconds, n.Offered, n.Written, n.Offered-min(n.Offered, n.Written), n.Delay.P99)
		}
	}
}

func (c *loadCommand) print(sys *system, n pipeline.LoadCounts) error {
	if c.JSON {
		return printJSON(sys.stdout, n)
	}
	p := newPrinter(sys.stdout)
	p.table(table.Row{"offered", "written", "malformed", "failed attempts", "seconds", "plans/s"},
		[]table.Row{{n.Offered, n.Written, n.Malformed, n.Failed, fmt.Sprintf("%.1f", n.Seconds), fmt.Sprintf("%.0f", n.Rate)}}, 1, 2, 3, 4, 5, 6)
	p.line("")
	p.line("write delay in ms, from the moment when a plan was due to the answer that it is written")
	ms := func(v float64) string { return fmt.Sprintf("%.1f", v) }
	p.table(table.Row{"p50", "p90", "p99", "p99.9", "max"},
		[]table.Row{{ms(n.Delay.P50), ms(n.Delay.P90), ms(n.Delay.P99), ms(n.Delay.P999), ms(n.Delay.Max)}}, 1, 2, 3, 4, 5)
	if n.Written < n.Offered {
		p.alarm("%d plans were due and are not written", n.Offered-n.Written)
	}
	return p.err
}

// standIns runs gates and a bridge beside the load. A partition has a gate of its own; all write one decision stream.
func (c *loadCommand) standIns(ctx context.Context, running *sync.WaitGroup, client pipeline.Client, cfg config.Config,
	seed uint64, log *slog.Logger,
) {
	run := func(name string, do func(context.Context) error) {
		running.Go(func() {
			if err := do(ctx); err != nil {
				log.ErrorContext(ctx, "stand-in stopped: no more heat is written", "stand_in", name, "err", err)
			}
		})
	}
	for _, stream := range cfg.PlanStreams() {
		run("gate", pipeline.NewGate(client, pipeline.GateConfig{
			Plans: stream, Decisions: cfg.Streams.Decision, Delay: c.Delay.Delay, Seed: seed, MaxLen: c.MaxLen,
		}, log).Run)
	}
	run("bridge", pipeline.NewBridge(client, pipeline.BridgeConfig{Decisions: cfg.Streams.Decision, Prefix: cfg.HeatLookupPrefix}, log).Run)
}
