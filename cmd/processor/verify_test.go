package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"log/slog"
	"net"
	"os"
	"path/filepath"
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
	gate, err := pipeline.NewGate(rdb, pipeline.GateConfig{}, log)
	require.NoError(t, err)
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
	require.Eventually(t, func() bool { return planner.Counts().Written >= 30 }, 20*time.Second, 20*time.Millisecond)

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
