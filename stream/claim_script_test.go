package stream

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// took is a reply of claim.lua or recover.lua, readable.
type took struct {
	entries []string // ID and value
	counts  []int64
	gone    int64
}

func (s bench) parse(r *reply) took {
	s.t.Helper()
	parsed, err := (&subscription{stream: "in"}).parseTaken(r)
	require.NoError(s.t, err)
	out := took{counts: parsed.counts, gone: parsed.gone}
	for _, e := range parsed.entries {
		v, ok := e.Fields.Get("f")
		require.True(s.t, ok)
		require.NoError(s.t, e.Fields.Check())
		require.Equal(s.t, e.ID.String(), v)
		out.entries = append(out.entries, v)
	}
	return out
}

func (s bench) sub() *subscription {
	return &subscription{
		client: s.client, stream: "in",
		cfg: SubscriberConfig{Group: "g", Consumer: "me"}.withDefaults(),
	}
}

func (s bench) eval(script string, args ...any) reply {
	s.t.Helper()
	raw, err := sendRaw(s.ctx, s.client, nil, 3, append([]any{"EVAL", script, 2, "in", "totals", "g", "me"}, args...)...)
	require.NoError(s.t, err)
	r := reply{raw}
	_, err = r.array()
	require.NoError(s.t, err)
	return r
}

func (s bench) claim(minIdle int, cursor string, n int) (string, took) {
	s.t.Helper()
	r := s.eval(claimLua, minIdle, cursor, n)
	next, err := r.str()
	require.NoError(s.t, err)
	return string(next), s.parse(&r)
}

func TestClaim(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b)
		s.add("1-1", "1-2", "1-3", "1-4")
		s.read("dead", 4)

		_, got := s.claim(60_000, "0-0", 10)
		require.Empty(t, got.entries, "not idle for long enough")

		cursor, got := s.claim(0, "0-0", 2)
		require.Equal(t, took{entries: []string{"1-1", "1-2"}, counts: []int64{2, 2}}, got)
		require.NotEqual(t, "0-0", cursor)
		cursor, got = s.claim(0, cursor, 10)
		require.Equal(t, took{entries: []string{"1-3", "1-4"}, counts: []int64{2, 2}}, got)
		require.Equal(t, "0-0", cursor)
		require.Equal(t, []string{"1-1 me", "1-2 me", "1-3 me", "1-4 me"}, s.pending())
		require.Empty(t, s.totals())

		if !s.real {
			return // miniredis keeps no trace of what was trimmed while pending
		}
		s.client.XTrimMinID(s.ctx, "in", "1-3")
		_, got = s.claim(0, "0-0", 10)
		require.Equal(t, took{entries: []string{"1-3", "1-4"}, counts: []int64{3, 3}, gone: 2}, got)
		_, got = s.claim(0, "0-0", 10)
		require.Zero(t, got.gone)
		require.Equal(t, map[string]string{"trimmed:g": "2"}, s.totals(), "counted once")
	})
}

func TestRecover(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b, "1-1", "1-2", "1-3", "1-4")
		s.steal("1-2")
		s.client.XAck(s.ctx, "in", "g", "1-3")
		r := s.eval(recoverLua, "1-1", "1-2", "1-3", "1-4", "1-5")
		require.Equal(t, took{entries: []string{"1-1", "1-4"}, counts: []int64{1, 1}}, s.parse(&r), "fetching again is no delivery")
		require.Equal(t, []string{"1-1 me", "1-2 other", "1-4 me"}, s.pending())
		if !s.real {
			return
		}
		s.client.XDel(s.ctx, "in", "1-4")
		r = s.eval(recoverLua, "1-1", "1-4")
		require.Equal(t, took{entries: []string{"1-1"}, counts: []int64{1}, gone: 1}, s.parse(&r))
		require.Equal(t, []string{"1-1 me", "1-2 other"}, s.pending())
		require.Equal(t, map[string]string{"trimmed:g": "1"}, s.totals())
	})
}

// TestEvalFallsBack: a server that does not know the script is sent all of it.
func TestEvalFallsBack(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b, "1-1")
		for range 3 {
			require.NoError(t, s.client.ScriptFlush(s.ctx).Err())
			_, err := s.sub().eval(s.ctx, claimScript, "g", "me", 0, "0-0", 10)
			require.NoError(t, err)
		}
	})
}
