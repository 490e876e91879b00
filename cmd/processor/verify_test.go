package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
	"heatobserver/verify"
)

// TestVerifyCommand runs the command as an operator does, on a pipeline that is whole, with a prefix that is wrong, and
// without a Redis. What each check finds is tested in verify.
func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer func() { cancel(); running.Wait() }()
	log := slog.New(slog.DiscardHandler)
	planner, err := pipeline.NewPlanner(rdb, pipeline.PlannerConfig{Rate: 20}, log)
	require.NoError(t, err)
	gate := pipeline.NewGate(rdb, pipeline.GateConfig{}, log)
	for _, work := range []func(context.Context) error{planner.Run, gate.Run, pipeline.NewBridge(rdb, pipeline.BridgeConfig{}, log).Run} {
		running.Go(func() { _ = work(ctx) })
	}
	cfg, _, err := config.Load(config.Sources{Flags: map[string]string{
		"P28_HEAT_LOOKUP_PREFIX": pipeline.LookupPrefix, "REDIS_URL": srv.URL(), "P28_HTTP_ADDR": "127.0.0.1:0",
	}})
	require.NoError(t, err)
	started := make(chan string, 1)
	running.Go(func() {
		_ = app.Run(ctx, cfg, app.Options{Logger: log, Started: func(a net.Addr) { started <- a.String() }})
	})
	addr := <-started
	require.Eventually(t, func() bool { return planner.Written() >= 30 }, 20*time.Second, 20*time.Millisecond)

	env := []string{"P28_HEAT_LOOKUP_PREFIX=" + pipeline.LookupPrefix, "REDIS_URL=" + srv.URL(), "P28_HTTP_ADDR=" + addr}
	junit := filepath.Join(t.TempDir(), "verify.xml")
	code, stdout, stderr := processor(t, env, "verify", "--wait", "5s", "--json", "--junit", junit, "--apply-addr", addr)
	require.Equal(t, config.ExitOK, code, stdout+stderr)
	var report verify.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	assert.True(t, report.OK)
	data, err := os.ReadFile(junit)
	require.NoError(t, err)
	var suite struct {
		Cases []struct {
			Name string `xml:"name,attr"`
		} `xml:"testcase"`
	}
	require.NoError(t, xml.Unmarshal(data, &suite))
	assert.Len(t, suite.Cases, len(report.Checks))

	// Strict: that no gate answers at its port is a failure then.
	code, stdout, _ = processor(t, env, "verify", "--wait", "2s", "--strict", "--apply-addr", addr, "--gate-addr", "127.0.0.1:1")
	assert.Equal(t, config.ExitFailed, code, stdout)

	env[0] = "P28_HEAT_LOOKUP_PREFIX=quantum:elsewhere:"
	code, stdout, _ = processor(t, env, "verify", "--wait", "2s", "--apply-addr", addr)
	assert.Equal(t, config.ExitFailed, code, stdout)
	assert.Contains(t, stdout, "the pipeline uses "+pipeline.LookupPrefix)

	require.NoError(t, rdb.XGroupCreate(t.Context(), pipeline.PlanStream, "executors", "$").Err())
	code, _, stderr = processor(t, env, "verify", "--canary", "--wait", "2s")
	assert.Equal(t, config.ExitNotCarriedOut, code, stderr)
	assert.Contains(t, stderr, "--yes-live")
	code, _, _ = processor(t, append(env, "REDIS_URL=redis://127.0.0.1:1"), "verify", "--wait", "1s")
	assert.Equal(t, config.ExitNotCarriedOut, code)
	code, _, _ = processor(t, env, "verify", "--wait", "1h")
	assert.Equal(t, config.ExitNotCarriedOut, code)
}

// TestVerifyNamesWhatIsBroken runs the program itself on pipelines that are broken, and on one that is whole: its exit code,
// and the check that names the cause in its JSON. All ways to break one are in the tests of verify.
func TestVerifyNamesWhatIsBroken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		gate         pipeline.GateConfig
		bridge       pipeline.BridgeConfig
		observer     []string // its own settings
		down         bool
		look         func(t *testing.T) []string // settings of verify alone
		code         int
		check, cause string
	}{
		{name: "whole", code: 0, check: "golden chain"},
		{name: "gate reads harvest.proposal", gate: pipeline.GateConfig{Plans: "quantum:stream:harvest.proposal"},
			code: 1, check: "heat gate group", cause: "harvest.proposal"},
		{name: "wrong prefix", bridge: pipeline.BridgeConfig{Prefix: "quantum:heat:bridge:by_plan:"},
			code: 1, check: "lookup prefix", cause: "the pipeline uses quantum:heat:bridge:by_plan:"},
		{name: "observer down", down: true, code: 1, check: "observing now", cause: "observer down"},
		{name: "late observer disabled", observer: []string{"P28_LATE_OBS_ENABLED=false"},
			code: 1, check: "observing now", cause: "late observer disabled"},
		{name: "port taken", look: func(t *testing.T) []string {
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") }))
			t.Cleanup(other.Close)
			return []string{"P28_HTTP_ADDR=" + strings.TrimPrefix(other.URL, "http://")}
		}, code: 1, check: "our port", cause: "port taken by something else"},
		{name: "no Redis", down: true, look: func(*testing.T) []string { return []string{"REDIS_URL=redis://127.0.0.1:1"} }, code: 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			ctx, cancel := context.WithCancel(context.Background())
			var running sync.WaitGroup
			t.Cleanup(func() { cancel(); running.Wait() })
			log := slog.New(slog.DiscardHandler)
			planner, err := pipeline.NewPlanner(srv.Client(), pipeline.PlannerConfig{Rate: 20}, log)
			require.NoError(t, err)
			gate := pipeline.NewGate(srv.Client(), c.gate, log)
			env := append([]string{"REDIS_URL=" + srv.URL(), "P28_BLOCK_MS=50", "P28_LOG_FORMAT=text"}, usual...)
			addr := "127.0.0.1:1"
			if !c.down {
				addr = launch(t, append(append([]string{"P28_HTTP_ADDR=127.0.0.1:0"}, env...), c.observer...), "run").addr()
			}
			for _, work := range []func(context.Context) error{planner.Run, gate.Run, pipeline.NewBridge(srv.Client(), c.bridge, log).Run} {
				running.Go(func() { _ = work(ctx) })
			}
			eventually(t, "plans", func() error {
				if n := planner.Written(); n < 30 {
					return fmt.Errorf("%d are written", n)
				}
				return nil
			})
			env = append(env, "P28_HTTP_ADDR="+addr, asProcessor+"=1")
			if c.look != nil {
				env = append(env, c.look(t)...)
			}
			self, err := os.Executable()
			require.NoError(t, err)
			cmd := exec.CommandContext(t.Context(), self, "verify", "--json", "--wait", "10s", "--apply-addr", addr)
			cmd.Env = env
			out, _ := cmd.Output() // its exit code says what of it
			require.Equal(t, c.code, cmd.ProcessState.ExitCode(), "%s", out)
			if c.code == config.ExitNotCarriedOut {
				require.Empty(t, out)
				return
			}
			var report verify.Report
			require.NoError(t, json.Unmarshal(out, &report), "%s", out)
			require.Equal(t, c.code == config.ExitOK, report.OK)
			want := map[int]verify.Verdict{config.ExitOK: verify.Pass, config.ExitFailed: verify.Fail}[c.code]
			for _, check := range report.Checks {
				if check.Name == c.check {
					require.Equal(t, want, check.Verdict, "%s", out)
					require.Contains(t, check.Seen, c.cause)
					return
				}
			}
			t.Fatalf("no check %q: %s", c.check, out)
		})
	}
}
