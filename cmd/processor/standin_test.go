package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/logtest"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// Each run writes plans of its own, unless it is told which.
func TestWhichPlans(t *testing.T) {
	seven := uint64(7)
	for _, w := range []whichPlans{{Seed: &seven}, {First: new(uint64)}, {Seed: &seven, First: &seven}} {
		seed, first := w.numbers()
		again, firstAgain := w.numbers()
		require.Equal(t, []uint64{seed, first}, []uint64{again, firstAgain})
		require.Contains(t, []uint64{0, 7}, first)
	}
	_, first := whichPlans{}.numbers()
	_, next := whichPlans{}.numbers()
	require.Greater(t, next, first)

	server := redistest.Start(t)
	env := []string{"REDIS_URL=" + server.URL()}
	seen := map[any]int{}
	count := func(args ...string) int {
		t.Helper()
		code, _, stderr := processor(t, env, append([]string{"load", "--plans", "20", "--rate", "10000"}, args...)...)
		require.Zero(t, code, stderr)
		entries, err := server.Client().XRange(t.Context(), pipeline.PlanStream, "-", "+").Result()
		require.NoError(t, err)
		clear(seen)
		for _, e := range entries {
			seen[e.Values["plan_id"]]++
		}
		return len(seen)
	}
	require.Equal(t, 20, count())
	require.Equal(t, 40, count())
	require.Equal(t, 60, count("--seed", "1"))
	require.Equal(t, 60, count("--first", "0"), "the same as with --seed 1")
}

// A stand-in in the group of a live service would take from it what it never gives back.
func TestStandInsKeepOffLiveServices(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	for _, tc := range []struct{ name, command, stream, group, consumer string }{
		{"gate, where one reads", "gate", pipeline.PlanStream, pipeline.GateGroup, "heat_gate_1"},
		{"gate, whose decisions would become heat", "gate", pipeline.DecisionStream, pipeline.BridgeGroup, "b1"},
		{"bridge, where one reads", "bridge", pipeline.DecisionStream, pipeline.BridgeGroup, "b1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.NoError(t, client.FlushAll(t.Context()).Err())
			server.CLI("XADD", pipeline.PlanStream, "*", "plan_id", "by-hand", "symbol", "BTCUSDT")
			require.NoError(t, client.XGroupCreateMkStream(t.Context(), tc.stream, tc.group, "0").Err())
			require.NoError(t, client.XGroupCreateConsumer(t.Context(), tc.stream, tc.group, tc.consumer).Err())
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // it would go on for ever
			defer cancel()
			var errs bytes.Buffer
			args := []string{"standin", tc.command, "--redis-url", server.URL()}
			code := run(ctx, args, &system{stdout: &errs, stderr: &errs})
			require.Equal(t, 2, code, "%s", &errs)
			require.Contains(t, errs.String(), fmt.Sprintf(`group %q of %s is read by %q`, tc.group, tc.stream, tc.consumer))
			require.Len(t, client.XInfoConsumers(t.Context(), tc.stream, tc.group).Val(), 1)

			reads, group := pipeline.PlanStream, pipeline.GateGroup
			if tc.command == "bridge" {
				reads, group = pipeline.DecisionStream, pipeline.BridgeGroup
			}
			works := func(args ...string) {
				t.Helper()
				standIn := launch(t, nil, args...)
				eventually(t, "it reads", func() error {
					for _, c := range client.XInfoConsumers(t.Context(), reads, group).Val() {
						if c.Name != tc.consumer {
							return nil
						}
					}
					return fmt.Errorf("no other consumer:\n%s", standIn.logs)
				})
				standIn.end()
			}
			works(append(args, "--yes-live")...)
			require.NoError(t, client.XGroupDestroy(t.Context(), tc.stream, tc.group).Err())
			require.NoError(t, client.XGroupDestroy(t.Context(), reads, group).Err())
			works(args...) // whoever wrote the plans
		})
	}
}

// Decisions of stand-ins would become heat of a live heat bridge, and theirs take its entries away.
func TestDecisionsOfOthersStayTheirs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := server.Client()
	require.NoError(t, client.XGroupCreateMkStream(t.Context(), pipeline.DecisionStream, pipeline.BridgeGroup, "0").Err())
	require.NoError(t, client.XGroupCreateConsumer(t.Context(), pipeline.DecisionStream, pipeline.BridgeGroup, "b1").Err())
	load := []string{"load", "--plans", "10", "--redis-url", server.URL()}
	for want, args := range map[string][]string{
		"--yes-live": slices.Concat(load, []string{"--delay", "0s"}),
		"--delay":    slices.Concat(load, []string{"--delay", "0s", "--yes-live"}),
		`by "b1"`:    {"demo", "--redis", server.URL(), "--duration", "300ms", "--http-addr", "127.0.0.1:0", "--delay", "0s"},
	} {
		code, _, stderr := processor(t, nil, args...)
		require.Equal(t, 2, code, "%s\n%s", args, stderr)
		require.Contains(t, stderr, want)
		require.Zero(t, client.XLen(t.Context(), pipeline.DecisionStream).Val(), args)
		require.Len(t, client.XInfoConsumers(t.Context(), pipeline.DecisionStream, pipeline.BridgeGroup).Val(), 1, args)
	}
	code, _, stderr := processor(t, nil, load...)
	require.Zero(t, code, stderr)
	require.EqualValues(t, 10, client.XLen(t.Context(), pipeline.PlanStream).Val(), "plans alone are nobody's decisions")
}

// localPipeline begins deploy/pipeline with a Redis at this port, by this binary.
func localPipeline(t *testing.T, redisPort, httpPort string, environ ...string) (cmd *exec.Cmd, output *logtest.Log) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("there is no redis-server")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	output = &logtest.Log{}
	cmd = exec.CommandContext(t.Context(), "../../deploy/pipeline")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it takes its processes down
	cmd.Env = slices.Concat(os.Environ(), environ,
		[]string{"PROCESSOR=" + self, asProcessor + "=1", "REDIS_PORT=" + redisPort, "HTTP_PORT=" + httpPort})
	cmd.Stdout, cmd.Stderr = output, output
	require.NoError(t, cmd.Start())
	return cmd, output
}

func freePort(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// What the shell exports for a live Redis must not lead the stand-ins there.
func TestLocalPipelineHasARedisOfItsOwn(t *testing.T) {
	t.Parallel()
	live := redistest.Start(t)
	for _, environ := range [][]string{
		{"REDIS_URL=" + live.URL()},
		{"REDIS_CLUSTER=" + live.Addr()},
		{"REDIS_SENTINELS=" + live.Addr(), "REDIS_MASTER_NAME=m", "REDIS_PASSWORD_FILE=/nowhere", "REDIS_DB=3"},
	} {
		port := freePort(t)
		own := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port})
		cmd, output := localPipeline(t, port, freePort(t), environ...)
		eventually(t, "observations", func() error {
			if own.XLen(t.Context(), "quantum:stream:apply.heat.observed").Val() == 0 {
				return fmt.Errorf("none with %s:\n%s", environ, output)
			}
			return nil
		})
		require.NoError(t, own.Close())
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		require.NoError(t, cmd.Wait(), "%s", output)
		require.Zero(t, live.Client().DBSize(t.Context()).Val(), "%s", output)
	}
}

// One process that ends, here because its port is taken, ends all of it.
func TestLocalPipelineEnds(t *testing.T) {
	t.Parallel()
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	require.NoError(t, err)
	for _, seconds := range []string{"", "100"} {
		cmd, output := localPipeline(t, freePort(t), port, "SECONDS_TO_RUN="+seconds)
		require.Error(t, cmd.Wait())
		require.Equal(t, 1, cmd.ProcessState.ExitCode(), "%s", output)
		require.Contains(t, output.String(), "a process of the pipeline ended")
	}
	cmd, output := localPipeline(t, freePort(t), freePort(t), "SECONDS_TO_RUN=1")
	require.NoError(t, cmd.Wait(), "%s", output)
}
