package stream

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

func (s bench) settle(what string, ids ...any) int {
	s.t.Helper()
	n, err := settleScript.Run(s.ctx, s.client, []string{"in", "totals"}, append([]any{"g", "me", what}, ids...)...).Int()
	require.NoError(s.t, err)
	return n
}

func TestSettle(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b, "1-1", "1-2", "1-3", "1-4")
		s.steal("1-2")

		require.Equal(t, 1, s.settle("drop", "1-1", "1-2"), "only what is ours is dropped")
		require.Equal(t, []string{"1-2 other", "1-3 me", "1-4 me"}, s.pending())
		require.Equal(t, 0, s.settle("drop", "1-1", "1-2"), "a repetition does nothing")
		require.Equal(t, map[string]string{"dropped:g": "1"}, s.totals())

		require.Equal(t, 2, s.settle("ack", "1-2", "1-3"), "what was handled is acknowledged, whosever it is")
		require.Equal(t, []string{"1-4 me"}, s.pending())

		s.client.Set(s.ctx, "totals", "no hash", 0)
		require.Equal(t, 1, s.settle("drop", "1-4"), "counting fails silently")
		s.client.XGroupDestroy(s.ctx, "in", "g")
		require.Equal(t, 0, s.settle("ack", "1-4"))
		require.Equal(t, 0, s.settle("drop", "1-4"))
	})
}

func (s bench) park(id string) (string, error) {
	return deadScript.Run(s.ctx, s.client, []string{"in", "dead", "totals", "mark:" + id},
		"g", "me", id, 0, 60000, "no_symbol", "why", 3, `{"f":"x"}`, "in", id).Text()
}

func TestDead(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b, "1-1", "1-2", "1-3", "1-4")
		check := func(id, want string) {
			t.Helper()
			got, err := s.park(id)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
		check("1-1", "W")
		check("1-1", "D")
		s.steal("1-2")
		check("1-2", "F")
		s.client.XAck(s.ctx, "in", "g", "1-3")
		check("1-3", "U")
		require.Equal(t, []string{"1-2 other", "1-4 me"}, s.pending())

		// parked before, and read again from a group that was rebuilt
		s.client.Set(s.ctx, "mark:1-4", "1", time.Minute)
		check("1-4", "D")
		require.Equal(t, []string{"1-2 other"}, s.pending())
		require.Equal(t, map[string]string{"dead:g": "1"}, s.totals())

		dead := s.client.XRange(s.ctx, "dead", "-", "+").Val()
		require.Len(t, dead, 1)
		at, err := strconv.ParseInt(dead[0].Values["ts_epoch"].(string), 10, 64)
		require.NoError(t, err)
		require.InDelta(t, time.Now().Unix(), at, 5)
		delete(dead[0].Values, "ts_epoch")
		require.Equal(t, map[string]any{
			"reason": "no_symbol", "error": "why", "stream": "in", "group": "g", "entry_id": "1-1", "failures": "3", "raw": `{"f":"x"}`,
		}, dead[0].Values)

		// a dead-letter stream of another type: nothing done, still pending
		s.add("1-5")
		s.read("me", 1)
		s.client.Set(s.ctx, "dead", "x", 0)
		_, err = s.park("1-5")
		require.ErrorContains(t, err, "WRONGTYPE")
		require.Equal(t, []string{"1-2 other", "1-5 me"}, s.pending())
		require.Zero(t, s.client.Exists(s.ctx, "mark:1-5").Val())
	})
}

// TestMayNotLook: who may not see whose an entry is gets an error and settles nothing: that is no "pending nowhere".
func TestMayNotLook(t *testing.T) {
	server := redistest.Start(t, redistest.WithACL("blind", "on", ">secret", "~*", "&*", "+@all", "-xpending"))
	s := newBench(t, backend{real: true, client: server.Client(), server: server}, "1-1")
	blind := s
	blind.client = server.NewClient(func(o *redis.Options) { o.Username, o.Password = "blind", "secret" })
	_, err := blind.park("1-1")
	require.True(t, isReply(err), "park: %v", err)
	err = parkedScript.Run(s.ctx, blind.client, []string{"in", "totals", "mark:1-1"}, "g", "me", "1-1", 60000, "ask").Err()
	require.True(t, isReply(err), "park in steps: %v", err)
	err = settleScript.Run(s.ctx, blind.client, []string{"in", "totals"}, "g", "me", "drop", "1-1").Err()
	require.True(t, isReply(err), "drop: %v", err)
	require.Equal(t, []string{"1-1 me"}, s.pending())
	got, err := s.park("1-1")
	require.NoError(t, err)
	require.Equal(t, "W", got)
}

func (s bench) idle(id string) time.Duration {
	s.t.Helper()
	list, err := s.client.XPendingExt(s.ctx, &redis.XPendingExtArgs{Stream: "in", Group: "g", Start: id, End: id, Count: 1}).Result()
	require.NoError(s.t, err)
	require.Len(s.t, list, 1)
	return list[0].Idle
}

func (s bench) touch(idle time.Duration, ids ...any) []int64 {
	s.t.Helper()
	r, err := touchScript.Run(s.ctx, s.client, []string{"in", "totals"},
		append([]any{"g", "me", idle.Milliseconds()}, ids...)...).Int64Slice()
	require.NoError(s.t, err)
	return r
}

func TestTouch(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b, "9-1", "10-1", "10-2", "10-3", "10-4")
		s.steal("10-1")
		require.Equal(t, []int64{2, 0}, s.touch(time.Hour, "9-1", "10-1", "10-3"))
		require.GreaterOrEqual(t, s.idle("9-1"), time.Hour)
		require.GreaterOrEqual(t, s.idle("10-3"), time.Hour)
		require.Less(t, s.idle("10-1"), time.Minute, "another's entry is left alone")
		require.Less(t, s.idle("10-2"), time.Minute, "nothing but what was named")
		require.Equal(t, []int64{2, 0}, s.touch(0, "9-1", "10-3"))
		require.Less(t, s.idle("9-1"), time.Minute)
		require.Len(t, s.pending(), 5)

		require.Equal(t, []int64{0, 0}, s.touch(0), "nothing asked for")
		require.Equal(t, []int64{0, 0}, s.touch(0, "99-1"))
		if s.real {
			// what was trimmed away stays pending and in hand; what was deleted from the middle goes, and is counted
			s.client.XDel(s.ctx, "in", "10-3")
			s.client.XTrimMinID(s.ctx, "in", "10-1")
			require.Equal(t, []int64{1, 1}, s.touch(0, "9-1", "10-2", "10-3"))
			require.Equal(t, []string{"9-1 me", "10-1 other", "10-2 me", "10-4 me"}, s.pending())
			require.Equal(t, map[string]string{"trimmed:g": "1"}, s.totals())
		}
		s.client.XGroupDestroy(s.ctx, "in", "g")
		require.Equal(t, []int64{0, 0}, s.touch(0, "10-2"))
		s.client.Del(s.ctx, "in")
		require.Equal(t, []int64{0, 0}, s.touch(0, "10-2"))
	})
}

// TestTouchAlone: where nobody else has anything pending the script asks for less, and tells what was settled meanwhile from
// what is gone all the same.
func TestTouchAlone(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b, "9-1", "10-1", "10-2", "10-3", "10-4")
		s.client.XAck(s.ctx, "in", "g", "10-2")
		require.Equal(t, []int64{3, 0}, s.touch(time.Hour, "9-1", "10-1", "10-2", "10-3"))
		require.GreaterOrEqual(t, s.idle("9-1"), time.Hour)
		require.GreaterOrEqual(t, s.idle("10-3"), time.Hour)
		require.Less(t, s.idle("10-4"), time.Minute, "nothing but what was named")
		require.Equal(t, []string{"9-1 me", "10-1 me", "10-3 me", "10-4 me"}, s.pending())
		require.Empty(t, s.totals())
		if s.real {
			s.client.XDel(s.ctx, "in", "10-3")
			s.client.XTrimMinID(s.ctx, "in", "10-1")
			require.Equal(t, []int64{2, 1}, s.touch(0, "9-1", "10-1", "10-3", "10-4"))
			require.Less(t, s.idle("10-1"), time.Minute)
			require.GreaterOrEqual(t, s.idle("9-1"), time.Hour, "what was trimmed away stays as it is")
			require.Equal(t, []string{"9-1 me", "10-1 me", "10-4 me"}, s.pending())
			require.Equal(t, map[string]string{"trimmed:g": "1"}, s.totals())
		}
	})
}

// TestTouchOfOthers: where all that is pending is another consumer's, nothing is ours.
func TestTouchOfOthers(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b, "1-1", "1-2")
		s.steal("1-1")
		s.steal("1-2")
		require.Equal(t, []int64{0, 0}, s.touch(time.Hour, "1-1", "1-2"))
		require.Equal(t, []string{"1-1 other", "1-2 other"}, s.pending())
		require.Less(t, s.idle("1-1"), time.Minute)
	})
}

func (s bench) leave(consumer string) int {
	s.t.Helper()
	n, err := leaveScript.Run(s.ctx, s.client, []string{"in"}, "g", consumer).Int()
	require.NoError(s.t, err)
	return n
}

func TestLeave(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b, "1-1")
		require.Equal(t, 0, s.leave("me"), "something is pending")
		require.Equal(t, []string{"1-1 me"}, s.pending())
		s.client.XAck(s.ctx, "in", "g", "1-1")
		require.Equal(t, 1, s.leave("me"))
		require.Empty(t, s.client.XInfoConsumers(s.ctx, "in", "g").Val())
		s.client.XGroupDestroy(s.ctx, "in", "g")
		require.Equal(t, 0, s.leave("me"))
	})
}
