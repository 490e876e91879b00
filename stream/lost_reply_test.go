package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/stream"
)

// TestLostReplies: Redis did what it was asked and the answer never came. Nothing is lost and nothing is done twice, with
// the client's own retries off and on, and with a single credit.
func TestLostReplies(t *testing.T) {
	for _, c := range []struct {
		name     string
		commands []string
		inFlight int
		retries  int
		plain    bool // messages are acked without an answer
		dead     bool // the entries belonged to a consumer that died
		unknown  bool
	}{
		{name: "reads", commands: []string{"xreadgroup"}, inFlight: 64, retries: -1},
		{name: "reads, the client repeats", commands: []string{"xreadgroup"}, inFlight: 64, retries: 3},
		{name: "reads, one at a time", commands: []string{"xreadgroup"}, inFlight: 1, retries: -1},
		{name: "commits", commands: []string{"evalsha"}, inFlight: 64, retries: -1, unknown: true},
		{name: "commits, the client repeats", commands: []string{"evalsha"}, inFlight: 64, retries: 3, unknown: true},
		{name: "acknowledgements", commands: []string{"evalsha"}, inFlight: 64, retries: -1, plain: true},
		{name: "claims", commands: []string{"evalsha"}, inFlight: 64, retries: -1, plain: true, dead: true},
		{name: "claims, one at a time", commands: []string{"evalsha"}, inFlight: 1, retries: -1, plain: true, dead: true},
		{name: "everything", inFlight: 64, retries: -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			const n = 40
			w := newWorld(t)
			w.group()
			proxy, client := w.through(func(o *redis.Options) { o.MaxRetries = c.retries })
			pub := w.publisher(client)
			if c.dead {
				w.add(n)
				w.readAs("dead", n)
				eventually(t, "they are idle", func() bool {
					list := w.admin.XInfoConsumers(w.ctx, testStream, testGroup).Val()
					return len(list) > 0 && list[0].Idle > minIdle
				})
				proxy.DropReplies(2, c.commands...)
			}
			cfg := w.config("a")
			cfg.MaxInFlight, cfg.Batch = c.inFlight, min(16, c.inFlight)
			var got seen
			var answered sync.WaitGroup
			t.Cleanup(answered.Wait) // after the subscriber is closed
			_, out := w.subscribe(client, cfg)
			answered.Go(func() {
				for m := range out {
					got.add(m)
					answered.Go(func() {
						if !c.plain && pub.Publish("out", answer(m)) != nil {
							m.Nack()
							return
						}
						m.Ack()
					})
				}
			})
			if !c.dead {
				// The server knows the scripts from here on: a lost NOSCRIPT would be a lost reply behind which nothing was done.
				w.add(n / 4)
				eventually(t, "the first are handled", func() bool { return got.len() == n/4 && w.pending() == 0 })
				for i := range 3 {
					proxy.DropReplies(3, c.commands...)
					w.add(n / 4)
					eventually(t, "replies are lost", func() bool { return proxy.Dropped() >= 3*(i+1) })
				}
			}
			eventually(t, "all are handled", func() bool { return got.len() == n && w.pending() == 0 })
			proxy.DropReplies(0)
			if !c.plain {
				answers := w.answers()
				require.Len(t, answers, n)
				for id, times := range answers {
					require.Equal(t, 1, times, id)
				}
			}
			require.Empty(t, got.twice(), "what is in hand is not delivered again; redelivered %d, fetched again %d",
				w.events.get("redelivered"), w.events.get("taken"))
			if c.unknown {
				eventually(t, "all results are known", func() bool {
					return w.events.get("unknown")+w.events.get("written") == n
				})
				require.Positive(t, w.events.get("unknown"))
			}
			require.GreaterOrEqual(t, proxy.Dropped(), 2)
		})
	}
}

// TestToldOfWhatWasDone: what was parked or dropped is told once, also when the reply was lost and a repetition finds it done.
func TestToldOfWhatWasDone(t *testing.T) {
	for event, end := range map[string]func(context.Context, *stream.Delivery) error{
		"dead": func(ctx context.Context, d *stream.Delivery) error {
			return d.DeadLetter(ctx, "reason", errors.New("cause"), 1)
		},
		"dropped": func(ctx context.Context, d *stream.Delivery) error { return d.Drop(ctx) },
	} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			proxy, client := w.through(func(o *redis.Options) { o.MaxRetries = -1 })
			cfg := w.config("a")
			cfg.MinIdle = 5 * time.Minute // nothing else is refreshed or claimed meanwhile
			_, out := w.subscribe(client, cfg)
			for range 2 { // the server knows the script from the first on
				w.add(1)
				m := next(t, out)
				require.NoError(t, end(m.Context(), stream.DeliveryFrom(m.Context())))
				m.Ack()
				if proxy.Dropped() == 0 {
					proxy.DropReplies(1, "evalsha")
				}
			}
			require.EqualValues(t, 1, proxy.Dropped())
			require.EqualValues(t, 2, w.events.get(event))
			require.EqualValues(t, 2, w.total(event))
		})
	}
}

// TestToldOfNoMoreThanWasDone: a dead letter that was parked before, or is another consumer's to park, is not told.
func TestToldOfNoMoreThanWasDone(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a")
	cfg.MinIdle = 5 * time.Minute
	_, out := w.subscribe(nil, cfg)
	park := func(m *message.Message) {
		require.NoError(t, stream.DeliveryFrom(m.Context()).DeadLetter(w.ctx, "reason", errors.New("cause"), 1))
		m.Ack()
	}
	w.add(1)
	m := next(t, out)
	require.NoError(t, w.admin.Set(w.ctx, "own:dead:"+testGroup+":"+m.UUID, "1", 0).Err())
	park(m)
	w.add(1)
	m = next(t, out)
	require.NoError(t, w.admin.XClaim(w.ctx, &redis.XClaimArgs{Stream: testStream, Group: testGroup, Consumer: "b", Messages: []string{m.UUID}}).Err())
	park(m)
	require.Zero(t, w.events.get("dead"))
	w.add(1)
	park(next(t, out))
	require.EqualValues(t, 1, w.events.get("dead"))
	require.EqualValues(t, 1, w.pending(), "that of the other")
}

// TestDeadLettersOfTwoStreams: entries of the stream and of the redrive stream may have the same ID.
func TestDeadLettersOfTwoStreams(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a")
	cfg.Redrive, cfg.DeadStream = "redrive", "dead"
	_, out := w.subscribe(nil, cfg)
	for name, values := range map[string][]string{
		testStream: {"a", "b"}, "redrive": {"redrive_group", testGroup, "redrive_stream", testStream, "redrive_id", "3-1", "a", "b"},
	} {
		require.NoError(t, w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: name, ID: "5-1", Values: values}).Err())
	}
	for range 2 {
		m := next(t, out)
		require.NoError(t, stream.DeliveryFrom(m.Context()).DeadLetter(w.ctx, "reason", errors.New("cause"), 1))
		m.Ack()
	}
	require.EqualValues(t, 2, w.admin.XLen(w.ctx, "dead").Val())
	require.EqualValues(t, 2, w.events.get("dead"))
}

// TestPublishedOnce: what answers nothing is added once, also through a client that repeats by itself and when the reply
// was lost.
func TestPublishedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy, client := w.through(func(o *redis.Options) { o.MaxRetries = 3 })
	require.NoError(t, client.Ping(w.ctx).Err())
	pub := w.publisher(client)
	proxy.DropReplies(1, "xadd")
	fields := entry.Make("name", "value")
	require.Error(t, pub.Publish("plain", message.NewMessage("1", message.Payload(fields))))
	require.EqualValues(t, 1, proxy.Dropped())
	require.NoError(t, pub.Publish("plain", message.NewMessage("2", message.Payload(fields))))
	require.EqualValues(t, 2, w.admin.XLen(w.ctx, "plain").Val())
}

// TestPublishRefused: what Redis refuses of plain messages is an error, of the last one too, and told.
func TestPublishRefused(t *testing.T) {
	w := newWorld(t)
	pub := w.publisher(nil)
	plain := func(topic string) *message.Message {
		return message.NewMessage(topic, message.Payload(entry.Make("name", "value")))
	}
	require.NoError(t, w.admin.Set(w.ctx, "taken", "no stream", 0).Err())
	require.ErrorContains(t, pub.Publish("taken", plain("1")), "WRONGTYPE")
	require.NoError(t, w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: "full", ID: "18446744073709551615-18446744073709551614", Values: []string{"a", "b"}}).Err())
	require.ErrorContains(t, pub.Publish("full", plain("1"), plain("2")), "ERR") // the first takes the last ID that there is
	require.EqualValues(t, 2, w.events.get("failed publish"))
}

// TestEffectivelyOnce: a router whose handlers fail at random and whose connections are cut answers every entry once.
func TestEffectivelyOnce(t *testing.T) {
	n := 5000
	if testing.Short() {
		n = 1500
	}
	w := newWorld(t)
	w.group()
	proxy, client := w.through(nil)
	logger := watermill.NewSlogLogger(slog.New(slog.DiscardHandler))
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, logger)
	require.NoError(t, err)
	for _, consumer := range []string{"a", "b"} {
		cfg := w.config(consumer)
		cfg.MinIdle = 2 * time.Second
		router.AddHandler(consumer, testStream, w.subscriber(client, cfg), "out", w.publisher(client),
			func(m *message.Message) ([]*message.Message, error) {
				switch rand.IntN(20) {
				case 0:
					return nil, errors.New("bad luck")
				case 1:
					select {
					case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
					case <-m.Context().Done():
					}
				}
				return []*message.Message{answer(m)}, nil
			})
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := router.Run(w.ctx); err != nil {
			t.Error(err)
		}
	})
	<-router.Running()
	stop := make(chan struct{})
	running.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				proxy.Cut()
			}
		}
	})
	for range n / 50 { // a flood would be over before the first cut
		w.add(50)
		if rand.IntN(2) == 0 {
			proxy.DropReplies(1, "evalsha", "xreadgroup")
		}
		time.Sleep(20 * time.Millisecond)
	}
	within(t, 30*time.Second, "all are answered", func() bool {
		return w.admin.XLen(w.ctx, "out").Val() >= int64(n) && w.pending() == 0
	})
	close(stop)
	require.NoError(t, router.Close())
	running.Wait()
	answers := w.answers()
	require.Len(t, answers, n)
	for id, times := range answers {
		require.Equal(t, 1, times, id)
	}
	require.Zero(t, w.pending())
	t.Logf("written %d, unknown %d, duplicate %d, fenced %d, trimmed %d; %d nacked, %d fetched again or claimed, %d replies lost",
		w.events.get("written"), w.events.get("unknown"), w.events.get("duplicate"), w.events.get("fenced"), w.events.get("trimmed"),
		w.events.get("redelivered"), w.events.get("taken"), proxy.Dropped())
	require.Positive(t, w.events.get("redelivered"))
	require.Positive(t, w.events.get("failed"))
	require.Empty(t, w.consumers(), "both have left the group")
}

// TestLostToRetention: what is trimmed away before it is read, and while it is pending, is counted once in the totals and
// told once, by whichever of several workers finds it.
func TestLostToRetention(t *testing.T) {
	w := newWorld(t)
	w.group()
	// Nobody reads while 100 entries come, of which 30 are read by one who dies, and 60 are trimmed away.
	cfg := w.config("early bird") // its tending starts the count
	cfg.MaxInFlight = 1
	first, out := w.subscribe(nil, cfg)
	w.add(1)
	m := next(t, out)
	eventually(t, "the group is tended", func() bool { return w.cursor() != "" })
	ids := w.add(100)
	w.readAs("dead", 30)
	require.NoError(t, w.admin.XTrimMinID(w.ctx, testStream, ids[60]).Err())
	m.Ack()
	require.NoError(t, first.Close())
	var got seen
	for _, consumer := range []string{"b", "c", "d"} {
		_, out := w.subscribe(nil, w.config(consumer))
		ackAll(out, &got)
	}
	eventually(t, "what is left is handled", func() bool { return got.len() >= 40 && w.pending() == 0 })
	eventually(t, "the losses are counted", func() bool { return w.total("trimmed") == 60 })
	w.add(10)
	eventually(t, "it goes on", func() bool { return got.len() >= 50 })
	tended := w.commands("xinfo|stream")
	eventually(t, "all tend again", func() bool { // at rest they would do so every five seconds
		w.add(1)
		return w.commands("xinfo|stream") >= tended+6
	})
	require.EqualValues(t, 60, w.total("trimmed"))
	eventually(t, "the losses are told", func() bool { return w.events.get("lost") >= 60 })
	require.EqualValues(t, 60, w.events.get("lost"))
}

// TestAnsweredAfterItWasTrimmed: the answer is written all the same, and counted apart from what is lost for good.
func TestAnsweredAfterItWasTrimmed(t *testing.T) {
	w := newWorld(t)
	_, out := w.subscribe(nil, w.config("a"))
	pub := w.publisher(nil)
	w.add(1)
	m := next(t, out)
	require.NoError(t, w.admin.XTrimMaxLen(w.ctx, testStream, 0).Err())
	w.subscribe(nil, w.config("b")) // finds it gone
	eventually(t, "it is counted as trimmed", func() bool { return w.total("trimmed") == 1 })
	require.NoError(t, pub.Publish("out", answer(m)))
	m.Ack()
	require.Len(t, w.answers(), 1)
	require.EqualValues(t, 1, w.events.get("trimmed"))
	require.EqualValues(t, 1, w.total("rescued"))
	require.EqualValues(t, 1, w.total("trimmed"))
	id, ok := entry.IDFrom(m.Context())
	require.True(t, ok)
	require.Equal(t, stream.DeliveryFrom(m.Context()).Entry().ID, id)
}
