package heat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"heatobserver/event"
	"heatobserver/internal/redistest"
)

const prefix = "quantum:harvest:heat:by_plan:"

func newReader(t testing.TB, client redis.UniversalClient, opts ReaderOptions) *Reader {
	t.Helper()
	r, err := NewReader(client, prefix, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// writeHash writes what the heat bridge writes: HSET and EXPIRE in one transaction.
func writeHash(t testing.TB, client redis.Cmdable, id string) {
	t.Helper()
	pipe := client.TxPipeline()
	pipe.HSet(t.Context(), prefix+id, "ts_epoch", "1700000000", "symbol", "BTCUSDT", "plan_id", id,
		"in_action", "FULL_CLOSE", "out_action", "PARTIAL_25", "heat_level", "hot", "heat_score", "0.75",
		"heat_action", "DOWNGRADE_FULL_TO_PARTIAL", "recommended_partial", "0.25", "reason", "hot", "mode", "shadow",
		"debug_json", `{"a":1}`)
	pipe.Expire(t.Context(), prefix+id, 1800*time.Second)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Errorf("write hash: %v", err)
	}
}

var wantHeat = event.Heat{
	TsEpoch: "1700000000", Level: "hot", Score: "0.75", Action: "DOWNGRADE_FULL_TO_PARTIAL",
	InAction: "FULL_CLOSE", OutAction: "PARTIAL_25", RecommendedPartial: "0.25", Mode: "shadow",
}

// Every way to look sees the same, in both protocols, on Redis and on the server of the demo.
func TestLook(t *testing.T) {
	server, mini := redistest.Start(t), miniredis.RunT(t)
	for _, test := range []struct {
		name     string
		addr     string
		protocol int
	}{
		{"redis RESP2", server.Addr(), 2},
		{"redis RESP3", server.Addr(), 3},
		{"miniredis", mini.Addr(), 2},
		{"one key to a command", server.Addr(), 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: test.addr, Protocol: test.protocol, MaxRetries: -1})
			defer client.Close()
			now := time.Unix(1_800_000_000, 0)
			var through redis.UniversalClient = client
			if test.name == "one key to a command" {
				through = struct{ redis.UniversalClient }{client} // as one of a Cluster is, no *redis.Client
			}
			r := newReader(t, through, ReaderOptions{Now: func() time.Time { return now }})
			ctx := t.Context()
			client.FlushAll(ctx)
			writeHash(t, client, "found")
			client.Set(ctx, prefix+"string", "x", 0)
			client.HSet(ctx, prefix+"score", "heat_score", "NaN", "heat_level", "hot")
			client.HSet(ctx, prefix+"bare", "symbol", "BTCUSDT")

			check := func(t *testing.T, how, id string, look event.Look) {
				t.Helper()
				want := map[string]event.LookKind{
					"found": event.Found, "string": event.Malformed, "score": event.Malformed, "bare": event.Found,
				}[id]
				if look.Kind != want || !look.At.Equal(now) || (look.Err != nil) != (want == event.Malformed) {
					t.Errorf("%s of %s: kind %d at %v, error %v", how, id, look.Kind, look.At, look.Err)
				}
				if id == "found" && look.Heat != wantHeat {
					t.Errorf("%s: heat %+v", how, look.Heat)
				}
			}
			ids := []string{"found", "absent", "string", "score", "bare"}
			for _, id := range ids {
				check(t, "Look", id, r.Look(ctx, id))
			}
			for i := range 300 { // several chunks, most of them empty
				ids = append(ids, planName(i))
			}
			ids = append(ids, "found")
			for how, looks := range map[string][]event.Look{
				"LookEach":   r.LookEach(ctx, nil, ids),
				"LookMany":   r.LookMany(ctx, nil, ids),
				"lookChunks": r.lookChunks(ctx, nil, ids),
			} {
				if len(looks) != len(ids) {
					t.Fatalf("%s: %d looks for %d plans", how, len(looks), len(ids))
				}
				for i, id := range ids {
					check(t, how, id, looks[i])
				}
			}
		})
	}
}

// Looks that meet share pipelines, and each gets its own answer.
func TestLooksShareBatches(t *testing.T) {
	server := redistest.Start(t)
	var mu sync.Mutex
	batches, plans := 0, 0
	r := newReader(t, server.Client(), ReaderOptions{Batch: 16, Queue: 8, Metrics: Metrics{Looked: func(l Lookup) {
		mu.Lock()
		defer mu.Unlock()
		batches, plans = batches+1, plans+l.Plans
		if l.Plans > 16 || l.Failed != 0 {
			t.Errorf("batch %+v", l)
		}
	}}})
	const n = 2000
	for i := range n / 2 {
		server.Client().HSet(t.Context(), prefix+planName(2*i), "heat_level", planName(2*i))
	}
	server.Pause() // so that they do meet
	var looks sync.WaitGroup
	for i := range n {
		looks.Go(func() {
			look := r.Look(t.Context(), planName(i))
			switch {
			case i%2 == 0 && look.Kind == event.Found && look.Heat.Level == planName(i):
			case i%2 == 1 && look.Kind == event.Absent:
			default:
				t.Errorf("plan %d: %+v", i, look)
			}
		})
	}
	server.Resume()
	looks.Wait()
	if plans != n || batches > n/4 {
		t.Errorf("%d plans in %d batches", plans, batches)
	}
}

func TestLookFails(t *testing.T) {
	server := redistest.Start(t)
	client := server.NewClient(func(o *redis.Options) { o.ContextTimeoutEnabled = false }) // as by default
	r := newReader(t, client, ReaderOptions{Timeout: 100 * time.Millisecond})
	server.Pause()
	start := time.Now()
	for how, look := range map[string]event.Look{
		"Look":     r.Look(t.Context(), "p"),
		"LookEach": r.LookEach(t.Context(), nil, []string{"p"})[0],
		"LookMany": r.LookMany(t.Context(), nil, []string{"p", "q"})[1],
	} {
		if look.Kind != event.Failed || look.Err == nil || look.At.IsZero() {
			t.Errorf("%s of a server that does not answer: %+v", how, look)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("three attempts of 100ms took %v", took)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("drain")
	time.AfterFunc(10*time.Millisecond, func() { cancel(cause) })
	if look := r.Look(ctx, "p"); !errors.Is(look.Err, cause) {
		t.Errorf("cancelled look: %v, want its cause", look.Err)
	}
	server.Resume()
	if look := r.Look(t.Context(), "p"); look.Kind != event.Absent {
		t.Errorf("after the pause: %+v", look)
	}
	r.Close()
	if look := r.Look(t.Context(), "p"); !errors.Is(look.Err, ErrClosed) || look.Kind != event.Failed {
		t.Errorf("after Close: %+v", look)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client was closed: %v", err)
	}
}

// An error that Redis answers is a failure, and what it refuses of many keys is asked of each.
func TestLookRefused(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	for user, rules := range map[string][]any{
		"nothing":   {"~*", "-@all", "+ping"},
		"no-exists": {"~*", "+@all", "-exists"},
	} {
		args := append([]any{"ACL", "SETUSER", user, "on", ">s3cret"}, rules...)
		if err := admin.Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	writeHash(t, admin, "found")
	as := func(user string) *Reader {
		return newReader(t, server.NewClient(func(o *redis.Options) { o.Username, o.Password = user, "s3cret" }), ReaderOptions{})
	}
	look := as("nothing").Look(t.Context(), "found")
	if look.Kind != event.Failed || !strings.Contains(look.Err.Error(), "NOPERM") || strings.Contains(look.Err.Error(), "s3cret") {
		t.Errorf("a look that the ACL denies: %+v", look)
	}
	looks := as("no-exists").LookMany(t.Context(), nil, []string{"found", "absent"})
	if looks[0].Kind != event.Found || looks[1].Kind != event.Absent {
		t.Errorf("with EXISTS denied: %+v", looks)
	}
}

// One look is one attempt: a connection that breaks is not tried again behind the back of the stop conditions.
func TestOneLookIsOneAttempt(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	attempts := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					if strings.Contains(string(buf[:n]), "hgetall") {
						attempts <- struct{}{}
						return
					}
					// The commands with which go-redis begins a connection.
					reply := strings.Repeat("-ERR unknown command\r\n", strings.Count(string(buf[:n]), "*"))
					if _, err := conn.Write([]byte(reply)); err != nil {
						return
					}
				}
			}()
		}
	}()
	client := redis.NewClient(&redis.Options{Addr: listener.Addr().String(), MaxRetries: -1, Protocol: 2})
	defer client.Close()
	r := newReader(t, client, ReaderOptions{})
	if look := r.Look(t.Context(), "p"); look.Kind != event.Failed {
		t.Errorf("look over a broken connection: %+v", look)
	}
	if n := len(attempts); n != 1 {
		t.Errorf("%d attempts for one look", n)
	}
}

// held keeps pipelines on their way until it is released.
type held struct {
	entered  chan struct{}
	release  chan struct{}
	released atomic.Bool
}

func (h *held) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (h *held) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h *held) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == "hgetall" {
			h.entered <- struct{}{}
			<-h.release
		}
		return next(ctx, cmds)
	}
}

// A look ends with its context even where there is no room to ask, and all end with the Reader, which waits for its lanes.
func TestLooksEndWithTheReader(t *testing.T) {
	client := redistest.Start(t).Client()
	r, err := NewReader(client, prefix, ReaderOptions{Lanes: 1, Batch: 1, Queue: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := &held{entered: make(chan struct{}, 10), release: make(chan struct{})}
	r.client.AddHook(h) // its client has a timeout of its own, and hooks
	looks := make(chan event.Look, 2)
	look := func() { looks <- r.Look(context.Background(), "p") }
	go look()
	<-h.entered
	go look()
	eventually(t, "the other is queued", func() bool { return len(r.queue) == 1 })
	cause := errors.New("drain")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if look := r.Look(ctx, "p"); look.Kind != event.Failed || !errors.Is(look.Err, cause) {
		t.Errorf("cancelled with no room to ask: %+v", look)
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		r.Close()
		if !h.released.Load() {
			t.Error("Close did not wait for its lanes")
		}
	}()
	for range 2 {
		if look := <-looks; look.Kind != event.Failed || !errors.Is(look.Err, ErrClosed) {
			t.Errorf("under way at Close: %+v", look)
		}
	}
	h.released.Store(true)
	close(h.release)
	<-closed
	for range 100 { // by chance they are queued, for nobody
		if look := r.Look(t.Context(), "p"); look.Kind != event.Failed || !errors.Is(look.Err, ErrClosed) {
			t.Fatalf("after Close: %+v", look)
		}
		select {
		case <-r.queue:
		default:
		}
	}
}

func TestNewReaderRefuses(t *testing.T) {
	retrying := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer retrying.Close()
	once := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer once.Close()
	for name, make := range map[string]func() (*Reader, error){
		"empty prefix":     func() (*Reader, error) { return NewReader(once, "", ReaderOptions{}) },
		"retrying client":  func() (*Reader, error) { return NewReader(retrying, prefix, ReaderOptions{}) },
		"negative timeout": func() (*Reader, error) { return NewReader(once, prefix, ReaderOptions{Timeout: -1}) },
		"negative lanes":   func() (*Reader, error) { return NewReader(once, prefix, ReaderOptions{Lanes: -1}) },
		"negative batch":   func() (*Reader, error) { return NewReader(once, prefix, ReaderOptions{Batch: -1}) },
		"negative queue":   func() (*Reader, error) { return NewReader(once, prefix, ReaderOptions{Queue: -1}) },
	} {
		if r, err := make(); err == nil {
			r.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestPairsRefusesWhatIsCutShort(t *testing.T) {
	whole := "%1\r\n$1\r\na\r\n$1\r\nb\r\n"
	if f, err := pairs([]byte(whole), nil); err != nil || f.Len() != 1 {
		t.Fatalf("%q: %d fields, %v", whole, f.Len(), err)
	}
	for n := range len(whole) {
		for _, kind := range []string{whole[:n], strings.Replace(whole[:n], "%1", "*2", 1)} {
			if f, err := pairs([]byte(kind), nil); err == nil {
				t.Errorf("%q: %d fields", kind, f.Len())
			}
		}
	}
	for _, raw := range []string{"", "%0", "\r\n", "_\r\n", "$-1\r\n", ":1\r\n", "%x\r\n", "%-1\r\n", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"} {
		if f, err := pairs([]byte(raw), nil); err == nil {
			t.Errorf("%q: %d fields", raw, f.Len())
		}
	}
}

func BenchmarkLook(b *testing.B) {
	server := redistest.Start(b)
	writeHash(b, server.Client(), "found")
	for _, callers := range []int{1, 64, 1024} {
		for _, id := range []string{"found", "absent"} {
			b.Run(fmt.Sprintf("%s/callers=%d", id, callers), func(b *testing.B) {
				r := newReader(b, server.Client(), ReaderOptions{})
				b.ReportAllocs()
				b.SetParallelism(callers)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if look := r.Look(b.Context(), id); look.Kind == event.Failed {
							b.Error(look.Err)
						}
					}
				})
			})
		}
	}
}

// The share of hashes that are there decides between the two ways to look at many.
func BenchmarkLookMany(b *testing.B) {
	server := redistest.Start(b)
	r := newReader(b, server.Client(), ReaderOptions{})
	for _, percent := range []int{0, 1, 5, 20, 50} {
		server.Client().FlushAll(b.Context())
		ids := make([]string, 500)
		for i := range ids {
			ids[i] = planName(i)
			if i*percent/100 != (i-1)*percent/100 {
				writeHash(b, server.Client(), ids[i])
			}
		}
		for name, look := range map[string]func(context.Context, []event.Look, []string) []event.Look{"each": r.lookEach, "chunks": r.lookChunks, "many": r.LookMany} {
			b.Run(fmt.Sprintf("%s/found=%d%%", name, percent), func(b *testing.B) {
				b.ReportAllocs()
				before := redisCPU(b, server.Client())
				var looks []event.Look
				for b.Loop() {
					looks = look(b.Context(), looks[:0], ids)
				}
				b.ReportMetric(float64(redisCPU(b, server.Client())-before)/float64(b.N*len(ids)), "redis-ns/plan")
			})
		}
	}
}

// redisCPU is the CPU time that the server has used.
func redisCPU(t testing.TB, client *redis.Client) time.Duration {
	t.Helper()
	info, err := client.InfoMap(t.Context(), "cpu").Result()
	if err != nil {
		t.Fatal(err)
	}
	var total time.Duration
	for _, name := range []string{"used_cpu_sys", "used_cpu_user"} {
		d, err := time.ParseDuration(info["CPU"][name] + "s")
		if err != nil {
			t.Fatal(err)
		}
		total += d
	}
	return total
}
