package verify_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
	"heatobserver/verify"
)

// world is a pipeline of stand-ins and a real run of the observer. A case breaks it in one way.
type world struct {
	redis    []redistest.Option
	planner  pipeline.PlannerConfig
	noGate   bool
	gate     pipeline.GateConfig
	gates    []string // plan streams of the gates; none = that of gate
	noBridge bool
	bridge   pipeline.BridgeConfig
	noRun    bool
	settings map[string]string // of the observer alone
	look     map[string]string // of verify alone
	breaks   func(t *testing.T, srv *redistest.Server)
	during   func(ctx context.Context, rdb *redis.Client)
	setup    func(t *testing.T, s *verify.Setup)
}

const patience = 30 * time.Second

// verified starts the world, waits until plans flow through it, and verifies it.
func verified(t *testing.T, w world) (verify.Report, time.Duration) {
	t.Helper()
	srv := redistest.Start(t, w.redis...)
	rdb := srv.Client()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	log := slog.New(slog.DiscardHandler)
	begin := func(run func(context.Context) error) { wg.Go(func() { _ = run(ctx) }) }

	addr := "127.0.0.1:1"
	if !w.noRun {
		addr = observe(ctx, t, &wg, load(t, srv, w.settings))
	}
	if w.planner.Rate == 0 {
		w.planner.Rate = 20
	}
	planner, err := pipeline.NewPlanner(rdb, w.planner, log)
	require.NoError(t, err)
	begin(planner.Run)
	if len(w.gates) == 0 {
		w.gates = []string{w.gate.Plans}
	}
	for _, plans := range w.gates {
		if w.noGate {
			break
		}
		w.gate.Plans = plans
		begin(pipeline.NewGate(rdb, w.gate, log).Run)
	}
	if !w.noBridge {
		begin(pipeline.NewBridge(rdb, w.bridge, log).Run)
	}
	require.Eventually(t, func() bool { return planner.Written() >= 30 }, patience, 20*time.Millisecond)
	if w.breaks != nil {
		w.breaks(t, srv)
	}
	if w.during != nil {
		wg.Go(func() { w.during(ctx, rdb) })
	}
	setup := verify.Setup{
		GateGroup: pipeline.GateGroup, BridgeGroup: pipeline.BridgeGroup, OurAddr: addr, ApplyAddr: addr,
		GateAddrs: []string{"127.0.0.1:1"}, BridgeAddrs: []string{"127.0.0.1:1"}, Wait: 10 * time.Second, Outage: time.Minute,
	}
	if w.setup != nil {
		w.setup(t, &setup)
	}
	began := time.Now()
	report, err := app.Verify(t.Context(), load(t, srv, w.look), setup, false)
	require.NoError(t, err)
	return report, time.Since(began)
}

func load(t *testing.T, srv *redistest.Server, own map[string]string) config.Config {
	t.Helper()
	flags := map[string]string{
		"P28_HEAT_LOOKUP_PREFIX": pipeline.LookupPrefix, "REDIS_URL": srv.URL(), "P28_HTTP_ADDR": "127.0.0.1:0", "P28_BLOCK_MS": "50",
	}
	maps.Copy(flags, own)
	if user := flags["REDIS_USERNAME"]; user != "" {
		flags["REDIS_URL"] = srv.URLFor(user, "pw")
		delete(flags, "REDIS_USERNAME")
	}
	cfg, _, err := config.Load(config.Sources{Flags: flags, Hostname: "test"})
	require.NoError(t, err)
	return cfg
}

func observe(ctx context.Context, t *testing.T, wg *sync.WaitGroup, cfg config.Config) string {
	t.Helper()
	started := make(chan net.Addr, 1)
	wg.Go(func() {
		_ = app.Run(ctx, cfg, app.Options{
			Logger:  slog.New(slog.DiscardHandler),
			Started: func(a net.Addr) { started <- a },
		})
	})
	select {
	case a := <-started:
		return a.String()
	case <-time.After(patience):
		t.Fatal("the observer did not start")
		return ""
	}
}

func text(r verify.Report) string {
	var b strings.Builder
	for _, c := range r.Checks {
		fmt.Fprintf(&b, "%-5s %-20s %s -> %s\n", c.Verdict, c.Name, c.Seen, c.Hint)
	}
	return b.String()
}

func named(t *testing.T, r verify.Report, name string) verify.Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q", name)
	return verify.Check{}
}

func TestHealthyPipelinePasses(t *testing.T) {
	t.Parallel()
	report, took := verified(t, world{setup: func(_ *testing.T, s *verify.Setup) { s.Canary = true }})
	require.True(t, report.OK, text(report))
	require.Less(t, took, 15*time.Second, "the golden verification takes 15 s at most")
	for _, name := range []string{"golden chain", "lookup prefix", "heat TTL", "observations", "observing now", "python observer", "late group", "our port", "metrics", "clock", "redis rights", "canary"} {
		require.Equal(t, verify.Pass, named(t, report, name).Verdict, text(report))
	}
	require.Contains(t, named(t, report, "canary").Seen, "deleted after every group")
}

// Each partition is verified, and the worst is named.
func TestPartitions(t *testing.T) {
	t.Parallel()
	// With a long wait allowed verify is patient too, on a busy machine.
	names := map[string]string{"P28_PLAN_STREAMS": pipeline.PlanStream + ":{k}*3", "P28_LATE_OBS_MAX_WAIT_MS": "7000"}
	all := []string{pipeline.PlanStream + ":{0}", pipeline.PlanStream + ":{1}", pipeline.PlanStream + ":{2}"}
	parted := world{settings: names, look: names, planner: pipeline.PlannerConfig{Streams: all, Rate: 30}, gates: all}
	t.Run("healthy", func(t *testing.T) {
		t.Parallel()
		w := parted
		w.setup = func(_ *testing.T, s *verify.Setup) { s.Canary = true }
		report, _ := verified(t, w)
		for _, name := range []string{"golden chain", "heat TTL", "observations", "observing now", "late group", "redis rights", "canary"} {
			check := named(t, report, name)
			require.Equal(t, verify.Pass, check.Verdict, text(report))
			require.Contains(t, check.Seen, "3 of 3 partitions", text(report))
		}
	})
	t.Run("one without a gate", func(t *testing.T) {
		t.Parallel()
		w := parted
		w.gates = []string{all[0], all[2]}
		report, took := verified(t, w)
		require.False(t, report.OK)
		for _, name := range []string{"golden chain", "heat gate group"} {
			check := named(t, report, name)
			require.Equal(t, verify.Fail, check.Verdict, text(report))
			require.Contains(t, check.Seen, all[1]+", one of 1 of 3 partitions", text(report))
		}
		require.Less(t, took, 25*time.Second)
	})
}

// What the user of verify may not look at says nothing about the deployment.
func TestMissingRightToLookWarns(t *testing.T) {
	t.Parallel()
	report, _ := verified(t, world{
		redis: []redistest.Option{redistest.WithACL("looker", "on", ">pw", "~*", "&*", "+@all", "-xinfo|groups")},
		look:  map[string]string{"REDIS_USERNAME": "looker"},
	})
	group := named(t, report, "heat bridge group")
	require.Equal(t, verify.Warn, group.Verdict, text(report))
	require.Contains(t, group.Seen, "not allowed to look")
	require.Contains(t, group.Hint, "heat-operator")
}

// Every way in which a pipeline is known to break is refused with its cause, in the check that is about it.
func TestBrokenPipelineIsRefusedWithItsCause(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name         string
		world        world
		check, cause string
	}{
		{"gate not running", world{noGate: true}, "heat gate group", "heat gate not running"},
		{"gate stopped", world{noGate: true, breaks: readNoMore, setup: func(_ *testing.T, s *verify.Setup) { s.Canary = true }}, "canary", "the heat gate (group heat_gate) has not read it"},
		{"bridge not running", world{noBridge: true}, "golden chain", "heat bridge is not running"},
		{"gate reads harvest.proposal", world{gate: pipeline.GateConfig{Plans: "quantum:stream:harvest.proposal"}}, "heat gate group", "harvest.proposal"},
		{"wrong prefix", world{bridge: pipeline.BridgeConfig{Prefix: "quantum:heat:bridge:by_plan:"}}, "lookup prefix", "the pipeline uses quantum:heat:bridge:by_plan:"},
		{"another prefix", world{bridge: pipeline.BridgeConfig{Prefix: "quantum:other:"}}, "lookup prefix", "the pipeline uses quantum:other:"},
		{"TTL of 5 s", world{breaks: firstShortLived, during: shortLived}, "heat TTL", "TTL too short"},
		{"observer down", world{noRun: true}, "observing now", "observer down"},
		{"late observer disabled", world{settings: map[string]string{"P28_LATE_OBS_ENABLED": "false"}}, "observing now", "late observer disabled"},
		{"volatile-lru near its limit", world{breaks: nearLimit}, "redis eviction", "volatile-lru"},
		{
			"trimming at 50 entries under load",
			world{redis: []redistest.Option{redistest.WithConfig("stream-node-max-entries", "10")}, planner: pipeline.PlannerConfig{Rate: 100, MaxLen: 50}, breaks: trimmed},
			"retention", "trimming",
		},
		{"clock 3 s off", world{setup: func(_ *testing.T, s *verify.Setup) {
			s.Now = func() time.Time { return time.Now().Add(3 * time.Second) }
		}}, "clock", "clocks differ"},
		{"ACL lacks one command", world{
			redis: []redistest.Option{redistest.WithACL("worker", "on", ">pw", "~*", "&*", "+@all", "-xautoclaim")},
			look:  map[string]string{"REDIS_USERNAME": "worker"},
		}, "redis rights", "may not: XAUTOCLAIM"},
		{"port taken", world{setup: func(t *testing.T, s *verify.Setup) {
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") }))
			t.Cleanup(other.Close)
			s.OurAddr = strings.TrimPrefix(other.URL, "http://")
		}}, "our port", "port taken by something else"},
		{"port that hangs", world{setup: func(t *testing.T, s *verify.Setup) {
			silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
			require.NoError(t, err)
			t.Cleanup(func() { _ = silent.Close() })
			s.OurAddr = silent.Addr().String()
		}}, "our port", "no answer at"},
		{"gate's env file", world{setup: func(_ *testing.T, s *verify.Setup) {
			s.GateEnv = &verify.GateEnv{Path: "gate.env", StreamIn: "quantum:stream:harvest.proposal", Set: true}
		}}, "heat gate input", "HEAT_STREAM_IN=quantum:stream:harvest.proposal"},
		{"Python observer beside us", world{during: pythonObserver, breaks: afterFirstPython}, "python observer", "the Python observer runs beside us"},
	}
	short := map[string]bool{"gate reads harvest.proposal": true, "wrong prefix": true, "clock 3 s off": true, "port taken": true, "ACL lacks one command": true}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && !short[c.name] {
				t.Skip("a long test")
			}
			t.Parallel()
			report, took := verified(t, c.world)
			found := named(t, report, c.check)
			require.Equal(t, verify.Fail, found.Verdict, text(report))
			require.Contains(t, found.Seen, c.cause, text(report))
			if c.check == "lookup prefix" { // nor does another check lead astray
				require.Contains(t, named(t, report, "golden chain").Seen, "under another prefix: "+c.world.bridge.Prefix, text(report))
				require.Contains(t, named(t, report, "golden chain").Hint, "P28_HEAT_LOOKUP_PREFIX")
			}
			require.False(t, report.OK)
			require.Less(t, took, 25*time.Second)
		})
	}
}

// shortLived gives the newest heat five seconds to live, as a heat bridge with such a TTL does.
func shortLived(ctx context.Context, rdb *redis.Client) {
	for ctx.Err() == nil {
		shorten(ctx, rdb)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// firstShortLived shortens the lives of what is there, so that verify does not look before shortLived has begun.
func firstShortLived(t *testing.T, srv *redistest.Server) {
	t.Helper()
	shortened := 0
	require.Eventually(t, func() bool {
		shortened += shorten(t.Context(), srv.Client())
		return shortened >= 30
	}, patience, 20*time.Millisecond)
}

// shorten gives the keys of the newest plans five seconds to live, and returns how many of them had more.
func shorten(ctx context.Context, rdb *redis.Client) int {
	plans, _ := rdb.XRevRangeN(ctx, pipeline.PlanStream, "+", "-", 50).Result()
	shortened := 0
	for _, p := range plans {
		id, _ := p.Values["plan_id"].(string)
		if rdb.ExpireLT(ctx, pipeline.LookupPrefix+id, 5*time.Second).Val() {
			shortened++
		}
	}
	return shortened
}

// trimmed waits until the stream has been trimmed.
func trimmed(t *testing.T, srv *redistest.Server) {
	t.Helper()
	require.Eventually(t, func() bool {
		info, err := srv.Client().XInfoStream(t.Context(), pipeline.PlanStream).Result()
		return err == nil && info.EntriesAdded > 2*info.Length
	}, patience, 20*time.Millisecond)
}

// readNoMore is what a gate leaves behind when it stops.
func readNoMore(t *testing.T, srv *redistest.Server) {
	t.Helper()
	require.NoError(t, srv.Client().XGroupCreate(t.Context(), pipeline.PlanStream, pipeline.GateGroup, "$").Err())
}

func nearLimit(t *testing.T, srv *redistest.Server) {
	t.Helper()
	info, err := srv.Client().Info(t.Context(), "memory").Result()
	require.NoError(t, err)
	_, after, _ := strings.Cut(info, "used_memory:")
	used, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]))
	require.NoError(t, err)
	srv.ConfigSet("maxmemory-policy", "volatile-lru")
	srv.ConfigSet("maxmemory", strconv.Itoa(used*104/100))
}

// python writes one observation as the Python observer does: without source_id and wait_ms.
func python(ctx context.Context, rdb *redis.Client) error {
	return rdb.XAdd(ctx, &redis.XAddArgs{Stream: "quantum:stream:apply.heat.observed", Values: []string{
		"ts_epoch", strconv.FormatInt(time.Now().Unix(), 10), "plan_id", "py1", "symbol", "BTCUSDT", "apply_component", "apply",
		"obs_point", "create_apply_plan", "heat_found", "0", "heat_ts_epoch", "", "heat_level", "", "heat_score", "", "heat_action", "",
		"heat_out_action", "", "heat_recommended_partial", "", "heat_reason", "missing", "apply_decision", "EXECUTE", "debug_json", `{"apply_decision":"EXECUTE"}`,
	}}).Err()
}

func afterFirstPython(t *testing.T, srv *redistest.Server) {
	t.Helper()
	require.NoError(t, python(t.Context(), srv.Client()))
}

func pythonObserver(ctx context.Context, rdb *redis.Client) {
	for python(ctx, rdb) == nil {
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
