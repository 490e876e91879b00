package stream_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// idle makes an entry look as though a consumer had left it lying for an hour.
func (w *world) idle(consumer, id string) {
	w.t.Helper()
	require.NoError(w.t, w.admin.Do(w.ctx, "XCLAIM", testStream, testGroup, consumer, 0, id, "IDLE", time.Hour.Milliseconds(), "JUSTID").Err())
}

// leave adds an entry that a consumer has read without its knowing, before any other can.
func (w *world) leave(consumer string) {
	w.t.Helper()
	_, err := w.admin.TxPipelined(w.ctx, func(p redis.Pipeliner) error {
		p.XAdd(w.ctx, &redis.XAddArgs{Stream: testStream, Values: []string{"a", "b"}})
		p.XReadGroup(w.ctx, &redis.XReadGroupArgs{Group: testGroup, Consumer: consumer, Streams: []string{testStream, ">"}, Block: -1})
		return nil
	})
	require.NoError(w.t, err)
}

// TestClaimingOutlastsFailures: who could not look for the dead for a while, or not claim, looks and claims again afterwards.
func TestClaimingOutlastsFailures(t *testing.T) {
	for _, c := range []struct {
		command string
		told    bool // that claiming failed
	}{{"xinfo|consumers", false}, {"xautoclaim", true}} {
		t.Run(c.command, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s, out := w.subscribe(nil, w.config("a"))
			eventually(t, "it has looked what there is to claim", func() bool { return w.commands("xautoclaim") > 0 })
			require.NoError(t, w.admin.ACLSetUser(w.ctx, "default", "-"+c.command).Err())
			w.leave("dead")
			eventually(t, "it is refused", func() bool { return len(w.admin.ACLLog(w.ctx, 1).Val()) > 0 })
			if c.told {
				eventually(t, "that is told", func() bool { return w.events.get("failed claim") > 0 })
			}
			require.NoError(t, w.admin.ACLSetUser(w.ctx, "default", "+"+c.command).Err())
			next(t, out).Ack()
			eventually(t, "it is acknowledged", func() bool { return w.pending() == 0 })
			require.NoError(t, s.Close())
			require.Equal(t, c.told, w.events.get("failed claim") > 0)
		})
	}
}

// TestClaimingPassesOverTheBusy: what was left behind is found behind more entries in hand than one XAUTOCLAIM looks at.
func TestClaimingPassesOverTheBusy(t *testing.T) {
	w := newWorld(t)
	w.group()
	w.add(100)
	w.readAs("busy", 100)
	w.leave("dead")
	left := w.ids()[100]
	w.idle("dead", left)
	cfg := w.config("a")
	cfg.MinIdle, cfg.Batch = 5*time.Minute, 2
	_, out := w.subscribe(nil, cfg)
	m := next(t, out)
	require.Equal(t, left, m.UUID)
	m.Ack()
	eventually(t, "it is acknowledged", func() bool { return w.pending() == 100 })
	require.LessOrEqual(t, w.commands("xautoclaim"), int64(20), "one pass")
	require.EqualValues(t, 1, w.events.get("taken"))
	require.Zero(t, w.events.get("reads of nothing"), "passing over what is in hand is no read")
}

// TestClaimingWithoutGroup: a group that has vanished is the reader's to tell, and to build again; to claim nothing of it is no
// failure.
func TestClaimingWithoutGroup(t *testing.T) {
	w := newWorld(t)
	s, out := w.subscribe(nil, w.config("a"))
	eventually(t, "it claims", func() bool { return w.commands("xautoclaim") > 0 })
	require.NoError(t, w.admin.ACLSetUser(w.ctx, "default", "-xgroup|create").Err())
	require.NoError(t, w.admin.XGroupDestroy(w.ctx, testStream, testGroup).Err())
	for range 2 { // of the first it is known then that it is over
		before := w.commands("xautoclaim")
		require.NoError(t, w.admin.Publish(w.ctx, "own:nudge", testGroup).Err())
		eventually(t, "it claims", func() bool { return w.commands("xautoclaim") > before })
	}
	require.Zero(t, w.events.get("failed claim"))
	eventually(t, "the reader says what is wrong", func() bool {
		state := s.Subscriptions()[0]
		return state.Err != nil && !state.GroupExists
	})
	require.ErrorContains(t, s.Subscriptions()[0].Err, "create group")
	require.NoError(t, w.admin.ACLSetUser(w.ctx, "default", "+xgroup|create").Err())
	w.add(1)
	next(t, out).Ack()
	require.EqualValues(t, 1, w.events.get("fresh"))
	eventually(t, "it reads", func() bool {
		state := s.Subscriptions()[0]
		return state.Err == nil && state.GroupExists
	})
}

// TestQuietConsumersStay: nothing pending and nothing read for a while is no reason to take a consumer out of its group.
func TestQuietConsumersStay(t *testing.T) {
	w := newWorld(t)
	w.group()
	id := w.add(1)[0]
	w.readAs("quiet", 1)
	require.NoError(t, w.admin.XAck(w.ctx, testStream, testGroup, id).Err())
	cfg := w.config("a")
	cfg.MinIdle, cfg.ConsumerTTL = 100*time.Millisecond, time.Hour
	w.subscribe(nil, cfg)
	eventually(t, "it has looked at the consumers", func() bool { return w.commands("xinfo|consumers") > 2 })
	require.Contains(t, w.consumers(), "quiet")
}

// TestClaimingKeepsTheLimit: what is claimed counts among what is in hand.
func TestClaimingKeepsTheLimit(t *testing.T) {
	w := newWorld(t)
	w.group()
	for range 3 {
		w.leave("dead")
	}
	for _, id := range w.ids() {
		w.idle("dead", id)
	}
	cfg := w.config("a")
	cfg.MinIdle, cfg.MaxInFlight, cfg.Batch = 5*time.Minute, 4, 4
	s, out := w.subscribe(nil, cfg)
	var held []*message.Message
	for range 3 {
		held = append(held, next(t, out))
	}
	_, err := w.admin.TxPipelined(w.ctx, func(p redis.Pipeliner) error { // at once: a read that waits takes the first alone
		for range 4 {
			p.XAdd(w.ctx, &redis.XAddArgs{Stream: testStream, Values: []string{"a", "b"}})
		}
		return nil
	})
	require.NoError(t, err)
	eventually(t, "more is read", func() bool { return s.Subscriptions()[0].InFlight > 3 })
	require.Equal(t, 4, s.Subscriptions()[0].InFlight)
	for _, m := range held {
		m.Ack()
	}
	ackAll(out, &seen{})
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
}

// TestSettledWhileItIsClaimed: an entry that was in hand for so long that our own claim brings it is answered before the claim's
// reply comes. It is not delivered again.
func TestSettledWhileItIsClaimed(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a")
	cfg.MinIdle = 5 * time.Minute
	proxy, client := w.through(func(o *redis.Options) { o.ReadTimeout = 20 * time.Second })
	_, out := w.subscribe(client, cfg)
	pub := w.publisher(nil)
	w.answerTwo(out, pub)

	id := w.add(1)[0]
	m := next(t, out)
	w.idle("a", id)
	before := w.commands("xautoclaim")
	proxy.Latency(2 * time.Second)
	require.NoError(t, w.admin.Publish(w.ctx, "own:nudge", testGroup).Err())
	eventually(t, "it is claimed", func() bool { return w.commands("xautoclaim") > before })
	require.NoError(t, pub.Publish("out", answer(m)))
	m.Ack()
	later := w.add(1)[0]
	m = next(t, out)
	require.Equal(t, later, m.UUID)
	proxy.Latency(0)
	m.Ack()
}

// TestRecoveringKeepsTheLimit: no more strays are taken at once than may be in hand, and Events are told of them.
func TestRecoveringKeepsTheLimit(t *testing.T) {
	const n, limit = 1200, 650
	w := newWorld(t)
	w.group()
	w.add(n)
	w.readAs("a", n)
	cfg := w.config("a")
	cfg.MinIdle, cfg.MaxInFlight, cfg.Batch = 5*time.Minute, limit, 100
	s, out := w.subscribe(nil, cfg)
	var got seen
	held := make([]*message.Message, 601) // the last has come with the rest that there is room for
	for i := range held {
		held[i] = next(t, out)
		got.add(held[i])
	}
	require.Equal(t, limit, s.Subscriptions()[0].InFlight)
	for _, m := range held {
		m.Ack()
	}
	ackAll(out, &got)
	eventually(t, "all are handled", func() bool { return got.len() == n && w.pending() == 0 })
	require.Empty(t, got.twice())
	require.EqualValues(t, n, w.events.get("taken"))
}

// TestFindsStraysBehindMany: a stray is found behind more that is in hand than one look lists, and reading goes on.
func TestFindsStraysBehindMany(t *testing.T) {
	const n = 600
	w := newWorld(t)
	cfg := w.config("a")
	cfg.MinIdle, cfg.MaxInFlight = 5*time.Minute, 2*n
	_, out := w.subscribe(nil, cfg)
	w.add(n)
	var held []*message.Message
	for range n {
		held = append(held, next(t, out))
	}
	w.leave("a")
	w.add(1)
	for range 2 { // in either order
		held = append(held, next(t, out))
	}
	w.add(1)
	held = append(held, next(t, out))
	for _, m := range held {
		m.Ack()
	}
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
}
