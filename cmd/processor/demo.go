package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"heatobserver/config"
	"heatobserver/demo"
	"heatobserver/pipeline"
)

// demoCommand shows the whole pipeline.
type demoCommand struct {
	*settings
	Duration time.Duration  `default:"30s" help:"How long plans are written; 0 until interrupted."`
	Rate     float64        `default:"50" help:"Plans per second."`
	Seed     *uint64        `placeholder:"N" help:"Same seed, same plans. Without it each run with --redis writes plans of its own."`
	Delay    pipeline.Delay `default:"production" help:"Time from a plan to its heat: a preset or like 100ms-170ms,slow=2%:3s,never=1%."`
	Redis    string         `placeholder:"URL" help:"Use this Redis in place of one inside the process."`
	YesLive  bool           `help:"Write plans even to a stream that others use as well."`
	JSON     bool           `name:"json" help:"Print one JSON object a line."`
}

// whereRedisIs are the settings that are those of a live Redis and count for nothing in a demo.
var whereRedisIs = []string{
	"REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_SENTINELS", "REDIS_MASTER_NAME", "REDIS_CLUSTER",
}

// Help is the end of `processor demo --help`.
func (demoCommand) Help() string {
	return `Examples:
  processor demo
  processor demo --duration 0 --rate 200 --late-obs-max-wait-ms 1000
  processor demo --redis redis://localhost:6379/5
  processor demo --json --duration 10s | jq 'select(.final)'

Needs nothing but itself: a Redis inside the process, stand-ins for the apply layer, the heat gate and the heat bridge, and the observer with its metrics. Settings of the observer may be given as flags; where Redis is comes from --redis alone.`
}

// Run shows it.
func (c *demoCommand) Run(ctx context.Context, sys *system) error {
	given := c.given()
	for _, variable := range whereRedisIs {
		if _, ok := given[variable]; ok {
			return usage("a demo takes no --%s; --redis URL says which Redis to use", config.FlagName(variable))
		}
	}
	usual := *sys
	usual.environ = slices.Concat([]string{
		"P28_HEAT_LOOKUP_PREFIX=" + pipeline.LookupPrefix,
		"P28_LOG_LEVEL=warn",
	}, slices.DeleteFunc(slices.Clone(sys.environ), func(pair string) bool {
		return strings.HasPrefix(pair, "REDIS_") // a live one may be meant
	}))
	if c.Redis != "" {
		usual.environ = append(usual.environ, "REDIS_URL="+c.Redis)
	}
	cfg, log, err := c.start(ctx, &usual)
	if err != nil {
		return err
	}
	if cfg, err = cfg.One(); err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	which := whichPlans{Seed: c.Seed}
	if c.Redis == "" {
		which.First = new(uint64) // nobody has written to that Redis before
	}
	seed, first := which.numbers()
	err = demo.Run(ctx, demo.Options{
		Config: cfg, UseRedis: c.Redis != "", YesLive: c.YesLive,
		Duration: c.Duration, Rate: c.Rate, Seed: seed, First: first, Delay: c.Delay,
		JSON: c.JSON, Out: sys.stdout, Logger: log,
	})
	if _, notBegun := errors.AsType[*demo.NotBegunError](err); notBegun {
		return operateError(err)
	}
	return withConfigCode(err)
}
