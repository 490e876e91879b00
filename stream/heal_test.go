package stream_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/stream"
)

// TestHeals: a group that vanishes is there again within two seconds, from its cursor, created by one of the workers, and
// what is left in the stream of what was not acknowledged is delivered.
func TestHeals(t *testing.T) {
	for _, c := range []struct {
		name string
		harm func(w *world) (after []string) // returns the entries that must be delivered afterwards
	}{
		{name: "FLUSHALL", harm: func(w *world) []string {
			w.admin.FlushAll(w.ctx)
			return w.add(10)
		}},
		{name: "FLUSHALL, and a stream with lower IDs", harm: func(w *world) []string {
			w.admin.FlushAll(w.ctx)
			w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: testStream, ID: "5-1", Values: []string{"a", "b"}})
			return []string{"5-1"}
		}},
		{name: "DEL", harm: func(w *world) []string {
			w.admin.Del(w.ctx, testStream)
			return w.add(10)
		}},
		{name: "XGROUP DESTROY with old entries pending", harm: func(w *world) []string {
			w.admin.XGroupDestroy(w.ctx, testStream, testGroup)
			return w.add(10)
		}},
		{name: "XGROUP DESTROY and the cursor gone", harm: func(w *world) []string {
			_, err := w.admin.TxPipelined(w.ctx, func(p redis.Pipeliner) error {
				p.Del(w.ctx, "own:cursor:g:in")
				p.XGroupDestroy(w.ctx, testStream, testGroup)
				return nil
			})
			require.NoError(w.t, err)
			return w.add(10)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			_, out := w.subscribe(nil, w.config("a"))
			pub := w.publisher(nil)
			first := w.add(20)
			var got seen
			// one of the first entries stays in hand: the low-water mark lies below it
			var held *message.Message
			for i := range first {
				m := next(t, out)
				got.add(m)
				if i == 4 {
					held = m
					continue
				}
				require.NoError(t, pub.Publish("out", answer(m)))
				m.Ack()
			}
			eventually(t, "the cursor has moved", func() bool { return w.cursorBetween(first[3], first[4]) })
			_, second := w.subscribe(nil, w.config("b")) // idle so far
			require.NoError(t, w.admin.ConfigResetStat(w.ctx).Err())
			start := time.Now()
			after := c.harm(w)
			missing := map[string]bool{}
			for _, id := range after {
				missing[id] = true
			}
			for len(missing) > 0 {
				select {
				case m := <-out:
					delete(missing, m.UUID)
					require.NoError(t, pub.Publish("out", answer(m)))
					m.Ack()
				case m := <-second:
					delete(missing, m.UUID)
					require.NoError(t, pub.Publish("out", answer(m)))
					m.Ack()
				case <-time.After(2*time.Second - time.Since(start)):
					require.Failf(t, "not healed in two seconds", "%v", missing)
				}
			}
			require.NoError(t, pub.Publish("out", answer(held)))
			held.Ack()
			var rest seen
			ackAll(out, &rest) // those that were answered before, read again from the cursor
			ackAll(second, &rest)
			eventually(t, "nothing is pending", func() bool { return w.pending() == 0 })
			// The other may have read from the group before this is told.
			eventually(t, "the healing is told", func() bool { return w.events.get("healed") > 0 })
			require.EqualValues(t, 1, w.events.get("healed"))
			for id, n := range w.answers() {
				require.Equal(t, 1, n, "%s is answered once", id)
			}
			require.Less(t, w.commands("xreadgroup"), int64(200), "no hot loop")
			require.Less(t, w.commands("xgroup|create"), int64(10), "no hot loop")
		})
	}
}

// TestReadAgainWhileItIsSettled: an entry is answered, the group vanishes before we hear of it, and the group that is built
// again delivers the entry while it is in hand still. It does not stay pending until somebody's sweep.
func TestReadAgainWhileItIsSettled(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a")
	cfg.MinIdle = 5 * time.Minute
	_, out := w.subscribe(nil, cfg)
	proxy, client := w.through(func(o *redis.Options) { o.ReadTimeout = 20 * time.Second })
	pub := w.publisher(client)
	w.answerTwo(out, pub)

	w.add(1)
	m := next(t, out)
	proxy.Latency(2 * time.Second)
	published := make(chan error, 1)
	go func() { published <- pub.Publish("out", answer(m)) }()
	eventually(t, "the third is answered", func() bool { return len(w.answers()) == 3 && w.pending() == 0 })
	require.NoError(t, w.admin.XGroupDestroy(w.ctx, testStream, testGroup).Err())
	require.NoError(t, w.admin.Del(w.ctx, "own:cursor:g:in").Err())
	eventually(t, "it is read again", func() bool { return w.pending() > 0 })
	var rest seen
	ackAll(out, &rest)
	require.NoError(t, <-published)
	m.Ack()
	eventually(t, "nothing stays pending", func() bool { return w.pending() == 0 })
	for id, n := range w.answers() {
		require.Equal(t, 1, n, id)
	}
}

// TestClaimedWhileItIsSettled: an entry is answered too late, another consumer has it by then and hands it back, and we claim
// it before we hear that the answer was held back. It does not stay pending until somebody's sweep.
func TestClaimedWhileItIsSettled(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a")
	cfg.MinIdle = 5 * time.Minute
	proxy, client := w.through(func(o *redis.Options) { o.ReadTimeout = 20 * time.Second })
	_, out := w.subscribe(nil, cfg)
	pub := w.publisher(client)
	w.answerTwo(out, pub)

	id := w.add(1)[0]
	m := next(t, out)
	require.NoError(t, w.admin.Do(w.ctx, "XCLAIM", testStream, testGroup, "b", 0, id, "IDLE", time.Hour.Milliseconds(), "JUSTID").Err())
	proxy.Latency(3 * time.Second)
	before := w.commands("exists")
	published := make(chan error, 1)
	go func() { published <- pub.Publish("out", answer(m)) }()
	eventually(t, "the answer is held back", func() bool { return w.commands("exists") > before })
	require.NoError(t, w.admin.Publish(w.ctx, "own:nudge", testGroup).Err())
	eventually(t, "the entry is claimed", func() bool {
		return w.admin.XPending(w.ctx, testStream, testGroup).Val().Consumers["a"] == 1
	})
	require.NoError(t, <-published)
	m.Ack()
	proxy.Latency(0)
	require.EqualValues(t, 1, w.events.get("fenced"))

	again := next(t, out)
	require.Equal(t, id, again.UUID)
	require.NoError(t, pub.Publish("out", answer(again)))
	again.Ack()
	eventually(t, "nothing stays pending", func() bool { return w.pending() == 0 })
	answers := w.answers()
	require.Len(t, answers, 3)
	for id, n := range answers {
		require.Equal(t, 1, n, id)
	}
}

// answerTwo adds two entries and answers them, so that the server knows the script.
func (w *world) answerTwo(out <-chan *message.Message, pub message.Publisher) {
	w.t.Helper()
	for range 2 {
		w.add(1)
		m := next(w.t, out)
		require.NoError(w.t, pub.Publish("out", answer(m)))
		m.Ack()
	}
	eventually(w.t, "two are settled", func() bool { return w.pending() == 0 })
}

func (w *world) cursor() string { return w.admin.Get(w.ctx, "own:cursor:g:in").Val() }

// cursorBetween: the stored cursor has reached entry low and lies below entry high. IDs are numbers: as text, the
// predecessor of 8-0, which is 7-18446744073709551615, would sort before 7-3.
func (w *world) cursorBetween(low, high string) bool {
	w.t.Helper()
	cursor, err := entry.ParseID(w.cursor())
	if err != nil {
		return false // not written yet
	}
	lowID, err := entry.ParseID(low)
	require.NoError(w.t, err)
	highID, err := entry.ParseID(high)
	require.NoError(w.t, err)
	return cursor.Compare(lowID) >= 0 && cursor.Compare(highID) < 0
}

// TestGroupThatKeepsVanishing makes no hot loop.
func TestGroupThatKeepsVanishing(t *testing.T) {
	w := newWorld(t)
	_, out := w.subscribe(nil, w.config("a"))
	var got seen
	ackAll(out, &got)
	stop := time.Now().Add(1500 * time.Millisecond)
	for time.Now().Before(stop) {
		w.admin.XGroupDestroy(w.ctx, testStream, testGroup)
		time.Sleep(time.Millisecond)
	}
	require.Less(t, w.commands("xgroup|create"), int64(60))
	w.add(1)
	eventually(t, "it works again", func() bool { return got.len() == 1 })
}

// TestStart: where a group begins that does not exist.
func TestStart(t *testing.T) {
	for _, c := range []struct {
		name, start string
		history     bool
		cursor      bool
		want        int // of three old entries and, with history, three new ones
	}{
		{name: "auto, a new stream", start: stream.StartAuto, want: 3},
		{name: "auto, a stream with history", start: stream.StartAuto, history: true, want: 3},
		{name: "0", start: stream.StartFirst, history: true, want: 6},
		{name: "$", start: stream.StartNew, history: true, want: 3},
		{name: "an entry ID", start: "2-0", history: true, want: 4},
		{name: "the cursor wins", start: stream.StartNew, history: true, cursor: true, want: 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.history {
				for i := range 3 {
					require.NoError(t, w.admin.XAdd(w.ctx, &redis.XAddArgs{
						Stream: testStream, ID: fmt.Sprintf("%d-0", i+1), Values: []string{"a", "b"},
					}).Err())
				}
			}
			if c.cursor {
				w.admin.Set(w.ctx, "own:cursor:g:in", "1-0", 0)
			}
			cfg := w.config("a")
			cfg.Start, cfg.Lookback = c.start, time.Minute
			_, out := w.subscribe(nil, cfg)
			w.add(3)
			var got seen
			ackAll(out, &got)
			eventually(t, "all have come", func() bool {
				state, err := stream.Inspect(w.ctx, w.admin, testStream, testGroup)
				return err == nil && state.Lag == 0 && state.Pending == 0 && got.len() >= c.want
			})
			require.Equal(t, c.want, got.len())
		})
	}
}

// TestRecoversFromFaults: whatever Redis or the network says, the subscription shows it, does not spin, and works again
// when the cause is gone.
func TestRecoversFromFaults(t *testing.T) {
	for _, c := range []struct {
		name       string
		harm, mend func(w *world, p *redistest.Proxy)
		shows, or  string // either in SubscriptionState.Err; empty: nothing need be seen
	}{
		{
			name: "connection refused", shows: "refused",
			harm: func(_ *world, p *redistest.Proxy) { p.Refuse(true); p.Cut() },
			mend: func(_ *world, p *redistest.Proxy) { p.Refuse(false) },
		},
		{
			name: "connection reset", shows: "reset", or: "EOF", // as the moment has it: before or after the request was read
			harm: func(_ *world, p *redistest.Proxy) { p.Target("127.0.0.1:1"); p.Cut() },
			mend: func(w *world, p *redistest.Proxy) { p.Target(w.server.Addr()) },
		},
		{
			name: "accepts and never answers", shows: "timeout",
			harm: func(_ *world, p *redistest.Proxy) { p.Blackhole(true) },
			mend: func(_ *world, p *redistest.Proxy) { p.Blackhole(false) },
		},
		{
			name: "LOADING", shows: "LOADING",
			harm: func(w *world, _ *redistest.Proxy) { w.load() },
			mend: func(w *world, _ *redistest.Proxy) { w.server.ConfigSet("key-load-delay", "0") },
		},
		{
			name: "READONLY", shows: "READONLY",
			harm: func(w *world, _ *redistest.Proxy) { w.replica("yes") },
			mend: func(w *world, _ *redistest.Proxy) { w.server.Promote() },
		},
		{
			name: "MASTERDOWN", shows: "MASTERDOWN", or: "READONLY", // a read that blocks when it happens sees the latter first
			harm: func(w *world, _ *redistest.Proxy) { w.replica("no") },
			mend: func(w *world, _ *redistest.Proxy) { w.server.Promote() },
		},
		{
			name: "out of memory", // reading goes on, writing waits
			harm: func(w *world, _ *redistest.Proxy) { w.server.ConfigSet("maxmemory", "1") },
			mend: func(w *world, _ *redistest.Proxy) { w.server.ConfigSet("maxmemory", "0") },
		},
		{
			name: "a key of another type", shows: "WRONGTYPE",
			harm: func(w *world, _ *redistest.Proxy) {
				w.admin.Rename(w.ctx, testStream, "kept")
				w.admin.Set(w.ctx, testStream, "x", 0)
			},
			mend: func(w *world, _ *redistest.Proxy) { w.admin.Rename(w.ctx, "kept", testStream) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			proxy, client := w.through(func(o *redis.Options) { o.ReadTimeout, o.DialTimeout = 400*time.Millisecond, 400*time.Millisecond })
			sub, out := w.subscribe(client, w.config("a"))
			pub := w.publisher(client)
			done := make(chan struct{})
			t.Cleanup(func() { <-done })
			t.Cleanup(func() { require.NoError(t, sub.Close()) })
			go func() {
				defer close(done)
				for m := range out {
					if pub.Publish("out", answer(m)) != nil {
						m.Nack()
						continue
					}
					m.Ack()
				}
			}()
			ids := w.add(5)
			eventually(t, "it works", func() bool { return w.pending() == 0 && len(w.answers()) == 5 })
			if c.shows == "" { // written before memory runs out, answered after
				ids = append(ids, w.add(5)...)
			}
			c.harm(w, proxy)
			if c.shows != "" {
				eventually(t, "the error is seen", func() bool {
					err := sub.Subscriptions()[0].Err
					return err != nil && (strings.Contains(err.Error(), c.shows) || c.or != "" && strings.Contains(err.Error(), c.or))
				})
			}
			failed := w.events.get("failed read")
			end := time.Now().Add(700 * time.Millisecond)
			for time.Now().Before(end) {
				require.Len(t, sub.Subscriptions(), 1)
				time.Sleep(20 * time.Millisecond)
			}
			require.Less(t, w.events.get("failed read")-failed, int64(20), "it does not spin")
			require.Less(t, time.Since(sub.Subscriptions()[0].Progress), 20*time.Second)

			c.mend(w, proxy)
			eventually(t, "writing works", func() bool {
				return w.admin.Set(w.ctx, "x", 1, 0).Err() == nil
			})
			ids = append(ids, w.add(5)...)
			eventually(t, "it works again", func() bool { return w.pending() == 0 && len(w.answers()) == len(ids) })
			eventually(t, "no error is left", func() bool { return sub.Subscriptions()[0].Err == nil })
			for id, n := range w.answers() {
				require.Equal(t, 1, n, id)
			}
		})
	}
}

// load makes the server load its data for a while: it is killed and started with a slow file.
func (w *world) load() {
	w.server.ConfigSet("key-load-delay", "2000") // µs a key
	w.server.ConfigSet("loading-process-events-interval-bytes", "1024")
	pipe := w.admin.Pipeline()
	for i := range 1500 {
		pipe.Set(w.ctx, fmt.Sprint("filler:", i), "x", 0)
	}
	_, err := pipe.Exec(w.ctx)
	require.NoError(w.t, err)
	go func() { _ = w.admin.Do(w.ctx, "DEBUG", "RELOAD").Err() }() // ends with the client at the latest
}

// replica makes the server the replica of one that does not exist; stale says whether it still serves reads.
func (w *world) replica(stale string) {
	w.server.ConfigSet("replica-serve-stale-data", stale)
	require.NoError(w.t, w.admin.Do(w.ctx, "REPLICAOF", "127.0.0.1", "1").Err())
}
