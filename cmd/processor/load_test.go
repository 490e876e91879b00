package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

func TestLoadReportsOfferedAndWritten(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	env := []string{"REDIS_URL=" + server.URL()}
	code, stdout, stderr := processor(t, env, "load", "--json", "--rate", "300", "--burst", "200@500ms", "--duration", "1s", "--delay", "50ms")
	require.Zero(t, code, stderr)
	var got pipeline.LoadCounts
	require.NoError(t, json.Unmarshal([]byte(stdout), &got), stdout)
	require.EqualValues(t, 500, got.Offered)
	require.EqualValues(t, 500, got.Written)
	require.Positive(t, got.Delay.P50)
	require.EqualValues(t, 500, server.Client().XLen(t.Context(), pipeline.PlanStream).Val())
	keys := server.Client().Keys(t.Context(), pipeline.LookupPrefix+"*").Val()
	require.Len(t, keys, 500)

	code, stdout, stderr = processor(t, env, "load", "--rate", "200", "--duration", "500ms", "--envelope", "--first", "1000")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "write delay in ms")
	require.EqualValues(t, 600, server.Client().XLen(t.Context(), pipeline.PlanStream).Val())
}

func TestLoadRefusesAForeignStream(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	env := []string{"REDIS_URL=" + server.URL()}
	require.NoError(t, client.XGroupCreateMkStream(t.Context(), pipeline.PlanStream, "execution", "0").Err())
	code, _, stderr := processor(t, env, "load", "--plans", "10")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "--yes-live")
	require.Zero(t, client.XLen(t.Context(), pipeline.PlanStream).Val())

	code, _, stderr = processor(t, env, "load", "--plans", "10", "--yes-live", "--delay", "production")
	require.Equal(t, 2, code, "its heat gate must not lose plans to a stand-in")
	require.Contains(t, stderr, "--delay")

	code, _, stderr = processor(t, env, "load", "--plans", "10", "--yes-live", "--rate", "1000")
	require.Zero(t, code, stderr)
	require.EqualValues(t, 10, client.XLen(t.Context(), pipeline.PlanStream).Val())
}

func TestLoadSaysWhatItCannotDo(t *testing.T) {
	server := redistest.Start(t)
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no load":    {[]string{"--rate", "0"}, 2, "neither a rate nor a burst"},
		"bad burst":  {[]string{"--burst", "5"}, 2, "5000@10s"},
		"wrong type": {[]string{"--yes-live", "--rate", "10"}, 1, "WRONGTYPE"},
	} {
		server.Client().Set(context.Background(), pipeline.PlanStream, "no stream", 0)
		code, _, stderr := processor(t, []string{"REDIS_URL=" + server.URL()}, append([]string{"load"}, tc.args...)...)
		require.Equal(t, tc.code, code, name)
		require.True(t, strings.Contains(stderr, tc.want), "%s: %s", name, stderr)
	}
}
