package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/stream"
)

// recorder counts what Events are told.
type recorder struct {
	stream.NoEvents
	mu    sync.Mutex
	count map[string]int64 // by the name of the event, and of its kind
}

var _ stream.Events = (*recorder)(nil)

func (r *recorder) add(n int64, names ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = map[string]int64{}
	}
	for _, name := range names {
		r.count[name] += n
	}
}

func (r *recorder) get(name string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[name]
}

func (r *recorder) Read(_, _ string, n int, fresh bool, _ time.Duration) {
	r.add(int64(n), map[bool]string{true: "fresh", false: "taken"}[fresh])
	if n == 0 {
		r.add(1, "reads of nothing")
	}
}
func (r *recorder) Healed(string, string)     { r.add(1, "healed") }
func (r *recorder) Lost(_, _ string, n int64) { r.add(n, "lost") }
func (r *recorder) CommitBatch(n int, _ time.Duration) {
	r.add(1, "scripts")
	r.add(int64(n), "answers in scripts")
}
func (r *recorder) Failed(op string)              { r.add(1, "failed", "failed "+op) }
func (r *recorder) Dropped(string, string)        { r.add(1, "dropped") }
func (r *recorder) Redelivered(string, string)    { r.add(1, "redelivered") }
func (r *recorder) DeadLettered(_, _, _ string)   { r.add(1, "dead") }
func (r *recorder) HandedBack(_, _ string, n int) { r.add(int64(n), "handed back") }
func (r *recorder) Committed(_ *message.Message, result stream.CommitResult) {
	r.add(1, string(result))
}

// world is a server with a stream "in", and what a test does with both.
type world struct {
	t      *testing.T
	ctx    context.Context
	server *redistest.Server
	admin  *redis.Client
	events *recorder
}

const (
	testStream = "in"
	testGroup  = "g"
	minIdle    = 600 * time.Millisecond
)

func newWorld(t *testing.T, opts ...redistest.Option) *world {
	server := redistest.Start(t, opts...)
	return &world{t: t, ctx: context.WithoutCancel(t.Context()), server: server, admin: server.Client(), events: &recorder{}}
}

// config is short of patience, so that tests are fast.
func (w *world) config(consumer string) stream.SubscriberConfig {
	return stream.SubscriberConfig{
		Group: testGroup, Consumer: consumer, Start: stream.StartFirst, KeyPrefix: "own:",
		Block: 100 * time.Millisecond, MinIdle: minIdle, CloseTimeout: time.Second,
		MaxNackPause: 50 * time.Millisecond, Events: w.events, Logger: slog.New(slog.DiscardHandler),
	}
}

// subscriber is closed when the test ends. client is nil for the server's own.
func (w *world) subscriber(client redis.UniversalClient, cfg stream.SubscriberConfig) *stream.Subscriber {
	w.t.Helper()
	if client == nil {
		client = w.admin
	}
	s, err := stream.NewSubscriber(client, cfg)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, s.Close()) })
	return s
}

// subscribe reads the stream with a subscriber of its own.
func (w *world) subscribe(client redis.UniversalClient, cfg stream.SubscriberConfig) (*stream.Subscriber, <-chan *message.Message) {
	w.t.Helper()
	s := w.subscriber(client, cfg)
	out, err := s.Subscribe(w.ctx, testStream)
	require.NoError(w.t, err)
	return s, out
}

// through is a client whose connections go through a proxy.
func (w *world) through(change func(*redis.Options)) (*redistest.Proxy, *redis.Client) {
	proxy := redistest.NewProxy(w.t, w.server.Addr())
	return proxy, w.server.NewClient(func(o *redis.Options) {
		o.Addr = proxy.Addr()
		o.ReadTimeout, o.WriteTimeout, o.DialTimeout = time.Second, time.Second, time.Second
		if change != nil {
			change(o)
		}
	})
}

// group makes the group without a subscriber.
func (w *world) group() {
	w.t.Helper()
	require.NoError(w.t, w.admin.XGroupCreateMkStream(w.ctx, testStream, testGroup, "0").Err())
}

// add appends n entries with IDs of the present and returns these.
func (w *world) add(n int) []string {
	w.t.Helper()
	ids := make([]string, n)
	pipe := w.admin.Pipeline()
	cmds := make([]*redis.StringCmd, n)
	for i := range cmds {
		cmds[i] = pipe.XAdd(w.ctx, &redis.XAddArgs{Stream: testStream, Values: []string{"n", strconv.Itoa(i)}})
	}
	_, err := pipe.Exec(w.ctx)
	require.NoError(w.t, err)
	for i, c := range cmds {
		ids[i] = c.Val()
	}
	return ids
}

// readAs reads n entries as a consumer that is no subscriber of ours.
func (w *world) readAs(consumer string, n int) {
	w.t.Helper()
	r, err := w.admin.XReadGroup(w.ctx, &redis.XReadGroupArgs{
		Group: testGroup, Consumer: consumer, Streams: []string{testStream, ">"}, Count: int64(n), Block: -1,
	}).Result()
	require.NoError(w.t, err)
	require.Len(w.t, r[0].Messages, n)
}

func (w *world) pending() int64 {
	w.t.Helper()
	p, err := w.admin.XPending(w.ctx, testStream, testGroup).Result()
	if stream.IsNoGroup(err) {
		return 0
	}
	require.NoError(w.t, err)
	return p.Count
}

func (w *world) total(name string) int64 {
	n, _ := w.admin.HGet(w.ctx, "own:totals", name+":"+testGroup).Int64()
	return n
}

// commands is how often the server has executed a command, scripts' included.
func (w *world) commands(name string) int64 {
	w.t.Helper()
	info, err := w.admin.InfoMap(w.ctx, "commandstats").Result()
	require.NoError(w.t, err)
	var calls int64
	_, _ = fmt.Sscanf(info["Commandstats"]["cmdstat_"+name], "calls=%d,", &calls)
	return calls
}

// eventually waits for a condition, at most half a minute: the machine may be busy with other tests.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	within(t, 30*time.Second, what, condition)
}

func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	require.Eventually(t, condition, limit, 5*time.Millisecond, what)
}

// seen counts deliveries by entry ID.
type seen struct {
	mu sync.Mutex
	n  map[string]int
}

func (s *seen) add(m *message.Message) int {
	id, _ := entry.IDFrom(m.Context())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n == nil {
		s.n = map[string]int{}
	}
	s.n[id.String()]++
	return s.n[id.String()]
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.n)
}

// twice are the entries that came more than once.
func (s *seen) twice() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids []string
	for id, n := range s.n {
		if n > 1 {
			ids = append(ids, id)
		}
	}
	return ids
}

// ackAll acks what comes until the channel closes; done is closed then.
func ackAll(out <-chan *message.Message, s *seen) (done <-chan struct{}) {
	end := make(chan struct{})
	go func() {
		defer close(end)
		for m := range out {
			s.add(m)
			m.Ack()
		}
	}()
	return end
}

// next is the next message, which must come within ten seconds.
func next(t *testing.T, out <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-out:
		require.True(t, ok, "the channel was closed")
		return m
	case <-time.After(30 * time.Second):
		require.Fail(t, "no message came")
		return nil
	}
}
