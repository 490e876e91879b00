package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

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
