package heat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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
	proxy   *redistest.Proxy // between the server and what is tested
	reader  *Reader
	watcher *Watcher
	log     *recorder
}

func newHouse(t testing.TB, server *redistest.Server, change func(*WaiterOptions)) *house {
	t.Helper()
	h := &house{server: server, log: &recorder{}, proxy: redistest.NewProxy(t, server.Addr())}
	through := func(o *redis.Options) { o.Addr = h.proxy.Addr() }
	h.reader = newReader(t, server.NewClient(through), ReaderOptions{Timeout: stormTimeout})
	h.waits = newWaits(t, h.reader, change)
	t.Cleanup(h.w.Close)
	opts := *server.Client().Options()
	through(&opts)
	h.watcher = watch(t, &opts, h.w, WatcherOptions{Log: h.log.log()})
	h.healthy()
	return h
}

func (h *house) healthy() {
	h.t.Helper()
	eventually(h.t, "writes are announced", h.watcher.Healthy)
}

// stormTimeout is how long the reader of a storm waits for an answer.
const stormTimeout = time.Second

// storm is something that is done to Redis while plans wait.
type storm struct {
	name string
	harm func(h *house)
	// lost says that the harm may destroy hashes before anybody looked, so that a plan may honestly time out.
	lost bool
	// mute says that Redis answers nothing while harm is done, so that looks may honestly fail.
	mute bool
	// long says that the short run does without it.
	long bool
}

var storms = []storm{
	{name: "nothing", long: true, harm: func(*house) {}},
	{name: "connections cut", harm: func(h *house) { h.proxy.Cut() }},
	{name: "unreachable", mute: true, long: true, harm: func(h *house) {
		h.proxy.Refuse(true)
		h.proxy.Cut()
		time.Sleep(stormTimeout)
		h.proxy.Refuse(false)
	}},
	{name: "clients killed", harm: func(h *house) {
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
	{name: "idle connections closed", long: true, harm: func(h *house) { h.server.ConfigSet("timeout", "1") }},
	{name: "restarted", lost: true, mute: true, harm: func(h *house) { h.server.Kill(); h.server.Restart() }},
	{name: "paused", mute: true, harm: func(h *house) {
		h.server.Pause()
		time.Sleep(stormTimeout * 3 / 2)
		h.server.Resume()
	}},
	{name: "flushed", lost: true, harm: func(h *house) { h.server.Client().FlushAll(h.t.Context()) }},
}

// stormRules leave room for a slow machine: all plans must be waiting before the first deadline, and what a harm does
// to one plan must lie within one poll interval.
func stormRules() (plans int, rules event.Rules) {
	if testing.Short() {
		return 1000, event.Rules{MaxWait: 3 * time.Second, Poll: 400 * time.Millisecond, MaxErrors: 2}
	}
	return 5000, event.Rules{MaxWait: 8 * time.Second, Poll: 500 * time.Millisecond, MaxErrors: 2}
}

// slack is what a deadline may be missed by, beside the sweep interval, because the machine does other things.
const slack = 3 * time.Second

// Whatever is done to Redis while 5,000 plans wait (1,000 in the short run), each ends exactly once, and by its deadline
// as soon as Redis answers; those whose heat came are found.
func TestStorm(t *testing.T) {
	for _, test := range storms {
		t.Run(test.name, func(t *testing.T) {
			if test.long && testing.Short() {
				t.Skip("left to the long run")
			}
			t.Parallel() // they mostly wait
			test.run(t)
		})
	}
}

func (test storm) run(t *testing.T) {
	plans, rules := stormRules()
	var told sync.Map // plan counts by the hook must agree with what Wait returned
	h := newHouse(t, redistest.Start(t), func(o *WaiterOptions) {
		o.Rules, o.WatchFor = rules, -1
		o.Metrics.Waited = func(v event.Verdict) {
			n, _ := told.LoadOrStore(v.Reason, new(atomic.Int64))
			n.(*atomic.Int64).Add(1)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	start := time.Now()
	for i := range plans {
		h.start(ctx, planName(i), start)
	}
	eventually(t, "all wait", func() bool { return h.w.Len() == plans || time.Since(start) > rules.MaxWait })
	writer := h.server.NewClient(nil)
	var writes sync.WaitGroup
	var written sync.Map // when, by plan
	writes.Go(func() { writeMany(ctx, writer, plans/2, start.Add(rules.MaxWait/2), &written) })
	time.Sleep(time.Until(start.Add(rules.MaxWait / 4))) // in the midst of the writes
	began := time.Now()
	test.harm(h)
	answers := time.Now() // from here on, at the latest
	t.Logf("the harm was done after %v and took %v", began.Sub(start), answers.Sub(began))
	writes.Wait()

	got := map[event.Reason]int{}
	ended := map[string]bool{}
	latest := time.Duration(0)
	for range plans {
		r := h.next()
		if r.err != nil || ended[r.planID] {
			t.Fatalf("%s ended with %v, twice: %v", r.planID, r.err, ended[r.planID])
		}
		ended[r.planID] = true
		got[r.verdict.Reason]++
		when, ok := written.Load(r.planID)
		inTime := ok && when.(time.Time).Before(start.Add(rules.MaxWait*9/10))
		if inTime && r.verdict.Reason != event.OK && !test.lost && !test.mute {
			t.Fatalf("%s ended with %v, but its heat was there after %v", r.planID, r.verdict.Reason, when.(time.Time).Sub(start))
		}
		limit := start.Add(rules.MaxWait)
		if test.mute && answers.After(limit) {
			limit = answers
		}
		latest = max(latest, r.at.Sub(limit))
	}
	if latest > rules.Poll+slack {
		t.Errorf("a wait ended %v past its deadline", latest)
	}
	h.empty()
	if len(h.results) != 0 {
		t.Errorf("%d waits ended twice", len(h.results))
	}
	for reason, n := range got { // Wait may return before the metrics are told
		eventually(t, fmt.Sprintf("the metrics are told of %d %s", n, reason), func() bool {
			c, ok := told.Load(reason)
			return ok && c.(*atomic.Int64).Load() == int64(n)
		})
	}
	rest := got[event.Timeout]
	if test.mute {
		rest += got[event.RedisError]
	}
	least := plans / 5
	if test.mute { // on a machine that is slow enough many looks honestly fail
		least = 1
	}
	if ok := got[event.OK]; ok+rest != plans || ok > plans/2 || ok < least {
		t.Errorf("ends %v, want about %d ok and the rest timed out", got, plans/2)
	}
	t.Logf("ends %v, the last %v past its deadline", got, latest)
	h.healthy() // and announcements have come back by themselves
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
