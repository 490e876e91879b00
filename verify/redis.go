package verify

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	nearLimit   = 0.9 // of maxmemory
	clockWarn   = 250 * time.Millisecond
	clockFail   = time.Second
	clockRounds = 5
)

// servers are probes of every primary of a Cluster, and p itself where there is one server.
func (p *probe) servers(ctx context.Context) ([]*probe, error) {
	cluster, ok := p.redis.(*redis.ClusterClient)
	if !ok {
		return []*probe{p}, nil
	}
	var mu sync.Mutex
	var all []*probe
	err := cluster.ForEachMaster(ctx, func(_ context.Context, primary *redis.Client) error {
		one := *p
		one.server, one.place = primary, primary.Options().Addr
		mu.Lock()
		defer mu.Unlock()
		all = append(all, &one)
		return nil
	})
	if err == nil && len(all) == 0 {
		err = errors.New("the cluster has no primary")
	}
	slices.SortFunc(all, func(a, b *probe) int { return strings.Compare(a.place, b.place) })
	return all, err
}

// info is a section of INFO.
func (p *probe) info(ctx context.Context, section string) (map[string]string, error) {
	text, err := p.server.Info(ctx, section).Result()
	facts := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			facts[name] = value
		}
	}
	return facts, err
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64) // absent is 0
	return n
}

func (p *probe) version(ctx context.Context) Check {
	facts, err := p.info(ctx, "server")
	if err != nil {
		return cannot(err)
	}
	kind, version := "Redis", facts["redis_version"]
	if v := facts["valkey_version"]; v != "" {
		kind, version = "Valkey", v
	}
	major, _, _ := strings.Cut(version, ".")
	if number(major) < 7 {
		return bad(Fail, "use Redis 7.0 or newer, or Valkey", "%s %s", kind, version)
	}
	return pass("%s %s", kind, version)
}

func (p *probe) persistence(ctx context.Context) Check {
	facts, err := p.info(ctx, "persistence")
	if err != nil {
		return cannot(err)
	}
	switch {
	case facts["loading"] == "1":
		return bad(Fail, "wait until it has", "Redis is still loading its data")
	case facts["aof_enabled"] == "1" && facts["aof_last_write_status"] == "err",
		facts["rdb_last_bgsave_status"] == "err":
		return bad(Fail, "see the log of Redis: is its disk full? It may refuse writes", "the last save failed")
	case facts["aof_enabled"] == "1":
		return pass("append-only file")
	}
	if last := number(facts["rdb_last_save_time"]); number(facts["rdb_saves"]) > 0 {
		return bad(Warn, "set appendonly yes", "snapshots only, the last at %s: a crash loses what came since", time.Unix(int64(last), 0).UTC().Format(time.RFC3339))
	}
	return bad(Warn, "set appendonly yes, or accept that a restart of Redis loses plans, groups and observations", "no append-only file and no snapshot")
}

func (p *probe) eviction(ctx context.Context) Check {
	facts, err := p.info(ctx, "memory")
	if err != nil {
		return cannot(err)
	}
	policy, limit, share := facts["maxmemory_policy"], number(facts["maxmemory"]), 0.0
	if limit > 0 {
		share = number(facts["used_memory"]) / limit
	}
	stats, err := p.info(ctx, "stats")
	if err != nil {
		return cannot(err)
	}
	evicted := number(stats["evicted_keys"])
	hint := "set maxmemory-policy noeviction: heat and dedupe keys have a TTL, and an evicted one is a false miss or a second observation"
	switch {
	case policy == "noeviction" || limit == 0 && evicted == 0 && strings.HasPrefix(policy, "volatile"):
		return pass("%s, maxmemory %s", policy, orNone(limit))
	case evicted > 0:
		return bad(Fail, hint, "%s has evicted %.0f keys", policy, evicted)
	case share > nearLimit:
		return bad(Fail, hint+"; raise maxmemory", "%s at %.0f %% of maxmemory: it is about to evict keys", policy, 100*share)
	}
	return bad(Warn, hint, "%s, %.0f %% of maxmemory used", policy, 100*share)
}

func (p *probe) memory(ctx context.Context) Check {
	facts, err := p.info(ctx, "memory")
	if err != nil {
		return cannot(err)
	}
	used, limit, what := number(facts["used_memory"]), number(facts["maxmemory"]), "maxmemory"
	if limit == 0 {
		limit, what = number(facts["total_system_memory"]), "the machine's memory (no maxmemory)"
	}
	if limit == 0 {
		return bad(Warn, "set maxmemory", "Redis says neither maxmemory nor the machine's memory")
	}
	share := 100 * used / limit
	switch {
	case share > 100*nearLimit:
		return bad(Fail, "raise maxmemory or remove data: writes are refused or keys evicted at the limit", "%.0f %% of %s used", share, what)
	case share > 75:
		return bad(Warn, "raise maxmemory or remove data before it is full", "%.0f %% of %s used", share, what)
	}
	return pass("%.1f %% of %s used", share, what)
}

func orNone(n float64) string {
	if n == 0 {
		return "none"
	}
	return strconv.FormatFloat(n/(1<<20), 'f', 1, 64) + " MiB"
}

func (p *probe) replication(ctx context.Context) Check {
	facts, err := p.info(ctx, "replication")
	if err != nil {
		return cannot(err)
	}
	replicas := number(facts["connected_slaves"])
	switch {
	case facts["role"] != "master":
		return bad(Fail, "connect to the primary", "this is a replica, which refuses writes; its link is %s", brief(facts["master_link_status"]))
	case replicas == 0:
		return bad(Warn, "add a replica, or accept that the loss of this machine loses what it holds", "no replica")
	}
	for name, value := range facts {
		if strings.HasPrefix(name, "slave") && strings.Contains(value, "state=") && !strings.Contains(value, "state=online") {
			return bad(Warn, "see the log of the replica", "%s is not online: %s", name, brief(value))
		}
	}
	return pass("primary with %.0f replicas", replicas)
}

// clock measures the offset between this machine's clock and Redis', by which plans are timed. Of some attempts the one with
// the shortest way there and back counts. It also looks at the heat gate's clock, which stamps decisions.
func (p *probe) clock(ctx context.Context) Check {
	var offset, best time.Duration = 0, -1
	for range clockRounds {
		began, before := time.Now(), p.Now()
		server, err := p.server.Time(ctx).Result()
		if err != nil {
			return cannot(err)
		}
		if way := time.Since(began); best < 0 || way < best {
			best, offset = way, server.Sub(before.Add(way/2))
		}
	}
	hint := "run chrony or another NTP client on both machines: the observer corrects its own clock, other services and dashboards do not"
	seen := "Redis' clock is " + round(offset.Abs()).String() + " ahead of this machine's"
	if offset < 0 {
		seen = "Redis' clock is " + round(offset.Abs()).String() + " behind this machine's"
	}
	switch {
	case offset.Abs()-best/2 > clockFail:
		return bad(Fail, hint, "clocks differ: %s", seen)
	case offset.Abs()-best/2 > clockWarn:
		return bad(Warn, hint, "clocks differ: %s", seen)
	}
	if gate, ok := p.gateClock(ctx); ok && gate.Abs() > 2*time.Second {
		return bad(Warn, "run an NTP client on the heat gate's machine", "%s; the heat gate's is %s off by ts_epoch of its newest decision", seen, round(gate))
	}
	return pass("%s (± %s)", seen, round(best/2))
}

// gateClock is how far ts_epoch of the newest decision is ahead of its entry ID.
func (p *probe) gateClock(ctx context.Context) (time.Duration, bool) {
	records, err := p.newest(ctx, p.Decisions, 1)
	if err != nil || len(records) == 0 {
		return 0, false
	}
	seconds, err := strconv.ParseFloat(records[0].get("ts_epoch"), 64)
	if err != nil {
		return 0, false
	}
	return time.Duration((seconds - float64(records[0].id.Ms)/1000) * float64(time.Second)), true
}
