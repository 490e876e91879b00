package stream

import (
	"errors"
	"fmt"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
)

// tend runs the script and returns the low-water mark and what was newly found lost.
func (s bench) tend() (low string, lost int64) {
	s.t.Helper()
	r, err := tendScript.Run(s.ctx, s.client, []string{"in", "cursor", "totals"}, "g").Slice()
	require.NoError(s.t, err)
	require.Equal(s.t, r[0], s.client.Get(s.ctx, "cursor").Val())
	return r[0].(string), r[1].(int64)
}

func TestTendMovesTheCursor(t *testing.T) {
	onBackends(t, func(t *testing.T, b backend) {
		s := newBench(t, b)
		check := func(want string) {
			t.Helper()
			low, lost := s.tend()
			require.Equal(t, want, low)
			require.Zero(t, lost)
		}
		ack := func(ids ...string) { s.client.XAck(s.ctx, "in", "g", ids...) }
		check("0-0")
		s.add("0-1", "9-0", "10-0", "10-1", "10-100", "100-0", "100-1")
		check("0-0")
		s.read("me", 7)
		check("0-0")
		ack("0-1", "9-0")
		check("9-" + strconv.FormatUint(entry.MaxID.Seq, 10))
		ack("10-0", "10-100") // out of order: 10-1 holds the mark
		check("10-0")
		ack("10-1")
		check("99-18446744073709551615")
		ack("100-0")
		check("100-0")
		ack("100-1")
		check("100-1")

		t.Run("IDs beyond what a Lua number holds", func(t *testing.T) {
			for _, id := range []string{"9007199254740993-0", "9007199254740993-9007199254740993", "9007199254740993-10000000000000000000", "18446744073709551615-18446744073709551615"} {
				s.add(id)
				s.read("me", 1)
				parsed, err := entry.ParseID(id)
				require.NoError(t, err)
				low, _ := s.tend()
				require.Equal(t, parsed.Prev().String(), low)
				ack(id)
				low, _ = s.tend()
				require.Equal(t, id, low)
			}
		})

		t.Run("a stream begun anew", func(t *testing.T) {
			s.client.Del(s.ctx, "in")
			require.ErrorIs(t, tendScript.Run(s.ctx, s.client, []string{"in", "cursor", "totals"}, "g").Err(), redis.Nil)
			require.NoError(t, s.client.XGroupCreateMkStream(s.ctx, "in", "g", "0").Err())
			check("0-0")
			s.add("5-1")
			s.read("me", 1)
			check("5-0")
		})

		t.Run("no group", func(t *testing.T) {
			s.client.XGroupDestroy(s.ctx, "in", "g")
			require.ErrorIs(t, tendScript.Run(s.ctx, s.client, []string{"in", "cursor", "totals"}, "g").Err(), redis.Nil)
			require.Equal(t, "5-0", s.client.Get(s.ctx, "cursor").Val(), "the cursor stays for those who build the group again")
			s.client.Set(s.ctx, "in", "x", 0)
			require.ErrorContains(t, tendScript.Run(s.ctx, s.client, []string{"in", "cursor", "totals"}, "g").Err(), "WRONGTYPE")
		})
	})
}

func TestMinusOneIsPrev(t *testing.T) {
	client := redistest.Start(t).Client()
	s := bench{t: t, backend: backend{client: client}, ctx: t.Context()}
	rapid.Check(t, func(rt *rapid.T) {
		id := entry.ID{Ms: rapid.Uint64().Draw(rt, "ms"), Seq: rapid.Uint64Range(0, 3).Draw(rt, "seq")}
		if rapid.Bool().Draw(rt, "large") {
			id.Seq = rapid.Uint64().Draw(rt, "large seq")
		}
		if id == (entry.ID{}) {
			id.Seq = 1
		}
		client.Del(s.ctx, "in")
		require.NoError(rt, client.XGroupCreateMkStream(s.ctx, "in", "g", "0").Err())
		s.add(id.String())
		s.read("me", 1)
		low, _ := s.tend()
		require.Equal(rt, id.Prev().String(), low)
	})
}

// TestTendFindsWhatWasTrimmedUnread walks through the ways in which a group loses entries to retention.
func TestTendFindsWhatWasTrimmedUnread(t *testing.T) {
	server := redistest.Start(t)
	b := backend{real: true, client: server.Client(), server: server}
	var s bench
	next := 0
	add := func(n int) {
		for range n {
			next++
			s.add(fmt.Sprintf("%d-0", next))
		}
	}
	read := func(n int) { s.read("me", n) }
	keep := func(n int) { require.NoError(t, s.client.XTrimMaxLen(s.ctx, "in", int64(n)).Err()) }
	lost := func(want int64) {
		s.t.Helper()
		_, got := s.tend()
		require.Equal(s.t, want, got)
	}
	for _, c := range []struct {
		name  string
		walk  func()
		total string
	}{
		{name: "nothing trimmed", walk: func() { add(10); read(5); lost(0); read(5); lost(0) }},
		{name: "trimmed after reading", walk: func() {
			add(10)
			read(10)
			keep(3)
			lost(0)
			add(5)
			keep(5)
			lost(0)
			read(5)
			lost(0)
		}},
		{
			name: "found in the gap, and not again behind it",
			walk: func() {
				add(10)
				read(3)
				keep(4)
				lost(3)
				lost(0)
				read(2)
				lost(0)
				read(2)
				lost(0)
			},
			total: "3",
		},
		{
			name: "read across the gap, found at the end",
			walk: func() {
				add(10)
				read(3)
				keep(4)
				read(2)
				lost(0)
				read(2)
				lost(3)
				lost(0)
			},
			total: "3",
		},
		{
			name: "gap after gap",
			walk: func() {
				add(10)
				read(1)
				keep(5) // 2-5 are lost
				read(1)
				add(10)
				keep(5) // 7-15 are lost
				lost(13)
				read(5)
				lost(0)
				add(7)
				keep(2) // five more
				read(2)
				lost(5)
			},
			total: "18",
		},
		{name: "everything trimmed", walk: func() {
			add(10)
			read(4)
			keep(0)
			lost(6)
			lost(0)
			add(2)
			lost(0)
			read(2)
			lost(0)
		}, total: "6"},
		{
			name: "a group that has read nothing yet",
			walk: func() {
				lost(0)
				add(10)
				keep(4)
				lost(6)
				read(4)
				lost(0)
			},
			total: "6",
		},
		{
			name: "what went before the group is not its loss",
			walk: func() {
				s.client.XGroupDestroy(s.ctx, "in", "g")
				add(10)
				keep(4)
				s.client.XGroupCreate(s.ctx, "in", "g", "0")
				lost(0)
				keep(3)
				lost(1)
				read(3)
				lost(0)
			},
			total: "1",
		},
		{
			name: "a group that began in the middle is counted from where it has read everything",
			walk: func() {
				s.client.XGroupDestroy(s.ctx, "in", "g")
				add(10)
				s.client.XGroupCreate(s.ctx, "in", "g", "5")
				read(2)
				lost(0)
				read(3)
				lost(0)
				add(5)
				keep(2)
				lost(3)
			},
			total: "3",
		},
		{
			name: "read entries that are deleted are no loss",
			walk: func() {
				add(10)
				read(5)
				s.client.XDel(s.ctx, "in", fmt.Sprintf("%d-0", next-7))
				lost(0)
				read(5)
				lost(0)
			},
		},
		{
			name: "a deleted unread entry does not stay in the lag",
			walk: func() {
				add(10)
				read(5)
				s.client.XDel(s.ctx, "in", fmt.Sprintf("%d-0", next-2))
				lost(0)
				read(4)
				lost(0)
				require.Zero(t, s.client.XInfoGroups(s.ctx, "in").Val()[0].Lag)
				add(3)
				keep(1)
				lost(2) // it counts again
			},
			total: "2",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, next = newBench(t, b), 0
			lost(0) // as a subscription does when it begins
			c.walk()
			require.Equal(t, c.total, s.totals()["trimmed:g"])
		})
	}
}

// TestTendCountsRight lets chance add, trim, read, acknowledge and tend. Never is more found lost than was, and in the
// end, when everything was read, all of it.
func TestTendCountsRight(t *testing.T) {
	client := redistest.Start(t).Client()
	s := bench{t: t, backend: backend{client: client}, ctx: t.Context()}
	rapid.Check(t, func(rt *rapid.T) {
		client.FlushAll(s.ctx)
		require.NoError(rt, client.XGroupCreateMkStream(s.ctx, "in", "g", "0").Err())
		low, _ := s.tend()
		require.Equal(rt, "0-0", low)
		var (
			next, delivered int   // the newest entry, and the newest that was delivered
			inStream        []int // ascending
			gone, found     int64 // lost, and found so
			pending         []string
		)
		tend := func(*rapid.T) {
			_, lost := s.tend()
			found += lost
			require.GreaterOrEqual(rt, lost, int64(0))
			require.LessOrEqual(rt, found, gone)
		}
		read := func(n int) {
			r, err := client.XReadGroup(s.ctx, &redis.XReadGroupArgs{
				Group: "g", Consumer: "me", Streams: []string{"in", ">"}, Count: int64(n), Block: -1,
			}).Result()
			if errors.Is(err, redis.Nil) {
				return
			}
			require.NoError(rt, err)
			for _, m := range r[0].Messages {
				_, err := fmt.Sscanf(m.ID, "%d-0", &delivered)
				require.NoError(rt, err)
				pending = append(pending, m.ID)
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				for range rapid.IntRange(1, 5).Draw(rt, "n") {
					next++
					s.add(fmt.Sprintf("%d-0", next))
					inStream = append(inStream, next)
				}
			},
			"trim": func(rt *rapid.T) {
				n := rapid.IntRange(0, 8).Draw(rt, "maxlen")
				client.XTrimMaxLen(s.ctx, "in", int64(n))
				for ; len(inStream) > n; inStream = inStream[1:] {
					if inStream[0] > delivered {
						gone++
					}
				}
			},
			"read": func(rt *rapid.T) { read(rapid.IntRange(1, 5).Draw(rt, "n")) },
			"ack": func(*rapid.T) {
				if len(pending) > 0 {
					client.XAck(s.ctx, "in", "g", pending[0])
					pending = pending[1:]
				}
			},
			"tend": tend,
			"":     func(*rapid.T) {},
		})
		read(1000)
		tend(rt)
		require.Equal(rt, gone, found)
		total, _ := strconv.ParseInt("0"+s.totals()["trimmed:g"], 10, 64)
		require.Equal(rt, gone, total)
	})
}
