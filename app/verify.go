package app

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/config"
	"heatobserver/pipeline"
	"heatobserver/verify"
)

// Verify connects as the workers of this configuration do and verifies the deployment. What the configuration says is filled
// into setup, which has the rest. A canary is refused on a stream that others use, unless live; the error then is a
// *LiveError. A Redis that does not answer within 5 s is an *UnreachableError.
func Verify(ctx context.Context, cfg config.Config, setup verify.Setup, live bool) (report verify.Report, err error) {
	client, err := NewClient(cfg)
	if err != nil {
		return verify.Report{}, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := reach(ctx, client); err != nil {
		return verify.Report{}, &UnreachableError{Where: cfg.Redis.Where(), Err: err}
	}
	if setup.Canary && !live {
		for _, stream := range cfg.PlanStreams() {
			foreign, why, err := pipeline.Foreign(ctx, client, stream, []string{cfg.Groups.Early, cfg.Groups.Late, setup.GateGroup})
			switch {
			case err != nil:
				return verify.Report{}, err
			case foreign:
				return verify.Report{}, &LiveError{Why: why}
			}
		}
	}
	setup.Parts = nil
	for _, n := range cfg.Names() {
		setup.Parts = append(setup.Parts, verify.Part{
			Plans: n.Plan, Observed: n.Observed, Dead: n.Dead, Redrive: n.Redrive, DedupePrefix: n.DedupePrefix, KeyPrefix: n.KeyPrefix,
		})
	}
	setup.Decisions, setup.Prefix = cfg.Streams.Decision, cfg.HeatLookupPrefix
	setup.EarlyGroup, setup.LateGroup = cfg.Groups.Early, cfg.Groups.Late
	setup.EarlyEnabled, setup.LateEnabled = cfg.EarlyEnabled(), cfg.LateEnabled()
	setup.MaxWait, setup.DedupeTTL = cfg.Late.MaxWait, cfg.Output.DedupeTTL
	return verify.Run(ctx, client, setup), nil
}

func reach(ctx context.Context, client redis.UniversalClient) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return client.Ping(ctx).Err()
}

// LiveError refuses to write a plan that execution services may read.
type LiveError struct{ Why string }

// Error says by what the stream was taken for a live one.
func (e *LiveError) Error() string {
	return e.Why + ": services that act on plans may read it. Use another Redis, or --yes-live if you are sure"
}
