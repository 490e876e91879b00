package stream_test

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/stream"
)

// TestClaimsFromTheDead: what a consumer read that vanished is taken over within min idle and two seconds.
func TestClaimsFromTheDead(t *testing.T) {
	const n = 5000
	w := newWorld(t)
	w.group()
	w.add(n)
	w.readAs("dead", n)
	var got seen
	start := time.Now()
	for i := range 2 {
		_, out := w.subscribe(nil, w.config(fmt.Sprint("alive", i)))
		ackAll(out, &got)
	}
	within(t, minIdle+2*time.Second, "all are taken over", func() bool { return got.len() == n })
	t.Logf("took over %d entries in %v, min idle %v", n, time.Since(start), minIdle)
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
	require.Empty(t, got.twice())
	require.EqualValues(t, n, w.events.get("taken"))
}

// TestFindsStrays: what is pending for a consumer without its knowing, for whatever reason, is found by it, as nobody else
// would: others see that it is alive.
func TestFindsStrays(t *testing.T) {
	w := newWorld(t)
	w.group()
	w.add(3)
	cfg := w.config("a")
	cfg.MinIdle = 5 * time.Minute
	w.readAs(cfg.Consumer, 2) // a failover could have forgotten that they were settled
	var got seen
	_, out := w.subscribe(nil, cfg)
	ackAll(out, &got)
	eventually(t, "all are handled", func() bool { return got.len() == 3 && w.pending() == 0 })
	require.Empty(t, got.twice())
}

// TestClaimsWhatWasHandedBackUnheard: who does not listen yet when another consumer drains takes over what that hands back as
// soon as it does, and not by min idle alone.
func TestClaimsWhatWasHandedBackUnheard(t *testing.T) {
	w := newWorld(t)
	patient := func(consumer string) stream.SubscriberConfig {
		cfg := w.config(consumer)
		cfg.MinIdle = 5 * time.Minute
		return cfg
	}
	first, held := w.subscribe(nil, patient("first"))
	w.add(1)
	next(t, held) // neither acked nor nacked
	eventually(t, "the first has looked what there is to claim", func() bool { return w.commands("xautoclaim") > 0 })
	passes := w.commands("xautoclaim")

	proxy, client := w.through(nil)
	proxy.DropReplies(-1, "subscribe")
	_, out := w.subscribe(client, patient("second"))
	eventually(t, "the second cannot listen", func() bool { return proxy.Dropped() > 0 })
	eventually(t, "and has looked what there is to claim", func() bool { return w.commands("xautoclaim") > passes })
	require.NoError(t, first.Close())
	require.EqualValues(t, 1, w.events.get("handed back"))
	proxy.DropReplies(0)
	next(t, out).Ack()
	eventually(t, "it is acknowledged", func() bool { return w.pending() == 0 })
}

// TestKeepsWhatIsInHand: entries whose handlers take several times min idle are claimed by nobody, neither those that
// are being handled nor those that wait for a receiver which takes one at a time.
func TestKeepsWhatIsInHand(t *testing.T) {
	for _, c := range []struct {
		name   string
		handle func(out <-chan *message.Message, got *seen)
	}{
		{"all at once", func(out <-chan *message.Message, got *seen) {
			var handlers sync.WaitGroup
			for m := range out {
				got.add(m)
				handlers.Go(func() {
					select {
					case <-time.After(3 * minIdle):
						m.Ack()
					case <-m.Context().Done():
						m.Nack()
					}
				})
			}
			handlers.Wait()
		}},
		{"one at a time", func(out <-chan *message.Message, got *seen) {
			for m := range out {
				got.add(m)
				select {
				case <-time.After(minIdle / 4):
					m.Ack()
				case <-m.Context().Done():
					m.Nack()
				}
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.group()
			w.add(12)
			var got seen
			var handlers sync.WaitGroup
			t.Cleanup(handlers.Wait)
			for i := range 3 {
				cfg := w.config(fmt.Sprint("c", i))
				cfg.Batch = 4
				_, out := w.subscribe(nil, cfg)
				handlers.Go(func() { c.handle(out, &got) })
			}
			eventually(t, "all are handled", func() bool { return got.len() == 12 && w.pending() == 0 })
			require.Empty(t, got.twice())
			require.Zero(t, w.events.get("taken"))
		})
	}
}

// TestClaimingCostsAHealthyFleetLittle: what the loops beside reading cost Redis while nothing is wrong.
func TestClaimingCostsAHealthyFleetLittle(t *testing.T) {
	w := newWorld(t)
	w.group()
	var got seen
	for i := range 4 {
		cfg := w.config(fmt.Sprint("c", i))
		cfg.Block = 500 * time.Millisecond
		cfg.MinIdle = 2 * time.Second
		_, out := w.subscribe(nil, cfg)
		ackAll(out, &got)
	}
	// Each passes over what is pending when it begins, and again when it listens for nudges.
	eventually(t, "all listen", func() bool { return w.admin.PubSubNumSub(w.ctx, "own:nudge").Val()["own:nudge"] == 4 })
	passes := int64(-1)
	for n := w.commands("xautoclaim"); n != passes; n = w.commands("xautoclaim") {
		passes = n
		time.Sleep(time.Second)
	}
	w.add(100)
	eventually(t, "all are handled", func() bool { return got.len() == 100 && w.pending() == 0 })
	require.NoError(t, w.admin.ConfigResetStat(w.ctx).Err())
	before := w.usedCPU()
	start := time.Now()
	for time.Since(start) < 2500*time.Millisecond { // some load, as a fleet has
		w.add(20)
		eventually(t, "they are handled", func() bool { return w.pending() == 0 })
	}
	seconds := time.Since(start).Seconds()
	require.Zero(t, w.commands("xautoclaim"), "nobody died: nobody passes over what is pending")
	var micros float64
	for _, name := range []string{"xinfo|consumers", "xinfo|groups", "xinfo|stream"} {
		micros += float64(w.micros(name))
	}
	t.Logf("looking after the group takes %.0f µs of Redis a second for 4 workers (%.2f %%); it used %v CPU in all",
		micros/seconds, micros/seconds/1e4, w.usedCPU()-before)
	require.Less(t, micros/seconds/1e6, 0.02)
}

func (w *world) usedCPU() time.Duration {
	info, err := w.admin.InfoMap(w.ctx, "cpu").Result()
	require.NoError(w.t, err)
	var user, sys float64
	_, _ = fmt.Sscan(info["CPU"]["used_cpu_user"], &user)
	_, _ = fmt.Sscan(info["CPU"]["used_cpu_sys"], &sys)
	return time.Duration((user + sys) * float64(time.Second))
}

func (w *world) micros(name string) (usec int64) {
	info, err := w.admin.InfoMap(w.ctx, "commandstats").Result()
	require.NoError(w.t, err)
	var calls int64
	_, _ = fmt.Sscanf(info["Commandstats"]["cmdstat_"+name], "calls=%d,usec=%d,", &calls, &usec)
	return usec
}

// publisher makes a publisher whose answers have one field.
func (w *world) publisher(client redis.UniversalClient) *stream.Publisher {
	w.t.Helper()
	if client == nil {
		client = w.admin
	}
	p, err := stream.NewPublisher(client, stream.PublisherConfig{Fields: []string{"answers"}, KeyPrefix: "own:", Events: w.events, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, p.Close()) })
	return p
}

// answer makes the answer to a message: one for each entry.
func answer(m *message.Message) *message.Message {
	id, _ := entry.IDFrom(m.Context())
	a := message.NewMessage(id.String(), message.Payload(entry.Make("answers", id.String())))
	a.SetContext(m.Context())
	return a
}

// answers counts the answers by entry.
func (w *world) answers() map[string]int {
	list, err := w.admin.XRange(w.ctx, "out", "-", "+").Result()
	require.NoError(w.t, err)
	n := map[string]int{}
	for _, m := range list {
		n[m.Values["answers"].(string)]++
	}
	return n
}

// TestZombieIsFenced: a worker that was cut off while its entries were claimed and answered writes nothing when it is
// back, and goes on working.
func TestZombieIsFenced(t *testing.T) {
	w := newWorld(t)
	proxy, client := w.through(nil)
	_, out := w.subscribe(client, w.config("zombie"))
	pub := w.publisher(client)
	ids := w.add(3)
	var held []*message.Message
	for range ids {
		held = append(held, next(t, out))
	}
	proxy.Blackhole(true) // as a process that is stopped, it neither refreshes nor reads

	other := &recorder{}
	cfg := w.config("successor")
	cfg.Events = other
	_, theirs := w.subscribe(nil, cfg)
	theirPub := w.publisher(nil)
	for range ids[:2] {
		m := next(t, theirs)
		require.NoError(t, theirPub.Publish("out", answer(m)))
		m.Ack()
	}
	third := next(t, theirs) // claimed, and still in hand there
	require.Len(t, w.answers(), 2)
	answered := w.events.get("written")

	proxy.Blackhole(false)
	for _, m := range held {
		require.NoError(t, pub.Publish("out", answer(m)), "an answer that is somebody else's to give is no error")
		m.Ack()
	}
	require.EqualValues(t, 3, w.events.get("fenced")+w.events.get("unknown"))
	require.Positive(t, w.events.get("fenced"))
	require.Equal(t, answered, w.events.get("written"))
	require.Len(t, w.answers(), 2)
	require.EqualValues(t, 1, w.pending())
	require.NoError(t, theirPub.Publish("out", answer(third)))
	third.Ack()

	more := w.add(20)
	var got seen
	ackAll(out, &got)
	ackAll(theirs, &got)
	eventually(t, "both go on", func() bool { return got.len() >= len(more) && w.pending() == 0 })
	require.Len(t, w.answers(), 3)
}

// TestAbandonedConsumersAreRemoved, but only those for which nothing is pending.
func TestAbandonedConsumersAreRemoved(t *testing.T) {
	w := newWorld(t)
	w.group()
	w.add(2)
	w.readAs("idle", 1)
	require.NoError(t, w.admin.XAck(w.ctx, testStream, testGroup, w.ids()[0]).Err())
	w.readAs("holding", 1)
	cfg := w.config("c")
	cfg.MinIdle, cfg.ConsumerTTL = 30*time.Second, 31*time.Second
	sub := w.subscriber(nil, cfg)
	out, err := sub.Subscribe(w.ctx, testStream)
	require.NoError(t, err)
	var got seen
	ackAll(out, &got)
	w.add(1)
	eventually(t, "the subscription works", func() bool { return got.len() == 1 })
	require.ElementsMatch(t, []string{"idle", "holding", "c"}, w.consumers(), "nobody is idle for long enough")

	short := w.config("d")
	short.MinIdle, short.ConsumerTTL = 400*time.Millisecond, 500*time.Millisecond
	short.MaxInFlight = 1
	_, blocked := w.subscribe(nil, short)
	m := next(t, blocked) // what "holding" held; not acked, so that it is still pending, here
	eventually(t, "those that are gone are removed", func() bool {
		names := w.consumers()
		return !slices.Contains(names, "idle") && !slices.Contains(names, "holding")
	})
	require.Contains(t, w.consumers(), "d", "something is pending for it")
	require.EqualValues(t, 1, w.pending())
	m.Ack()
}

func (w *world) ids() (ids []string) {
	list, err := w.admin.XRange(w.ctx, testStream, "-", "+").Result()
	require.NoError(w.t, err)
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	return ids
}

func (w *world) consumers() (names []string) {
	list, err := w.admin.XInfoConsumers(w.ctx, testStream, testGroup).Result()
	require.NoError(w.t, err)
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names
}
