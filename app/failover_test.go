package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/logtest"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// many is an observer on a Redis of several servers, and the load on it.
type many struct {
	t      *testing.T
	cfg    config.Config
	client redis.UniversalClient
	ended  chan error
	load   *pipeline.Load
	stop   context.CancelFunc
	logs   []*logtest.Log // of the observers
}

// settingsFor loads settings without a single server.
func settingsFor(t *testing.T, own settings) config.Config {
	t.Helper()
	flags := settings{
		"P28_HEAT_LOOKUP_PREFIX": heatPrefix, "P28_HTTP_ADDR": "127.0.0.1:0", "P28_BLOCK_MS": "50", "P28_OBS_MAXLEN": "0",
		"P28_LATE_OBS_MAX_INFLIGHT": "8000", "P28_LATE_OBS_MAX_WAIT_MS": "500", "P28_CLAIM_MIN_IDLE_MS": "1000",
	}
	maps.Copy(flags, own)
	cfg, _, err := config.Load(config.Sources{Flags: flags, Hostname: "test"})
	require.NoError(t, err)
	return cfg
}

// observeMany runs two observers and a steady load with a gate and a bridge.
func observeMany(t *testing.T, own settings) *many {
	t.Helper()
	m := &many{t: t, cfg: settingsFor(t, own), ended: make(chan error)}
	client, err := app.NewClient(m.cfg)
	require.NoError(t, err)
	m.client = client
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	for i := range 2 {
		own["P28_CONSUMER"] = fmt.Sprintf("worker%d", i)
		m.logs = append(m.logs, run(t, settingsFor(t, own), app.Options{}).logs)
	}
	log := slog.New(slog.DiscardHandler)
	m.load, err = pipeline.NewLoad(client, pipeline.LoadConfig{Streams: m.cfg.PlanStreams(), Rate: 200, MaxLen: -1}, log)
	require.NoError(t, err)
	delay, err := pipeline.ParseDelay("20ms-60ms")
	require.NoError(t, err)
	bridge := pipeline.NewBridge(client, pipeline.BridgeConfig{}, log)
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	beside, end := context.WithCancel(context.Background())
	runs := 0
	launch := func(ctx context.Context, run func(context.Context) error) {
		runs++
		go func() { m.ended <- run(ctx) }()
	}
	launch(ctx, m.load.Run)
	launch(beside, bridge.Run)
	for _, stream := range m.cfg.PlanStreams() {
		launch(beside, pipeline.NewGate(client, pipeline.GateConfig{Plans: stream, Delay: delay, MaxLen: -1}, log).Run)
	}
	t.Cleanup(func() {
		m.stop()
		end()
		for range runs {
			require.NoError(t, <-m.ended)
		}
	})
	return m
}

// waitFor is eventually with a limit of its own: a failover takes a while on a busy machine.
func waitFor(t testing.TB, limit time.Duration, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %v", limit, err)
		}
		time.Sleep(50 * time.Millisecond) // the pace of asking; the condition decides
	}
}

// more waits until so many observations more than now are in the stream.
func (m *many) more(n int64) {
	m.t.Helper()
	before := int64(-1)
	waitFor(m.t, 2*patience, func() error {
		have := int64(0)
		for _, names := range m.cfg.Names() {
			n, err := m.client.XLen(context.Background(), names.Observed).Result()
			if err != nil {
				return err
			}
			have += n
		}
		if before < 0 {
			before = have
		}
		if have < before+n {
			return fmt.Errorf("%d observations, %d at the beginning", have, before)
		}
		return nil
	})
}

// check ends the load and compares: every plan that is in the stream has exactly one observation at each point, or
// at least one where the names share no slot.
func (m *many) check() (plans int) {
	m.t.Helper()
	m.stop()
	waitFor(m.t, 3*patience, func() error {
		all, missing, err := m.unobserved()
		if err == nil && missing > 0 {
			err = fmt.Errorf("%d observations of %d plans are missing", missing, all)
		}
		plans = all
		return err
	})
	return plans
}

// unobserved counts the plans and the observations of them that are missing. One too many ends the test, where there must
// be exactly one.
func (m *many) unobserved() (plans, missing int, err error) {
	m.t.Helper()
	ctx := context.Background()
	var entries, observed []redis.XMessage
	for _, names := range m.cfg.Names() {
		part, err := m.client.XRange(ctx, names.Plan, "-", "+").Result()
		if err != nil {
			return 0, 0, err
		}
		entries = append(entries, part...)
		if part, err = m.client.XRange(ctx, names.Observed, "-", "+").Result(); err != nil {
			return 0, 0, err
		}
		observed = append(observed, part...)
	}
	count := map[string]int{}
	for _, o := range observed {
		key := fmt.Sprint(o.Values["obs_point"], ":", o.Values["plan_id"])
		if count[key]++; count[key] > 1 && !m.cfg.AtLeastOnce() {
			m.t.Fatalf("%s is observed %d times", key, count[key])
		}
	}
	for _, e := range entries {
		for _, point := range []string{earlyPoint, latePoint} {
			if count[fmt.Sprint(point, ":", e.Values["plan_id"])] == 0 {
				missing++
			}
		}
	}
	return len(entries), missing, nil
}

// settled reports that every plan has been read and acknowledged by both groups.
func (m *many) settled() error {
	for _, names := range m.cfg.Names() {
		groups, err := m.client.XInfoGroups(context.Background(), names.Plan).Result()
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.Lag != 0 || g.Pending != 0 {
				return fmt.Errorf("group %s of %s: lag %d, %d pending", g.Name, names.Plan, g.Lag, g.Pending)
			}
		}
	}
	return nil
}

// The primary dies under load; sentinels make a replica the primary and the observers go on there.
func TestSentinelFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("a failover takes seconds")
	}
	primary := redistest.Start(t)
	replicas := []*redistest.Server{redistest.Start(t), redistest.Start(t)}
	for _, r := range replicas {
		r.Replica(primary)
	}
	sentinels := redistest.StartSentinels(t, 3, primary, "quantum")
	waitFor(t, patience, func() error { return sentinelsReady(sentinels) })
	m := observeMany(t, settings{"REDIS_SENTINELS": strings.Join(sentinels, ","), "REDIS_MASTER_NAME": "quantum"})
	m.more(300)
	primary.Kill()
	killed := time.Now()
	m.more(1)
	t.Logf("observing goes on %v after the primary's death", time.Since(killed).Round(100*time.Millisecond))
	m.more(300)
	t.Logf("%d plans survived, each with one observation at each point", m.check())
}

// sentinelsReady reports sentinels that do not know both replicas and each other yet.
func sentinelsReady(addrs []string) error {
	for _, addr := range addrs {
		c := redis.NewSentinelClient(&redis.Options{Addr: addr, MaxRetries: -1})
		facts, err := c.Master(context.Background(), "quantum").Result()
		_ = c.Close()
		if err != nil {
			return err
		}
		if facts["num-slaves"] != "2" || facts["num-other-sentinels"] != "2" {
			return fmt.Errorf("sentinel %s knows %s replicas and %s sentinels", addr, facts["num-slaves"], facts["num-other-sentinels"])
		}
	}
	return nil
}

// tagged are names that share a slot.
func tagged(c *redistest.Cluster) settings {
	return settings{
		"REDIS_CLUSTER":       strings.Join(c.Addrs(), ","),
		"P28_PLAN_STREAM":     "{quantum}:stream:apply.plan",
		"P28_HEAT_OBS_STREAM": "{quantum}:stream:apply.heat.observed",
		"P28_DEAD_STREAM":     "{quantum}:stream:apply.heat.dead",
		"P28_REDRIVE_STREAM":  "{quantum}:stream:apply.heat.redrive",
		"P28_DEDUPE_PREFIX":   "{quantum}:dedupe:p28:",
		"P28_KEY_PREFIX":      "{quantum}:p28:",
	}
}

// On a cluster of six servers: the slot of the plans moves to another node, then that node dies, all under load.
func TestClusterWithOneTag(t *testing.T) {
	if testing.Short() {
		t.Skip("six servers and a failover")
	}
	c := redistest.StartCluster(t, 3)
	m := observeMany(t, tagged(c))
	m.more(300)
	plans := m.cfg.Streams.Plan
	owner := c.Owner(plans)
	to := c.Nodes[0]
	if to == owner {
		to = c.Nodes[1]
	}
	c.MoveSlot(plans, to, 20*time.Millisecond)
	require.Same(t, to, c.Owner(plans))
	m.more(300)
	to.Kill()
	killed := time.Now()
	m.more(1)
	t.Logf("observing goes on %v after the node's death", time.Since(killed).Round(100*time.Millisecond))
	m.more(300)
	t.Logf("%d plans survived, each with one observation at each point", m.check())
}

// Names of which only some have the tag are a mistake, and are refused by name.
func TestClusterNeedsOneTag(t *testing.T) {
	var wrong *app.ConfigError
	_, err := app.NewClient(settingsFor(t, settings{"REDIS_CLUSTER": "127.0.0.1:1", "P28_PLAN_STREAM": "{quantum}:plan"}))
	require.ErrorAs(t, err, &wrong)
	for _, name := range []string{"P28_HEAT_OBS_STREAM", "P28_DEAD_STREAM", "P28_REDRIVE_STREAM", "P28_DEDUPE_PREFIX", "P28_KEY_PREFIX"} {
		require.ErrorContains(t, err, name)
	}
}
