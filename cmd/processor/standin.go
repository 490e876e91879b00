package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/pipeline"
)

// standinCommand runs one of the services around the observer, for a local pipeline.
type standinCommand struct {
	Planner standinPlanner `cmd:"" help:"Write plans as the apply layer does."`
	Gate    standinGate    `cmd:"" help:"Decide the heat of plans as the heat gate does."`
	Bridge  standinBridge  `cmd:"" help:"Write decisions into hashes as the heat bridge does."`
}

// Help is the end of `processor standin --help`.
func (standinCommand) Help() string {
	return `Stand-ins for a local pipeline, never for production. Redis and the names of streams come from the settings, as for run.

Examples:
  processor standin planner --rate 100
  processor standin gate --delay 100ms-170ms,slow=2%:3s,never=1%
  processor standin bridge`
}

type standinPlanner struct {
	*settings
	Rate float64 `default:"50" help:"Plans per second."`
	whichPlans
	YesLive bool `help:"Write plans even to a stream that others use as well."`
}

// whichPlans are written: their IDs and all that is in them follow from a seed and a number.
type whichPlans struct {
	Seed  *uint64 `placeholder:"N" help:"Same seed, same plans. Without --seed and --first each run writes plans of its own."`
	First *uint64 `placeholder:"N" help:"Number of the first plan; a plan that was written before is a duplicate."`
}

// numbers are the seed and the first number. Where nobody gives either, the number comes from the clock: the plans of the run
// before have observations and perhaps heat already, and to write them again would show nothing. No run writes a plan in
// every nanosecond, so that the next one begins behind it.
func (w whichPlans) numbers() (seed, first uint64) {
	seed = 1
	switch {
	case w.First != nil:
		first = *w.First
	case w.Seed == nil:
		first = uint64(time.Now().UnixNano())
	}
	if w.Seed != nil {
		seed = *w.Seed
	}
	return seed, first
}

type standinGate struct {
	*settings
	Seed  uint64         `default:"1" help:"Same seed, same delays."`
	Delay pipeline.Delay `default:"production" help:"Time from a plan to its decision: a preset or like 100ms-170ms,slow=2%:3s,never=1%."`

	YesLive bool `help:"Read and write even streams that others read as well."`
}

type standinBridge struct {
	*settings
	YesLive bool `help:"Read even a stream that others read as well."`
}

// Help is the end of `processor standin planner --help`.
func (standinPlanner) Help() string {
	return `Examples:
  processor standin planner --rate 100
  processor standin planner --rate 2000 --plan-stream lab:plans --seed 7

Refuses a plan stream that others use too, unless --yes-live.`
}

// Help is the end of `processor standin gate --help`.
func (standinGate) Help() string {
	return `Examples:
  processor standin gate
  processor standin gate --delay 100ms-170ms,slow=2%:3s,never=1%

Refuses streams of plans or decisions that others read too, unless --yes-live: it would take plans from their heat gate.`
}

// Help is the end of `processor standin bridge --help`.
func (standinBridge) Help() string {
	return `Examples:
  processor standin bridge
  processor standin bridge --heat-lookup-prefix lab:heat:

Refuses a stream of decisions that others read too, unless --yes-live: it would take decisions from their heat bridge.`
}

// usualPrefix gives the stand-ins the prefix that production uses, where none is given.
func usualPrefix(sys *system) *system {
	usual := *sys
	usual.environ = slices.Concat([]string{"P28_HEAT_LOOKUP_PREFIX=" + pipeline.LookupPrefix}, sys.environ)
	return &usual
}

// Run writes plans until it is told to stop.
func (c *standinPlanner) Run(ctx context.Context, sys *system) (err error) {
	cfg, log, client, err := c.connect(ctx, sys)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, client.Close()) }()
	if !c.YesLive {
		if err := foreign(ctx, client, cfg); err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
	}
	seed, first := c.numbers()
	planner, err := pipeline.NewPlanner(client, pipeline.PlannerConfig{
		Streams: cfg.PlanStreams(), Rate: c.Rate, Seed: seed, First: first,
	}, log)
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	return planner.Run(ctx)
}

// foreign fails when one of the plan streams is another's to write to.
func foreign(ctx context.Context, client pipeline.Client, cfg config.Config) error {
	return pipeline.Foreign(ctx, client, cfg.PlanStreams(), planReaders(cfg))
}

// planReaders are the groups of a plan stream that is ours.
func planReaders(cfg config.Config) []string {
	return []string{cfg.Groups.Early, cfg.Groups.Late, pipeline.GateGroup}
}

// foreignDecisions fails when the decision stream is another's to read.
func foreignDecisions(ctx context.Context, client pipeline.Client, cfg config.Config) error {
	return pipeline.ForeignReaders(ctx, client, []string{cfg.Streams.Decision}, []string{pipeline.BridgeGroup})
}

// Run decides until it is told to stop.
func (c *standinGate) Run(ctx context.Context, sys *system) (err error) {
	cfg, log, client, err := c.connect(ctx, sys)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, client.Close()) }()
	if !c.YesLive {
		if err := pipeline.ForeignReaders(ctx, client, cfg.PlanStreams(), planReaders(cfg)); err != nil { // anybody may write them
			return withCode(config.ExitNotCarriedOut, err)
		}
		if err := foreignDecisions(ctx, client, cfg); err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
	}
	gates, ctx := errgroup.WithContext(ctx)
	for _, stream := range cfg.PlanStreams() { // a gate for each; all write the one stream of decisions
		gate := pipeline.NewGate(client, pipeline.GateConfig{
			Plans: stream, Decisions: cfg.Streams.Decision, Delay: c.Delay, Seed: c.Seed,
		}, log)
		gates.Go(func() error { return gate.Run(ctx) })
	}
	return gates.Wait()
}

// Run writes hashes until it is told to stop.
func (c *standinBridge) Run(ctx context.Context, sys *system) (err error) {
	cfg, log, client, err := c.connect(ctx, sys)
	if err != nil {
		return err
	}
	defer func() { err = closing(err, client.Close()) }()
	if !c.YesLive {
		if err := foreignDecisions(ctx, client, cfg); err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
	}
	return pipeline.NewBridge(client, pipeline.BridgeConfig{Decisions: cfg.Streams.Decision, Prefix: cfg.HeatLookupPrefix}, log).Run(ctx)
}

// connect reads the configuration and makes a client of it, which the caller closes. No heat is looked up, so that the
// prefix has its usual value where none is given.
func (s *settings) connect(ctx context.Context, sys *system) (config.Config, *slog.Logger, app.Client, error) {
	cfg, log, err := s.start(ctx, usualPrefix(sys))
	if err != nil {
		return cfg, log, nil, err
	}
	client, err := app.NewClient(cfg)
	return cfg, log, client, withConfigCode(err)
}

// closing adds the error of a Close to that of the work.
func closing(err, closeErr error) error {
	if err == nil && closeErr != nil {
		return fmt.Errorf("close the connection to Redis: %w", closeErr)
	}
	return err
}
