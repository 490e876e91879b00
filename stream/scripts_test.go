package stream

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/embedded"
	"heatobserver/internal/redistest"
)

// backend is a Redis on which the scripts must keep their promises.
type backend struct {
	name   string
	real   bool // what miniredis lacks is tested on a real server alone
	client *redis.Client
	server *redistest.Server
}

func onBackends(t *testing.T, test func(t *testing.T, b backend)) {
	t.Run("redis", func(t *testing.T) {
		server := redistest.Start(t)
		test(t, backend{name: "redis", real: true, client: server.Client(), server: server})
	})
	t.Run("embedded", func(t *testing.T) {
		mini, err := embedded.Start()
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, mini.Close()) })
		client := redis.NewClient(&redis.Options{Addr: mini.Addr(), MaxRetries: -1})
		t.Cleanup(func() { require.NoError(t, client.Close()) })
		test(t, backend{name: "embedded", client: client})
	})
}

// bench is a stream with a group "g" and what a script's test needs around it.
type bench struct {
	t *testing.T
	backend
	ctx context.Context
}

// newBench empties the server, adds entries and has consumer "me" read them.
func newBench(t *testing.T, b backend, ids ...string) bench {
	s := bench{t: t, backend: b, ctx: t.Context()}
	require.NoError(t, b.client.FlushAll(s.ctx).Err())
	require.NoError(t, b.client.XGroupCreateMkStream(s.ctx, "in", "g", "0").Err())
	s.add(ids...)
	if len(ids) > 0 {
		s.read("me", len(ids))
	}
	return s
}

func (s bench) add(ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		require.NoError(s.t, s.client.XAdd(s.ctx, &redis.XAddArgs{Stream: "in", ID: id, Values: []string{"f", id}}).Err())
	}
}

func (s bench) read(consumer string, n int) {
	s.t.Helper()
	r, err := s.client.XReadGroup(s.ctx, &redis.XReadGroupArgs{
		Group: "g", Consumer: consumer, Streams: []string{"in", ">"}, Count: int64(n), Block: -1,
	}).Result()
	require.NoError(s.t, err)
	require.Len(s.t, r[0].Messages, n)
}

func (s bench) steal(id string) {
	s.t.Helper()
	require.NoError(s.t, s.client.XClaimJustID(s.ctx, &redis.XClaimArgs{
		Stream: "in", Group: "g", Consumer: "other", Messages: []string{id},
	}).Err())
}

func (s bench) pending() []string {
	s.t.Helper()
	list, err := s.client.XPendingExt(s.ctx, &redis.XPendingExtArgs{Stream: "in", Group: "g", Start: "-", End: "+", Count: 1000}).Result()
	require.NoError(s.t, err)
	ids := []string{}
	for _, p := range list {
		ids = append(ids, p.ID+" "+p.Consumer)
	}
	return ids
}

func (s bench) totals() map[string]string {
	s.t.Helper()
	m, err := s.client.HGetAll(s.ctx, "totals").Result()
	require.NoError(s.t, err)
	return m
}

var answerFields = []string{"a", "b"}

// commit answers entries; the dedupe key of an entry is "d:<id>" unless it says otherwise after a "=".
func (s bench) commit(ids ...string) ([]string, error) {
	keys := []string{"in", "out", "totals"}
	args := []any{"g", "me", 0, time.Minute.Milliseconds(), "", ""}
	var least, most entry.ID
	for i, id := range ids {
		id, dedupe, _ := strings.Cut(id, "=")
		parsed, err := entry.ParseID(id)
		require.NoError(s.t, err)
		if i == 0 || parsed.Compare(least) < 0 {
			least, args[4] = parsed, id
		}
		if i == 0 || parsed.Compare(most) > 0 {
			most, args[5] = parsed, id
		}
		if dedupe == "" {
			dedupe = id
		}
		keys = append(keys, "d:"+dedupe)
		args = append(args, id, "A"+id, "B")
	}
	return newCommitScript(answerFields).Run(s.ctx, s.client, keys, args...).StringSlice()
}

func (s bench) answers() []string {
	s.t.Helper()
	list, err := s.client.XRange(s.ctx, "out", "-", "+").Result()
	require.NoError(s.t, err)
	out := []string{}
	for _, m := range list {
		require.Len(s.t, m.Values, 2)
		require.Equal(s.t, "B", m.Values["b"])
		out = append(out, strings.TrimPrefix(m.Values["a"].(string), "A"))
	}
	return out
}

// now is an entry ID of the present, which the dedupe TTL covers.
func now(seq int) string { return fmt.Sprintf("%d-%d", time.Now().UnixMilli(), seq) }

func TestCommitOutcomes(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		young := now(1)
		for _, c := range []struct {
			name     string
			prepare  func(s bench)
			id, want string
			again    string // what a repetition answers
			answers  []string
			pending  []string
			totals   map[string]string
		}{
			{name: "written", id: young, want: "W", again: "U", answers: []string{young}},
			{
				name: "duplicate", id: young, want: "D", again: "U",
				prepare: func(s bench) { s.client.Set(s.ctx, "d:"+young, "1", time.Minute) },
				totals:  map[string]string{"duplicate:g": "1"},
			},
			{
				name: "fenced: claimed by another", id: young, want: "F", again: "F",
				prepare: func(s bench) { s.steal(young) }, pending: []string{young + " other"},
			},
			{
				name: "fenced: claimed by another and answered", id: young, want: "F", again: "F",
				prepare: func(s bench) { s.steal(young); s.client.Set(s.ctx, "d:"+young, "1", time.Minute) },
				pending: []string{young + " other"},
			},
			{
				name: "fenced: pending nowhere and too old for its dedupe key", id: "1-1", want: "F", again: "F",
				prepare: func(s bench) { s.client.XAck(s.ctx, "in", "g", "1-1") },
			},
			{
				name: "trimmed: pending nowhere and not answered", id: young, want: "T", again: "U",
				prepare: func(s bench) { s.client.XAck(s.ctx, "in", "g", young) },
				answers: []string{young}, totals: map[string]string{"rescued:g": "1"},
			},
			{
				name: "trimmed: the group is gone", id: young, want: "T", again: "U",
				prepare: func(s bench) { s.client.XGroupDestroy(s.ctx, "in", "g") },
				answers: []string{young}, totals: map[string]string{"rescued:g": "1"},
			},
			{
				name: "trimmed: the stream is gone", id: young, want: "T", again: "U",
				prepare: func(s bench) { s.client.Del(s.ctx, "in") },
				answers: []string{young}, totals: map[string]string{"rescued:g": "1"},
			},
			{
				name: "unknown: acknowledged and answered", id: young, want: "U", again: "U",
				prepare: func(s bench) {
					s.client.XAck(s.ctx, "in", "g", young)
					s.client.Set(s.ctx, "d:"+young, "1", time.Minute)
				},
			},
			{
				name: "a deleted entry that is still pending is answered", id: young, want: "W", again: "U",
				prepare: func(s bench) {
					if s.real { // miniredis drops what is pending with the entry
						s.client.XDel(s.ctx, "in", young)
					}
				},
				answers: []string{young},
			},
			{
				name: "counting fails silently", id: young, want: "D", again: "U",
				prepare: func(s bench) {
					s.client.Set(s.ctx, "d:"+young, "1", time.Minute)
					s.client.Set(s.ctx, "totals", "no hash", 0)
				},
			},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := newBench(t, b, c.id)
				if c.prepare != nil {
					c.prepare(s)
				}
				for i, want := range []string{c.want, c.again} {
					got, err := s.commit(c.id)
					require.NoError(t, err)
					require.Equal(t, []string{want}, got, "attempt %d", i+1)
				}
				require.ElementsMatch(t, c.answers, s.answers())
				if s.client.Type(s.ctx, "totals").Val() != "string" {
					if c.totals == nil {
						c.totals = map[string]string{}
					}
					require.Equal(t, c.totals, s.totals())
				}
				if n := s.client.XInfoGroups(s.ctx, "in").Val(); len(n) > 0 {
					require.ElementsMatch(t, c.pending, s.pending())
				}
				if c.want == "W" || c.want == "T" {
					ttl := s.client.PTTL(s.ctx, "d:"+c.id).Val()
					require.Greater(t, ttl, 50*time.Second)
					require.LessOrEqual(t, ttl, time.Minute)
				}
			})
		}
	})
}

// TestCommitFailures: a write that fails leaves nothing done and the entry pending, and works once its cause is gone.
func TestCommitFailures(t *testing.T) {
	server := redistest.Start(t)
	primary := redistest.Start(t)
	b := backend{real: true, client: server.Client(), server: server}
	id := now(1)
	for _, c := range []struct {
		name        string
		harm, mend  func(s bench)
		says        string
		wholeScript bool // the script as a whole fails
	}{
		{
			name: "the observed stream is of another type", says: "WRONGTYPE",
			harm: func(s bench) { s.client.Set(s.ctx, "out", "x", 0) },
			mend: func(s bench) { s.client.Del(s.ctx, "out") },
		},
		{
			name: "out of memory", says: "OOM",
			harm: func(bench) { server.ConfigSet("maxmemory", "1") },
			mend: func(bench) { server.ConfigSet("maxmemory", "0") },
		},
		{
			name: "too few replicas for a write", says: "NOREPLICAS",
			harm: func(bench) { server.ConfigSet("min-replicas-to-write", "1") },
			mend: func(bench) { server.ConfigSet("min-replicas-to-write", "0") },
		},
		{
			name: "a script that the server has forgotten",
			harm: func(s bench) { require.NoError(t, s.client.ScriptFlush(s.ctx).Err()) },
			mend: func(bench) {},
		},
		{
			name: "the source stream is of another type", says: "WRONGTYPE", wholeScript: true,
			harm: func(s bench) { s.client.Rename(s.ctx, "in", "kept"); s.client.Set(s.ctx, "in", "x", 0) },
			mend: func(s bench) { s.client.Rename(s.ctx, "kept", "in") },
		},
		{
			name: "a read-only replica", says: "READONLY", wholeScript: true,
			harm: func(s bench) {
				s.client.Do(s.ctx, "MIGRATE", "127.0.0.1", strings.Split(primary.Addr(), ":")[1], "in", 0, 1000)
				server.Replica(primary)
			},
			mend: func(bench) { server.Promote() },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newBench(t, b, id)
			c.harm(s)
			got, err := s.commit(id)
			switch {
			case c.wholeScript:
				require.ErrorContains(t, err, c.says)
			case c.says != "":
				require.NoError(t, err)
				require.Contains(t, got[0], c.says)
			default:
				require.NoError(t, err)
				require.Equal(t, []string{"W"}, got)
				return
			}
			require.Zero(t, s.client.Exists(s.ctx, "d:"+id).Val(), "the dedupe key must not be set")
			c.mend(s)
			require.Equal(t, []string{id + " me"}, s.pending())
			got, err = s.commit(id)
			require.NoError(t, err)
			require.Equal(t, []string{"W"}, got)
			require.Equal(t, []string{id}, s.answers())
			require.Empty(t, s.pending())
		})
	}
}

// TestCommitBatch: each item of a batch meets its own fate, in one script, and sending it again changes nothing.
func TestCommitBatch(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		const size = 128
		base := time.Now().UnixMilli()
		ids := make([]string, size)
		for i := range ids {
			ids[i] = fmt.Sprintf("%d-%d", base, i+1)
		}
		s := newBench(t, b, ids...)
		items, want, again := make([]string, size), make([]string, size), make([]string, size)
		var answers, left []string
		for i, id := range ids {
			items[i], want[i], again[i] = id, "W", "U"
			switch i % 6 {
			case 1:
				s.client.Set(s.ctx, "d:"+id, "1", time.Minute)
				want[i] = "D"
			case 2:
				s.steal(id)
				want[i], again[i] = "F", "F"
				left = append(left, id+" other")
			case 3:
				s.client.XAck(s.ctx, "in", "g", id)
				want[i] = "T"
			case 4: // the same question as the item before the last, twice in one batch
				items[i], want[i] = id+"="+ids[i-4], "D"
			case 5:
				s.client.XAck(s.ctx, "in", "g", id)
				s.client.Set(s.ctx, "d:"+id, "1", time.Minute)
				want[i] = "U"
			}
			if want[i] == "W" || want[i] == "T" {
				answers = append(answers, id)
			}
		}
		for _, w := range [][]string{want, again} {
			got, err := s.commit(items...)
			require.NoError(t, err)
			require.Equal(t, w, got)
			require.Equal(t, answers, s.answers())
			require.Equal(t, left, s.pending())
		}
	})
}

// TestCommitAnyFields: without fixed names the one answer brings its own, also a name that would be Lua.
func TestCommitAnyFields(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		id := now(1)
		s := newBench(t, b, id)
		got, err := newCommitScript(nil).Run(s.ctx, s.client, []string{"in", "out", "totals", "d:x"},
			"g", "me", 10, 60000, id, id, id, "']] error('x') --", "1", "two", "2").StringSlice()
		require.NoError(t, err)
		require.Equal(t, []string{"W"}, got)
		r := s.client.XRange(s.ctx, "out", "-", "+").Val()
		require.Len(t, r, 1)
		require.Equal(t, map[string]any{"']] error('x') --": "1", "two": "2"}, r[0].Values)
	})
}

func TestLuaStringCannotBeLeft(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		for _, name := range []string{"a'b", `\`, "\x00\n\xff", "]]", "%s"} {
			got, err := b.client.Eval(t.Context(), "return "+luaString(name), nil).Text()
			require.NoError(t, err)
			require.Equal(t, name, got)
		}
	})
}
