package heat

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
	"heatobserver/internal/redistest"
)

// house is a Reader, a Waiter and a Watcher on one server, as the process has them.
type house struct {
	*waits
	server  *redistest.Server
	reader  *Reader
	watcher *Watcher
	log     *recorder
}

func newHouse(t testing.TB, server *redistest.Server, change func(*WaiterOptions)) *house {
	t.Helper()
	h := &house{server: server, log: &recorder{}}
	h.reader = newReader(t, server.NewClient(nil), ReaderOptions{Timeout: 200 * time.Millisecond})
	h.waits = newWaits(t, h.reader, change)
	t.Cleanup(h.w.Close)
	h.watcher = watch(t, server.Client().Options(), h.w, WatcherOptions{Log: h.log.log()})
	h.healthy()
	return h
}

func (h *house) healthy() {
	h.t.Helper()
	eventually(h.t, "writes are announced", h.watcher.Healthy)
}

// Whatever is done to Redis while 5,000 plans wait, each ends exactly once, and by its deadline as soon as
// Redis answers; those whose heat came are found.
func TestStorm(t *testing.T) {
	const plans = 5000
	for _, test := range []struct {
		name string
		harm func(h *house)
		// lost says that the harm may destroy hashes before anybody looked, so that a plan may honestly time out.
		lost bool
		// mute is how long Redis may be unable to answer because of the harm.
		mute time.Duration
	}{
		{name: "nothing", harm: func(*house) {}},
		{name: "connections killed", harm: func(h *house) {
			// All within one poll interval: failures that lie further apart would honestly be redis_error.
			admin := h.server.Client()
			for range 3 {
				for _, kind := range []string{"pubsub", "normal"} {
					if err := admin.Do(h.t.Context(), "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes").Err(); err != nil {
						h.t.Fatal(err)
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
		}},
		{name: "tracking switched off by the server", harm: func(h *house) {
			h.server.ConfigSet("timeout", "1") // closes what is idle
		}},
		{name: "restarted", lost: true, mute: time.Second, harm: func(h *house) { h.server.Kill(); h.server.Restart() }},
		{name: "paused", mute: time.Second, harm: func(h *house) {
			h.server.Pause()
			time.Sleep(700 * time.Millisecond)
			h.server.Resume()
		}},
		{name: "flushed", lost: true, harm: func(h *house) { h.server.Client().FlushAll(h.t.Context()) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			rules := testRules
			var told sync.Map // plan counts by the hook must agree with what Wait returned
			h := newHouse(t, redistest.Start(t), func(o *WaiterOptions) {
				o.WatchFor = -1
				o.Metrics.Waited = func(v event.Verdict) {
					n, _ := told.LoadOrStore(v.Reason, new(counter))
					n.(*counter).add(1)
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			start := time.Now()
			for i := range plans {
				h.start(ctx, planName(i), start)
			}
			eventually(t, "all wait", func() bool { return h.w.Len() == plans })
			writer := h.server.NewClient(nil)
			var writes sync.WaitGroup
			var written sync.Map // when, by plan
			writes.Go(func() { writeMany(ctx, writer, plans/2, start.Add(rules.MaxWait/2), &written) })
			time.Sleep(time.Until(start.Add(rules.MaxWait / 4))) // in the midst of the writes
			test.harm(h)
			writes.Wait()

			got := map[event.Reason]int{}
			ended := map[string]bool{}
			for range plans {
				r := <-h.results
				if r.err != nil || ended[r.planID] {
					t.Fatalf("%s ended with %v, twice: %v", r.planID, r.err, ended[r.planID])
				}
				ended[r.planID] = true
				got[r.verdict.Reason]++
				when, ok := written.Load(r.planID)
				inTime := ok && when.(time.Time).Before(start.Add(rules.MaxWait*9/10))
				if inTime && r.verdict.Reason != event.OK && !test.lost && test.mute == 0 {
					t.Fatalf("%s ended with %v, but its heat was there after %v", r.planID, r.verdict.Reason, when.(time.Time).Sub(start))
				}
				if late := r.at.Sub(start) - rules.MaxWait; late > rules.Poll+test.mute+500*time.Millisecond {
					t.Fatalf("%s ended %v past its deadline with %v", r.planID, late, r.verdict.Reason)
				}
			}
			h.empty()
			if len(h.results) != 0 {
				t.Errorf("%d waits ended twice", len(h.results))
			}
			for reason, n := range got {
				if c, ok := told.Load(reason); !ok || c.(*counter).value() != n {
					t.Errorf("%s: %d waits ended, the metrics were told %v", reason, n, c)
				}
			}
			rest := got[event.Timeout]
			if test.mute > 0 {
				rest += got[event.RedisError]
			}
			if ok := got[event.OK]; ok+rest != plans || ok > plans/2 || ok < plans/5 {
				t.Errorf("ends %v, want about %d ok and the rest timed out", got, plans/2)
			}
			t.Logf("ends %v", got)
			h.healthy() // and announcements have come back by themselves
		})
	}
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
}

func (c *counter) value() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// writeMany writes the hashes of the first n plans in random order and paced, so that it ends about at until.
// What could not be written is written again.
func writeMany(ctx context.Context, client *redis.Client, n int, until time.Time, written *sync.Map) {
	pause := max(0, time.Until(until)) * 50 / time.Duration(n)
	for at, ids := 0, rand.Perm(n); at < n && ctx.Err() == nil; {
		pipe := client.Pipeline()
		some := ids[at:min(n, at+50)]
		for _, i := range some {
			pipe.HSet(ctx, prefix+planName(i), "heat_level", "hot", "heat_score", "0.5")
		}
		if _, err := pipe.Exec(ctx); err == nil {
			at += 50
			for _, i := range some {
				written.Store(planName(i), time.Now())
			}
		}
		time.Sleep(pause)
	}
}
