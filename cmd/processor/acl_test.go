package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/logtest"
	"heatobserver/internal/redistest"
)

// The users of deploy/redis/users.acl, each with a password of its own.
var aclUsers = []string{"heat-worker", "heat-replay", "heat-operator"}

// newACLServer is a server with the users of deploy/redis/users.acl, switched on. The default user stays all-powerful, for
// the test itself.
func newACLServer(t *testing.T) *redistest.Server {
	t.Helper()
	shipped, err := os.ReadFile("../../deploy/redis/users.acl")
	require.NoError(t, err)
	return newServerWithUsers(t, string(shipped))
}

// newServerWithUsers is a server with the three users of an ACL file.
func newServerWithUsers(t *testing.T, text string, opts ...redistest.Option) *redistest.Server {
	t.Helper()
	for _, user := range aclUsers {
		head := "user " + user + " off resetpass "
		require.Contains(t, text, head, "as shipped nobody can log in")
		text = strings.Replace(text, head, "user "+user+" on resetpass >pw-"+user+" ", 1)
	}
	path := filepath.Join(t.TempDir(), "users.acl")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return redistest.Start(t, append(opts, redistest.WithConfig("aclfile", path))...)
}

// environ is the environment of a process that connects as one of the users.
func aclEnviron(server *redistest.Server, user string) []string {
	return append([]string{
		"REDIS_URL=" + server.URLFor(user, "pw-"+user), "P28_HTTP_ADDR=127.0.0.1:0", "P28_BLOCK_MS=50", "P28_LOG_FORMAT=text",
	}, usual...)
}

// requireNothingDenied looks into the log that Redis keeps of every denial, those inside scripts included.
func requireNothingDenied(t *testing.T, rdb *redis.Client) {
	t.Helper()
	entries, err := rdb.ACLLog(t.Context(), 100).Result()
	require.NoError(t, err)
	for _, e := range entries {
		t.Errorf("denied to %s: %s %q (%s)", e.Username, e.Reason, e.Object, e.Context)
	}
}

// background is `processor …` under way.
type background struct {
	t    *testing.T
	stop context.CancelFunc
	logs *logtest.Log
	code chan int
}

// launch runs a command line until end.
func launch(t *testing.T, environ []string, args ...string) *background {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	b := &background{t: t, stop: cancel, logs: &logtest.Log{}, code: make(chan int, 1)}
	go func() { b.code <- run(ctx, args, &system{stdout: io.Discard, stderr: b.logs, environ: environ}) }()
	t.Cleanup(cancel)
	return b
}

// end drains and requires that it went well.
func (b *background) end() {
	b.t.Helper()
	b.stop()
	select {
	case code := <-b.code:
		require.Zero(b.t, code, "%s", b.logs)
	case <-time.After(30 * time.Second):
		b.t.Fatalf("it did not end:\n%s", b.logs)
	}
}

var servedAt = regexp.MustCompile(`INF observing .*http=(\S+)`)

// addr waits for the address of metrics and health, from the log.
func (b *background) addr() (addr string) {
	b.t.Helper()
	eventually(b.t, "the observer reads", func() error {
		m := servedAt.FindStringSubmatch(b.logs.String())
		if m == nil {
			return fmt.Errorf("it does not say so:\n%s", b.logs)
		}
		addr = m[1]
		return nil
	})
	return addr
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// get fetches a page without keeping the connection.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// TestWorkerACL runs an observer as the worker of the ACL file through all that a worker does: new groups, observations
// with and without heat, announcements, a dead letter, a redriven entry, a lost group, a drain with something in hand that
// another takes over.
func TestWorkerACL(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	rdb := server.Client()
	environ := append(aclEnviron(server, "heat-worker"), "P28_LATE_OBS_MAX_WAIT_MS=60000", "P28_THROTTLE_FLEET_PER_SEC=1000", "P28_CLAIM_MIN_IDLE_MS=1000")
	do := func(args ...any) { require.NoError(t, rdb.Do(t.Context(), args...).Err(), args) }
	observed := func(n int64) {
		t.Helper()
		eventually(t, "observations", func() error {
			if got := rdb.XLen(t.Context(), "quantum:stream:apply.heat.observed").Val(); got != n {
				return fmt.Errorf("%d in place of %d", got, n)
			}
			return nil
		})
	}
	plan := func(id string) { do("XADD", "quantum:stream:apply.plan", "*", "plan_id", id, "symbol", "S") }
	heat := func(id string) { do("HSET", "quantum:harvest:heat:by_plan:"+id, "heat_level", "hot", "ts_epoch", "1") }

	first := launch(t, environ, "run")
	addr := first.addr()
	eventually(t, "announcements", func() error {
		if _, body := get(t, "http://"+addr+"/metrics"); !strings.Contains(body, "heat_observer_notifications_healthy 1") {
			return fmt.Errorf("none:\n%s", first.logs)
		}
		return nil
	})
	heat("a")
	plan("a")
	observed(2)
	do("XADD", "quantum:stream:apply.plan", "*", "plan_id", "nothing else") // a dead letter of each group
	eventually(t, "dead letters", func() error {
		if got := rdb.XLen(t.Context(), "quantum:stream:apply.heat.dead").Val(); got != 2 {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
	code, stdout, stderr := processor(t, aclEnviron(server, "heat-operator"), "deadletter", "redrive", "--all", "--yes", "--set", "symbol=S")
	require.Zero(t, code, "%s%s", stdout, stderr)
	observed(3) // early; late waits
	heat("nothing else")
	observed(4)
	do("XGROUP", "DESTROY", "quantum:stream:apply.plan", "p28_late")
	heat("b")
	plan("b")
	observed(6)
	plan("c")
	observed(7) // early; late waits for heat that is not there, and is handed over
	second := launch(t, environ, "run")
	second.addr()
	first.end()
	heat("c")
	observed(8)
	status, body := get(t, "http://"+second.addr()+"/readyz")
	require.Equal(t, 200, status, body)
	for _, path := range []string{"summary", "workers", "plans?plan_id=a", "deadletters", "what-if"} { // whose collector reads everything
		status, body := get(t, "http://"+second.addr()+"/api/v1/"+path)
		require.Equal(t, 200, status, body)
		require.NotContains(t, body, `"reachable":false`)
	}
	require.NotContains(t, second.logs.String(), "NOPERM")
	second.end()
	requireNothingDenied(t, rdb)
}

// TestOperatorACL carries out every command that looks at a running system or changes it, as the operator of the ACL file.
func TestOperatorACL(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	rdb := server.Client()
	do := func(args ...any) { require.NoError(t, rdb.Do(t.Context(), args...).Err(), args) }
	does := func(code int, args ...string) string {
		t.Helper()
		got, stdout, stderr := processor(t, aclEnviron(server, "heat-operator"), args...)
		require.Equal(t, code, got, "%s\n%s%s", args, stdout, stderr)
		return stdout
	}
	const plans, dead = "quantum:stream:apply.plan", "quantum:stream:apply.heat.dead"
	do("XADD", plans, "1-1", "plan_id", "p", "symbol", "S")
	do("XADD", plans, "1-2", "plan_id", "q", "symbol", "S")
	for _, group := range []string{"p28_early", "p28_late"} {
		do("XGROUP", "CREATE", plans, group, "0")
		do("XREADGROUP", "GROUP", group, "old", "COUNT", "1", "STREAMS", plans, ">")
		do("XGROUP", "CREATECONSUMER", plans, group, "other")
	}
	for i := range 3 {
		do("XADD", dead, fmt.Sprintf("%d-0", i+1), "reason", "no_symbol", "error", "e", "stream", plans, "group", "p28_late",
			"entry_id", "1-1", "failures", "1", "ts_epoch", "1", "raw", `{"plan_id":"p"}`)
	}
	does(1, "status", "--json") // everything is stuck, and it says so
	does(0, "deadletter", "list")
	does(0, "deadletter", "show", "1-0")
	does(0, "deadletter", "redrive", "1-0", "--yes", "--set", "symbol=S")
	does(0, "deadletter", "redrive", "2-0", "--yes", "--set", "symbol=S") // the redrive stream is there now
	does(0, "deadletter", "purge", "--all", "--execute")
	require.Zero(t, rdb.XLen(t.Context(), dead).Val())
	require.EqualValues(t, 2, rdb.XLen(t.Context(), "quantum:stream:apply.heat.redrive").Val())
	does(0, "group", "show", "--json")
	does(0, "group", "set", "0", "--group", "late", "--execute")
	does(0, "group", "skip-to-now", "--group", "early", "--execute")
	does(0, "group", "delete-consumer", "old", "--group", "late", "--claim-to", "other", "--execute")
	requireNothingDenied(t, rdb)
}

// aclKeys are keys of every kind that there is, and channels.
var aclKeys = map[string]string{
	"plan":     "quantum:stream:apply.plan",
	"redrive":  "quantum:stream:apply.heat.redrive",
	"decision": "quantum:stream:harvest.heat.decision",
	"observed": "quantum:stream:apply.heat.observed",
	"dead":     "quantum:stream:apply.heat.dead",
	"heat":     "quantum:harvest:heat:by_plan:p",
	"dedupe":   "quantum:dedupe:p28:create_apply_plan:p",
	"totals":   "quantum:p28:totals",
	"cursor":   "quantum:p28:cursor:p28_late",
	"throttle": "quantum:p28:throttle:late",
	"worker":   "quantum:p28:worker:host-1-2",
	"nudge":    "quantum:p28:nudge",
	"proposal": "quantum:stream:harvest.proposal",
	"foreign":  "somebody:else",
}

// TestACLRights writes down all that each user may do, for every command that the server knows and a key of every kind:
// whatever is not in the golden file is refused.
func TestACLRights(t *testing.T) {
	t.Parallel()
	server := newACLServer(t)
	rdb := server.Client()
	var text strings.Builder
	commands := serverCommands(t, rdb)
	require.Greater(t, len(commands), 300, "subcommands included")
	for _, user := range aclUsers {
		fmt.Fprintf(&text, "%s\n", user)
		for _, name := range slices.Sorted(maps.Keys(commands)) {
			if exempt[name] {
				continue
			}
			var may []string
			if !commands[name].keys {
				if permitted(t, rdb, user, commands[name].form("x")) {
					may = append(may, "-")
				}
			} else {
				for _, short := range slices.Sorted(maps.Keys(aclKeys)) {
					if permitted(t, rdb, user, commands[name].form(aclKeys[short])) {
						may = append(may, short)
					}
				}
			}
			if len(may) > 0 {
				fmt.Fprintf(&text, "  %-18s %s\n", name, strings.Join(may, " "))
			}
		}
	}
	golden(t, "acl-rights.txt", text.String())
}

// exempt are the commands that Redis lets anybody send, rights or not.
var exempt = map[string]bool{"auth": true, "hello": true, "quit": true, "reset": true}

// command is a command of the server, as far as rights are concerned.
type command struct {
	words []string
	arity int
	keys  bool // or channels
}

// forms are the commands whose keys Redis finds only where the rest of the arguments is in order.
var forms = map[string]string{
	"xread":      "STREAMS KEY 0",
	"xreadgroup": "GROUP g c STREAMS KEY >",
	"eval":       "x 1 KEY", "evalsha": "x 1 KEY", "eval_ro": "x 1 KEY", "evalsha_ro": "x 1 KEY", "fcall": "x 1 KEY", "fcall_ro": "x 1 KEY",
}

// form is a call of the command with the key wherever one could stand.
func (c command) form(key string) []any {
	args := []any{}
	for _, w := range c.words {
		args = append(args, w)
	}
	if form, ok := forms[strings.Join(c.words, "|")]; ok {
		for _, w := range strings.Fields(form) {
			args = append(args, strings.Replace(w, "KEY", key, 1))
		}
		return args
	}
	for len(args) < max(c.arity, -c.arity) {
		args = append(args, key)
	}
	return args
}

// serverCommands asks the server for everything that it knows, subcommands as "xinfo|stream".
func serverCommands(t *testing.T, rdb *redis.Client) map[string]command {
	t.Helper()
	all := map[string]command{}
	var add func(list []any)
	add = func(list []any) {
		for _, item := range list {
			info := item.([]any)
			name := info[0].(string)
			flags := fmt.Sprint(info[2])
			subs, _ := info[9].([]any)
			if len(subs) > 0 {
				add(subs)
				continue
			}
			specs, _ := info[8].([]any)
			// A pattern is compared as a name would be: PSUBSCRIBE x* needs the right to x* itself.
			channels := slices.Contains([]string{"subscribe", "ssubscribe", "publish", "spublish", "psubscribe"}, name)
			all[name] = command{
				words: strings.Split(name, "|"), arity: int(info[1].(int64)),
				keys: len(specs) > 0 || channels || strings.Contains(flags, "movablekeys"),
			}
		}
	}
	list, err := rdb.Do(t.Context(), "COMMAND").Slice()
	require.NoError(t, err)
	add(list)
	return all
}

func permitted(t *testing.T, rdb *redis.Client, user string, call []any) bool {
	t.Helper()
	answer, err := rdb.Do(t.Context(), append([]any{"ACL", "DRYRUN", user}, call...)...).Text()
	require.NoError(t, err, call)
	return answer == "OK"
}
