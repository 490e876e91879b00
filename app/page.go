package app

import (
	"cmp"
	"runtime/debug"

	"github.com/redis/go-redis/v9"

	"heatobserver/config"
	"heatobserver/operate"
	"heatobserver/replay"
	"heatobserver/web"
)

const (
	// sidePool bounds the connections of what stands beside observing, which are its own: they are never in its way.
	sidePool = 6
	// pageTraceMost bounds what is looked at of each stream for the timeline of a plan.
	pageTraceMost = 20_000
)

// newPage makes the status page, and the client of what stands beside observing: the page, and what this worker says of
// itself. It connects when it is used.
func (p *processor) newPage() (*web.Page, error) {
	cfg := p.cfg
	var err error
	p.side, err = connect(cfg, func(o *redis.Options) {
		o.PoolSize, o.ContextTimeoutEnabled = sidePool, true
	})
	if err != nil {
		return nil, err
	}
	p.atEnd("redis client beside observing", p.side.Close)
	first, parts := cfg.Names()[0], len(cfg.Names())
	setup := operateSetup(cfg)
	setup.TraceMost = pageTraceMost
	return web.New(web.Options{
		Source:     operate.New(p.side, setup),
		History:    NewPartitionedHistory(p.side, cfg),
		Partitions: parts,
		Simulate:   replay.Options{Payload: PlanPayload},
		Settings: replay.Settings{
			MaxWait: cfg.Late.MaxWait, Poll: cfg.Late.Poll, Notify: cfg.Late.Notify == config.NotifyAuto,
			DedupeTTL: cfg.Output.DedupeTTL, MaxErrors: cfg.Late.MaxRedisErrors,
		},
		Early: web.Observer{Group: cfg.Groups.Early, Enabled: cfg.EarlyEnabled()},
		Late:  web.Observer{Group: cfg.Groups.Late, Enabled: cfg.LateEnabled()},
		Plans: first.Plan, Observed: first.Observed, Dead: first.Dead,
		Version:  version(),
		Consumer: p.consumer(),
		Logger:   p.log,
	})
}

// version is that of the program, as far as it was built with one.
func version() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		return cmp.Or(build.Main.Version, "(devel)")
	}
	return "(devel)"
}
