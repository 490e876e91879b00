package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/web"
)

// TestPageShowsTheWorker has the page of a worker show it with its version, and finds what it says when it has drained.
func TestPageShowsTheWorker(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	one := start(t, server)
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	states := func() map[string]int {
		resp, err := client.Get("http://" + one.addr + "/api/v1/workers")
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s", body)
		var workers web.Workers
		require.NoError(t, json.Unmarshal(body, &workers))
		states := map[string]int{}
		for _, w := range workers.Workers {
			states[fmt.Sprint(w.State, " ", w.Version != nil)]++
		}
		return states
	}
	require.Eventually(t, func() bool { return states()["alive true"] == 1 }, patience, 20*time.Millisecond)
	require.NoError(t, one.stop())
	keys, err := server.Client().Keys(t.Context(), "quantum:p28:worker:*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	said, err := server.Client().Get(t.Context(), keys[0]).Result()
	require.NoError(t, err)
	require.Contains(t, said, `"state":"drained"`)
	ttl, err := server.Client().TTL(t.Context(), keys[0]).Result()
	require.NoError(t, err)
	require.Positive(t, ttl, "it goes by itself")
}

// TestPageIsServedUnderItsOwnNames asks as a browser does that a foreign website has led here, and as probes and scrapers do.
func TestPageIsServedUnderItsOwnNames(t *testing.T) {
	t.Parallel()
	one := start(t, redistest.Start(t), settings{"P28_HTTP_HOSTS": "heat.example.com", "P28_PPROF": "true"})
	one.awaitReady()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	machine, err := os.Hostname()
	require.NoError(t, err)
	for _, path := range []string{"/", "/api/v1/summary", "/api/v1/plans?plan_id=p", "/api/v1/events", "/assets/js/main.js", "/debug/pprof/cmdline", "/metrics", "/livez", "/readyz"} {
		open := path == "/metrics" || path == "/livez" || path == "/readyz"
		for host, ours := range map[string]bool{
			"127.0.0.1": true, "localhost:8043": true, "heat.example.com": true, machine: true, "10.244.1.7:8043": true, // a pod's
			"evil.example": false, "evil.example:8043": false,
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+one.addr+path, http.NoBody)
			require.NoError(t, err)
			req.Host = host
			resp, err := client.Do(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			if ours || open {
				require.Equal(t, http.StatusOK, resp.StatusCode, "%s as %s", path, host)
			} else {
				require.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode, "%s as %s", path, host)
			}
		}
	}
	require.NoError(t, one.stop())
}

// TestWhatIfIsOfAllPartitions counts the plans that were simulated.
func TestWhatIfIsOfAllPartitions(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	cfg := load(t, srv, partitioned())
	rdb := srv.Client()
	long := time.Now().Add(-time.Minute).UnixMilli()
	for i, names := range cfg.Names() {
		id := func(at int64) string { return fmt.Sprintf("%d-1", at) }
		require.NoError(t, rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: names.Plan, ID: id(long), Values: []string{"plan_id", fmt.Sprint("p", i), "symbol", "S"}}).Err())
	}
	for i := range cfg.Names() {
		require.NoError(t, rdb.XAdd(t.Context(), &redis.XAddArgs{
			Stream: cfg.Streams.Decision, ID: fmt.Sprintf("%d-%d", long+200, i+1), Values: []string{"plan_id", fmt.Sprint("p", i), "heat_level", "hot", "heat_score", "0.5"},
		}).Err())
	}
	one := start(t, srv, partitioned())
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	coverage := func(ms int) float64 {
		resp, err := client.Get(fmt.Sprintf("http://%s/api/v1/what-if?max_wait_ms=%d", one.addr, ms))
		require.NoError(t, err)
		defer resp.Body.Close()
		var answer web.WhatIf
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&answer))
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.EqualValues(t, len(cfg.Names()), answer.Plans, "%+v", answer)
		require.EqualValues(t, len(cfg.Names()), answer.Decided)
		require.NotNil(t, answer.Coverage)
		return *answer.Coverage
	}
	require.Zero(t, coverage(199))
	require.InDelta(t, 1, coverage(200), 0)
	require.NoError(t, one.stop())
}
