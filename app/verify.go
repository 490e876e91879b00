package app

import (
	"context"
	"errors"

	"heatobserver/config"
	"heatobserver/pipeline"
	"heatobserver/verify"
)

// Verify connects as the workers of this configuration do and verifies the deployment. What the configuration says is filled
// into setup, which has the rest. A canary is refused on a stream that others use (pipeline.ErrForeign), unless live.
func Verify(ctx context.Context, cfg config.Config, setup verify.Setup, live bool) (report verify.Report, err error) {
	client, err := NewClient(cfg)
	if err != nil {
		return verify.Report{}, err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := Reach(ctx, client, cfg); err != nil {
		return verify.Report{}, err
	}
	if setup.Canary && !live {
		ours := []string{cfg.Groups.Early, cfg.Groups.Late, setup.GateGroup}
		if err := pipeline.Foreign(ctx, client, cfg.PlanStreams(), ours); err != nil {
			return verify.Report{}, err
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
