package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/config"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// finalLine is the summary of `demo --json`.
type finalLine struct {
	Plans         int            `json:"plans"`
	Observations  int            `json:"observations"`
	Early         int            `json:"early"`
	Late          int            `json:"late"`
	LateFound     int            `json:"late_found"`
	AfterDeadline int            `json:"after_deadline"`
	Reasons       map[string]int `json:"late_reasons"`
	Unreadable    int            `json:"unreadable"`
	LateP50       int            `json:"late_p50_ms"`
	Final         bool           `json:"final"`
}

func lastJSON(t *testing.T, stdout string) finalLine {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var last finalLine
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatalf("the last line is no JSON: %v\n%s", err, stdout)
	}
	if !last.Final {
		t.Fatalf("the last line is not the final one: %s", lines[len(lines)-1])
	}
	return last
}

// Every plan that the demo writes is observed once early and once late, on either kind of Redis.
func TestDemoObservesEveryPlan(t *testing.T) {
	real := redistest.Start(t)
	for _, tc := range []struct {
		name string
		args []string
	}{
		{"in this process", nil},
		{"on a real Redis", []string{"--redis", real.URL()}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"demo", "--json", "--duration", "2s", "--rate", "40", "--delay", "50ms-80ms,never=10%",
				"--http-addr", "127.0.0.1:0", "--late-obs-max-wait-ms", "800", "--seed", "1"}, tc.args...)
			code, stdout, stderr := processor(t, nil, args...)
			if code != 0 {
				t.Fatalf("exit code %d:\n%s", code, stderr)
			}
			got := lastJSON(t, stdout)
			if got.Plans < 60 || got.Observations != 2*got.Plans || got.Early != got.Plans || got.Late+got.AfterDeadline != got.Plans || got.Unreadable != 0 {
				t.Errorf("%d plans, but %+v", got.Plans, got)
			}
			if n := got.Reasons["ok"] + got.Reasons["timeout"]; n != got.Plans || got.Reasons["timeout"] == 0 || got.Reasons["ok"] == 0 {
				t.Errorf("reasons %v of %d plans of which a tenth has no heat", got.Reasons, got.Plans)
			}
			if got.LateP50 < 50 { // how long a busy machine takes is no matter of this test
				t.Errorf("heat after 50 to 80 ms is seen after %d ms in the median", got.LateP50)
			}
		})
	}
}

// A plan that was observed within the last minutes is a duplicate: whoever tries the demo twice is to see it twice.
func TestDemoShowsItAgain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	demo := func(more ...string) finalLine {
		t.Helper()
		code, stdout, stderr := processor(t, nil, append([]string{"demo", "--json", "--redis", server.URL(), "--duration", "300ms",
			"--delay", "0s", "--http-addr", "127.0.0.1:0", "--late-obs-max-wait-ms", "300"}, more...)...)
		require.Zero(t, code, stderr)
		return lastJSON(t, stdout)
	}
	for range 2 {
		got := demo()
		require.Positive(t, got.Plans)
		require.Positive(t, got.Observations)
	}
	server.CLI("DEL", pipeline.PlanStream)
	demo("--seed", "7")
	first := server.Client().XRangeN(t.Context(), pipeline.PlanStream, "-", "+", 1).Val()
	require.NotEmpty(t, first)
	require.Equal(t, pipeline.PlanID(7, 0), first[0].Values["plan_id"], "the same plans for the same seed")
}

func TestDemoTakesAnotherPortWhereItsOwnIsTaken(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	code, stdout, stderr := processor(t, nil, "demo", "--duration", "300ms", "--delay", "0s", "--http-addr", taken.Addr().String())
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	if want := "(" + taken.Addr().String() + " is taken)"; !strings.Contains(stdout, want) || !strings.Contains(stdout, "http://127.0.0.1:") {
		t.Errorf("%q and a free port are not named:\n%s", want, stdout)
	}
}

// Execution services read the plan stream: the demo keeps off one that is not its own.
func TestDemoRefusesAForeignStream(t *testing.T) {
	server := redistest.Start(t)
	server.CLI("XADD", "quantum:stream:apply.plan", "*", "plan_id", "p1", "symbol", "BTCUSDT")
	code, _, stderr := processor(t, nil, "demo", "--redis", server.URL(), "--duration", "300ms", "--http-addr", "127.0.0.1:0")
	if code != 2 || !strings.Contains(stderr, "--yes-live") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	if n := server.Client().XLen(t.Context(), "quantum:stream:apply.plan").Val(); n != 1 {
		t.Errorf("the stream has %d entries in place of 1", n)
	}
	code, _, stderr = processor(t, nil, "demo", "--redis", server.URL(), "--duration", "300ms", "--http-addr", "127.0.0.1:0", "--yes-live", "--delay", "0s")
	if code != 0 {
		t.Errorf("with --yes-live: exit code %d:\n%s", code, stderr)
	}
	code, _, stderr = processor(t, nil, "standin", "planner", "--redis-url", server.URL())
	if code != 2 || !strings.Contains(stderr, "--yes-live") {
		t.Errorf("planner: exit code %d:\n%s", code, stderr)
	}
}

// The Redis of the environment is most likely a live one, and not meant.
func TestDemoKeepsOffTheRedisOfTheEnvironment(t *testing.T) {
	server := redistest.Start(t)
	code, _, stderr := processor(t, []string{"REDIS_URL=" + server.URL()}, "demo", "--duration", "300ms", "--delay", "0s", "--http-addr", "127.0.0.1:0")
	if code != 0 {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	if keys := server.Client().DBSize(context.WithoutCancel(t.Context())).Val(); keys != 0 {
		t.Errorf("%d keys were written to the Redis of the environment", keys)
	}
}

// TestDemoThatCannotBegin: what is wrong with it is said before anything is shown.
func TestDemoThatCannotBegin(t *testing.T) {
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"Redis is away", []string{"--redis", "redis://127.0.0.1:1"}, 2, "reach Redis at 127.0.0.1:1"},
		{"no plans", []string{"--rate", "0"}, 2, "rate is 0 plans/s"},
		{"an end before the beginning", []string{"--duration", "-5s"}, 2, "duration is -5s"},
		{"no URL", []string{"--redis", "127.0.0.1:1"}, 78, "REDIS_URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // it would go on for ever
			defer cancel()
			var out, errs bytes.Buffer
			args := append([]string{"demo", "--http-addr", "127.0.0.1:0"}, tc.args...)
			code := run(ctx, args, &system{stdout: &out, stderr: &errs})
			require.Equal(t, tc.code, code, "%s", &errs)
			require.Contains(t, errs.String(), tc.stderr)
			require.Empty(t, out.String())
		})
	}
}

// TestDemoTakesItsRedisFromOneFlag: what else says where Redis is does not stand in the help, and is refused.
func TestDemoTakesItsRedisFromOneFlag(t *testing.T) {
	code, help, _ := processor(t, nil, "demo", "--help")
	require.Zero(t, code)
	for _, flag := range []string{"--redis=URL", "--redis-db=", "--redis-password=", "--redis-tls-ca="} {
		require.Contains(t, help, flag)
	}
	_, run, _ := processor(t, nil, "run", "--help")
	for _, variable := range whereRedisIs {
		flag := "--" + config.FlagName(variable)
		require.NotContains(t, help, flag+"=")
		require.Contains(t, run, flag+"=")
		code, _, stderr := processor(t, nil, "demo", flag, "1")
		require.Equal(t, config.ExitNotCarriedOut, code)
		require.Contains(t, stderr, "a demo takes no "+flag+"; --redis URL")
	}
}
