package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/logtest"
	"heatobserver/internal/redistest"
)

// world is a Redis with commands that are run against it.
type world struct {
	t       *testing.T
	rdb     *redis.Client
	environ []string
}

func newWorld(t *testing.T) *world {
	server := redistest.Start(t)
	return &world{t: t, rdb: server.Client(), environ: append([]string{"REDIS_URL=" + server.URL()}, usual...)}
}

// does carries out a command that must end with this code.
func (w *world) does(code int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	got, stdout, stderr := processor(w.t, w.environ, args...)
	require.Equal(w.t, code, got, "%s\n%s\n%s", args, stdout, stderr)
	return stdout, stderr
}

func (w *world) do(args ...any) {
	w.t.Helper()
	require.NoError(w.t, w.rdb.Do(w.t.Context(), args...).Err())
}

// dead parks what the observer would.
func (w *world) dead(id, reason, group, entryID, errorText, raw string) {
	w.t.Helper()
	w.do("XADD", "quantum:stream:apply.heat.dead", id, "reason", reason, "error", errorText, "stream", "quantum:stream:apply.plan",
		"group", group, "entry_id", entryID, "failures", "1", "ts_epoch", "1700000000", "raw", raw)
}

// changing is what differs from run to run in an answer: ages, times and IDs of now.
var changing = regexp.MustCompile(`("time": |_seconds": )[^,\n]+`)

func steady(s string) string { return changing.ReplaceAllString(s, "${1}0") }

func TestDeadletterCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.dead("1700000000000-0", "no_symbol", "p28_early", "1699999999000-0", "no symbol", `{"plan_id":"p1","R_net":"1.5"}`)
	w.dead("1700000001000-0", "bad_field", "p28_late", "1699999999000-1", "plan_id has \x1b[31mcontrol\u009b characters",
		`{"plan_id":"\u001b[2J","qty":{"b64":"/w=="},"symbol":"S"}`)
	w.dead("1700000002000-0", "too_large", "p28_late", "1699999999000-2", "too large", `{"plan_id":{"cut":"QUFB","bytes":99999},"_left_out":2}`)

	for name, args := range map[string][]string{
		"deadletter-list.txt":  {"deadletter", "list"},
		"deadletter-list.json": {"deadletter", "list", "--json", "--reason", "bad_field"},
		"deadletter-show.txt":  {"deadletter", "show", "1700000001000-0"},
		"deadletter-show.json": {"deadletter", "show", "1700000002000-0", "--json"},
		"redrive-plan.txt":     {"deadletter", "redrive", "1700000000000-0", "--dry-run"},
		"purge-plan.json":      {"deadletter", "purge", "--older-than", "24h", "--json"},
	} {
		stdout, stderr := w.does(0, args...)
		require.Empty(t, stderr, args)
		require.NotContains(t, stdout, "\x1b", args)
		require.NotContains(t, stdout, "\u009b", args)
		golden(t, name, stdout)
	}
	stdout, _ := w.does(0, "deadletter", "list", "--json", "--group", "p28_late", "--to", "2023-11-14T22:13:22Z")
	var list struct {
		Total       int `json:"total"`
		DeadLetters []struct {
			ID string `json:"id"`
		} `json:"dead_letters"`
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &list))
	require.Equal(t, 3, list.Total)
	require.Len(t, list.DeadLetters, 1)

	w.does(1, "deadletter", "show", "1-1")
	w.does(2, "deadletter", "show", "x")
	w.does(2, "deadletter", "list", "--from", "yesterday")
	w.does(2, "deadletter", "redrive")
	w.does(2, "deadletter", "redrive", "--all", "1-1")
	w.does(2, "deadletter", "redrive", "--all", "--set", "=x")
	w.does(2, "deadletter", "purge")

	stdout, stderr := w.does(2, "deadletter", "redrive", "--all", "--reason", "no_symbol")
	require.Contains(t, stdout, "plan: 1 would be redriven")
	require.Contains(t, stderr, "add --yes to redrive 1 dead letters")
	require.EqualValues(t, 3, w.rdb.XLen(t.Context(), "quantum:stream:apply.heat.dead").Val())

	stdout, stderr = w.does(1, "deadletter", "redrive", "--all", "--yes", "--set", "symbol=A=B,C")
	require.Contains(t, stdout, "2 redriven, 1 refused")
	require.Contains(t, stderr, "1 dead letters were refused")
	values := w.rdb.XRange(t.Context(), "quantum:stream:apply.heat.redrive", "-", "+").Val()[0].Values
	require.Equal(t, "A=B,C", values["symbol"])

	w.does(0, "deadletter", "purge", "--all")
	require.EqualValues(t, 1, w.rdb.XLen(t.Context(), "quantum:stream:apply.heat.dead").Val(), "a plan deletes nothing")
	w.does(0, "deadletter", "purge", "--all", "--execute")
	require.Zero(t, w.rdb.XLen(t.Context(), "quantum:stream:apply.heat.dead").Val())
	w.does(1, "deadletter", "redrive", "1700000002000-0")
	w.does(1, "deadletter", "purge", "1700000002000-0")
}

func TestGroupCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const plans = "quantum:stream:apply.plan"
	now := time.Now()
	for i := range 4 {
		w.do("XADD", plans, fmt.Sprintf("%d-0", now.Add(time.Duration(i-4)*time.Hour).UnixMilli()), "plan_id", "p", "symbol", "S")
	}
	w.do("XGROUP", "CREATE", plans, "p28_late", "0")
	w.do("XREADGROUP", "GROUP", "p28_late", "c\x1b[31m", "COUNT", 3, "STREAMS", plans, ">")

	stdout, _ := w.does(0, "group", "show")
	require.Contains(t, stdout, `c\x1b[31m`)
	require.Contains(t, stdout, "p28_early of quantum:stream:apply.plan does not exist")
	stdout, _ = w.does(0, "group", "set", "--group", "late", "-150m", "--json")
	var move struct {
		Executed bool `json:"executed"`
		Again    struct {
			Count int `json:"count"`
		} `json:"read_again"`
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &move))
	require.False(t, move.Executed)
	require.Equal(t, 1, move.Again.Count)
	stdout, _ = w.does(0, "group", "set", "-150m", "--group", "late", "--execute")
	require.Contains(t, stdout, "1 of those read again are older than the dedupe TTL")
	require.Contains(t, stdout, "done")
	stdout, _ = w.does(0, "group", "skip-to-now", "--group", "p28_late", "--execute")
	require.Contains(t, stdout, "passed over  2 entries")

	w.does(1, "group", "set", "--group", "early", "0")
	w.does(2, "group", "set", "--group", "heat_gate", "0")
	w.does(2, "group", "set", "--group", "late", "--stream", "other", "0")
	w.does(2, "group", "set", "--group", "late", "soon")
	_, stderr := w.does(1, "group", "delete-consumer", "--group", "late", "--execute", "c\x1b[31m")
	require.Contains(t, stderr, "it has pending entries")
	w.do("XGROUP", "CREATECONSUMER", plans, "p28_late", "heir")
	stdout, _ = w.does(0, "group", "delete-consumer", "--group", "late", "--claim-to", "heir", "--execute", "c\x1b[31m")
	require.Contains(t, stdout, "3 entries handed over")
}

func TestStatusCommand(t *testing.T) {
	w := newWorld(t)
	stdout, _ := w.does(1, "status")
	require.Contains(t, stdout, "STUCK: group p28_early of quantum:stream:apply.plan does not exist")
	require.NotContains(t, stdout, "\n\n\n", "no room is left for consumers when there are none")
	stdout, _ = w.does(1, "status", "--json")
	golden(t, "status-nothing.json", steady(stdout))
	w.does(2, "status", "--every", "0s")

	cfg, _, err := config.Load(config.Sources{Environ: append(w.environ, "P28_HTTP_ADDR=127.0.0.1:0", "P28_BLOCK_MS=50")})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, cfg, app.Options{
			Logger: slog.New(slog.DiscardHandler), Started: func(net.Addr) { close(started) },
		})
	}()
	select {
	case <-started:
	case <-time.After(20 * time.Second):
		t.Error("the observer did not start")
	}
	// A consumer is there once its first read has come to Redis.
	require.Eventually(t, func() bool { code, _, _ := processor(t, w.environ, "status"); return code == 0 }, 20*time.Second, 20*time.Millisecond)
	stdout, _ = w.does(0, "status")
	require.Contains(t, stdout, "nothing is stuck")
	cancel()
	require.NoError(t, <-ended)

	w.do("XADD", "quantum:stream:apply.plan", "*", "plan_id", "p", "symbol", "S")
	stdout, _ = w.does(1, "status")
	require.Contains(t, stdout, "no live consumer while 1 entries are unread")

	_, stderr := (&world{t: t, environ: append([]string{"REDIS_URL=redis://127.0.0.1:1"}, usual...)}).does(2, "status")
	require.Contains(t, stderr, "reach Redis at 127.0.0.1:1/0")
	(&world{t: t, environ: []string{"REDIS_PORT=one"}}).does(78, "status")
}

func TestStatusWatchEndsWithItsContext(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, out := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"status", "--watch", "--every", "10ms"}, &system{stdout: out, stderr: io.Discard, environ: w.environ})
		out.Close()
	}()
	seen, buffer := "", make([]byte, 1<<10)
	for strings.Count(seen, "STUCK") < 5 { // two groups a look
		n, err := r.Read(buffer)
		require.NoError(t, err)
		seen += string(buffer[:n])
	}
	cancel()
	_, err := io.Copy(io.Discard, r)
	require.NoError(t, err)
	require.Equal(t, 1, <-code)
}

// What was done before an error is told beside it.
func TestCommandsThatFailMidway(t *testing.T) {
	const plans, dead = "quantum:stream:apply.plan", "quantum:stream:apply.heat.dead"
	server := redistest.Start(t, redistest.WithACL("hindered", "on", ">pw", "~*", "&*", "+@all", "-xrange", "-publish"))
	w := &world{t: t, rdb: server.Client(), environ: append([]string{"REDIS_URL=" + server.URLFor("hindered", "pw")}, usual...)}

	w.do("XADD", plans, "1-0", "plan_id", "p", "symbol", "S")
	w.do("XGROUP", "CREATE", plans, "p28_early", "0")
	w.do("XREADGROUP", "GROUP", "p28_early", "gone", "STREAMS", plans, ">")
	w.do("XGROUP", "CREATECONSUMER", plans, "p28_early", "heir")
	stdout, stderr := w.does(1, "group", "delete-consumer", "gone", "--group", "early", "--claim-to", "heir", "--execute")
	require.Contains(t, stdout, "removed; 1 entries handed over")
	require.Contains(t, stderr, "the workers were not told to claim")
	_, stderr = w.does(1, "group", "set", "--group", "early", "0", "--execute")
	require.Contains(t, stderr, "is moved from 1-0 to 0-0, but")

	w.environ = append(w.environ, "REDIS_URL="+server.URL(), "P28_PLAN_STREAMS="+plans+":{k}*2")
	pipe := w.rdb.Pipeline()
	for range 100 { // as many as are deleted at once
		pipe.Do(t.Context(), "XADD", dead+":{0}", "*", "reason", "no_symbol", "group", "p28_early", "raw", "{}")
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	w.do("SET", dead+":{1}", "no stream")
	stdout, stderr = w.does(2, "deadletter", "purge", "--all", "--execute")
	require.Contains(t, stdout, "deleted 100 of 100 dead letters")
	require.Contains(t, stderr, "WRONGTYPE")
	stdout, _ = w.does(2, "deadletter", "purge", "--all", "--execute")
	require.Empty(t, stdout, "nothing was deleted before the error")
}

// TestStatusWatchSaysThatRedisIsLost goes on when Redis is there again, and says no error twice when it ends.
func TestStatusWatchSaysThatRedisIsLost(t *testing.T) {
	server := redistest.Start(t)
	for look, args := range map[string][]string{"STUCK": {}, `"stuck"`: {"--json"}} {
		proxy := redistest.NewProxy(t, server.Addr())
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		stdout, stderr := &logtest.Log{}, &logtest.Log{}
		environ := append([]string{"REDIS_URL=redis://" + proxy.Addr()}, usual...)
		code := make(chan int, 1)
		go func() {
			args := append([]string{"status", "--watch", "--every", "10ms"}, args...)
			code <- run(ctx, args, &system{stdout: stdout, stderr: stderr, environ: environ})
		}()
		grows := func(o *logtest.Log, text string) {
			before := len(o.Lines(text))
			require.Eventually(t, func() bool { return len(o.Lines(text)) >= before+2 }, time.Minute, 5*time.Millisecond, text)
		}
		grows(stdout, look)
		require.Empty(t, stderr.Lines("processor: "))
		proxy.Refuse(true)
		proxy.Cut()
		grows(stderr, "processor: ")
		proxy.Refuse(false)
		grows(stdout, look)
		cancel()
		require.Equal(t, 1, <-code, look)
	}
}
