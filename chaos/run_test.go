package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
)

// plan says what a run is made of.
type plan struct {
	seed     uint64
	duration time.Duration // of load with faults; it lasts until every fault happened often enough in any case
	rate     float64       // plans per second
	pause    time.Duration // the longest between two faults
	faults   []fault
	least    int      // how often each fault has to happen
	healthy  float64  // share of the late observations that has to lie in times without faults
	env      []string // of the workers, beside the settings
}

// run is one chaos run. Its fields belong to the test's goroutine.
type run struct {
	t    *testing.T
	plan plan
	rng  *rand.Rand // of the faults

	servers [2]*redistest.Server
	at      int              // index of the primary
	proxy   *redistest.Proxy // between the workers and the primary
	direct  *redistest.Proxy // between everybody else and the primary: it does no harm
	control *redis.Client
	load    *load
	fleet   *fleet
	windows *windows

	began    time.Time
	ended    time.Time // of the load
	happened map[string]int
	trims    []entry.ID // everything below was removed by us
	counted  time.Time  // when the last of it has been counted
	losses   []loss
	outages  []interval // in which Redis took no writes
	usage    [2]usage   // before and after
	calm     [2]tally   // before and after the load without faults
}

type interval struct{ from, to time.Time }

// loss is what Redis forgot though it had acknowledged it: entries with IDs above one and up to the other. Its state is
// then an earlier one, in all keys alike.
type loss struct{ above, upTo entry.ID }

// usage is what the workers use, the most of any.
type usage struct{ memory, goroutines, connections float64 }

// execute runs everything up to the quiet end.
func execute(t *testing.T, p plan) *run {
	t.Helper()
	r := &run{t: t, plan: p, rng: rand.New(rand.NewPCG(p.seed, 1)), windows: &windows{}, happened: map[string]int{}}
	for i := range r.servers {
		r.servers[i] = redistest.Start(t, redistest.WithAOF("everysec"), redistest.WithConfig("save", `""`),
			redistest.WithConfig("auto-aof-rewrite-percentage", "0"))
	}
	r.proxy = redistest.NewProxy(t, r.primary().Addr())
	r.direct = redistest.NewProxy(t, r.primary().Addr())
	straight := func(o *redis.Options) { o.Addr, o.ReadTimeout = r.direct.Addr(), 5*time.Second }
	// One repetition after a connection that ended while nobody used it; no command of ours harms when it is repeated.
	r.control = r.primary().NewClient(func(o *redis.Options) { straight(o); o.MaxRetries = 5 })
	r.load = &load{client: r.primary().NewClient(straight), seed: p.seed, rate: p.rate}
	r.fleet = newFleet(t, settings(r.proxy.Addr(), p.env...))

	ctx, stop := context.WithCancel(context.Background())
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	background.Go(func() { r.fleet.watch(ctx) })
	background.Go(func() { r.windows.canary(ctx, r.control) })
	background.Go(func() { r.load.writeHeat(ctx) })
	if !r.fleet.recovered(startLimit) {
		t.Fatal("the workers are not ready")
	}
	r.usage[0] = r.measure()

	r.began = time.Now()
	writing, stopWriting := context.WithCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(func() { r.load.write(writing) })
	r.harm()
	r.ended = time.Now()
	stopWriting()
	writer.Wait()
	r.quiet()
	if !t.Failed() {
		r.unharmed(ctx)
	}
	return r
}

// harm has faults happen, each kind often enough first and then by chance, until the time is over.
func (r *run) harm() {
	r.t.Helper()
	var due []fault
	for range r.plan.least {
		due = append(due, r.plan.faults...)
	}
	r.rng.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	const tries = 20
	time.Sleep(r.plan.pause)
	for len(due) > 0 || time.Since(r.began) < r.plan.duration {
		var f fault
		if len(due) > 0 {
			f, due = due[0], due[1:]
		} else {
			f = r.plan.faults[r.rng.IntN(len(r.plan.faults))]
		}
		bit := false
		start := time.Now()
		for range tries { // a fault that found nothing to harm is none
			if bit = f.do(r); bit {
				break
			}
		}
		if !bit {
			r.t.Errorf("fault %q found nothing to harm", f.name)
		}
		r.happened[f.name]++
		r.t.Logf("%6.1fs  %s (%v)", start.Sub(r.began).Seconds(), f.name, time.Since(start).Round(time.Millisecond))
		time.Sleep(r.between(r.plan.pause/4, r.plan.pause))
		if r.t.Failed() {
			r.t.Log("the run ends early")
			return
		}
	}
}

// quiet lets the workers finish. What is late is late by one of the excuses, so all is done within the longest of them.
func (r *run) quiet() {
	r.t.Helper()
	const most = 15 * time.Second
	began := time.Now()
	if !r.fleet.recovered(most) {
		r.t.Error("not every worker is ready after the last fault")
	}
	if !eventually(most, func() bool { return settled(r.control) }) {
		for _, g := range groups {
			held, err := pendingOf(r.control, g, "")
			r.t.Errorf("group %s: %d entries are still pending after %v of quiet (%v): %.5v", g, len(held), most, err, held)
		}
	}
	r.t.Logf("%6.1fs  quiet after %v", time.Since(r.began).Seconds(), time.Since(began).Round(time.Millisecond))
	for _, p := range r.fleet.running() {
		p.scrape()
	}
	r.usage[1] = r.measure()
}

// tally is what the workers and Redis have counted, at rest.
type tally struct {
	at                       time.Time
	plans                    int // that the load was told of
	observed, reasons, dead  float64
	observations, deadLetter int64
}

// unharmed has plans flow with no fault in sight, so that the counters can be held against what Redis holds.
func (r *run) unharmed(ctx context.Context) {
	r.t.Helper()
	const span = 3 * time.Second
	r.calm[0] = r.tallyAtRest()
	writing, stop := context.WithTimeout(ctx, span)
	defer stop()
	r.load.write(writing)
	r.quiet()
	r.calm[1] = r.tallyAtRest()
}

// tallyAtRest waits for the workers to count what they have done: they do so when the answer of Redis is there.
func (r *run) tallyAtRest() (n tally) {
	r.t.Helper()
	if !eventually(10*time.Second, func() bool {
		last := n
		n = r.tally()
		last.at = n.at
		return last == n
	}) {
		r.t.Error("the counters go on rising though nothing is left to do")
	}
	return n
}

func (r *run) tally() (n tally) {
	r.t.Helper()
	for _, p := range r.fleet.running() {
		p.scrape()
		n.observed += p.sum("p28_observed_total{")
		n.reasons += p.sum("p28_heat_reason_total{")
		n.dead += p.sum("dead_letters_total{")
	}
	ctx, cancel := deadline()
	defer cancel()
	var err error
	n.observations, err = r.control.XLen(ctx, observedStream).Result()
	mustDo(r.t, "count observations", err)
	n.deadLetter, err = r.control.XLen(ctx, deadStream).Result()
	mustDo(r.t, "count dead letters", err)
	n.plans, n.at = len(r.load.acknowledged()), time.Now()
	return n
}

func (r *run) primary() *redistest.Server { return r.servers[r.at] }
func (r *run) standby() *redistest.Server { return r.servers[1-r.at] }
func (r *run) switched()                  { r.at = 1 - r.at }

// pending lists what is pending in both groups for consumers whose name begins with prefix.
func (r *run) pending(prefix string) (ids []string) {
	r.t.Helper()
	for _, g := range groups {
		list, err := pendingOf(r.control, g, prefix)
		if err != nil {
			continue // the group was destroyed a moment ago
		}
		for _, id := range list {
			ids = append(ids, g+" "+id)
		}
	}
	return ids
}

// forgot notes that Redis has lost everything above an ID that was written up to a moment. It is called when what it has
// kept is known.
func (r *run) forgot(kept string, until time.Time) {
	r.t.Helper()
	above, err := entry.ParseID(kept)
	mustDo(r.t, "read the last ID that Redis has kept", err)
	r.losses = append(r.losses, loss{above, entry.IDAt(until.Add(time.Millisecond))})
}

// down notes that Redis took no writes from a moment until now.
func (r *run) down(from time.Time) { r.outages = append(r.outages, interval{from, time.Now()}) }

// recover waits for the workers after Redis was away.
func (r *run) recover() {
	r.t.Helper()
	if !r.fleet.recovered(20 * time.Second) {
		r.t.Error("not every worker is ready 20s after Redis came back")
	}
}

// measure is what the workers use at this moment.
func (r *run) measure() usage {
	for _, p := range r.fleet.running() {
		p.scrape()
	}
	return usage{
		memory:      r.fleet.most("process_resident_memory_bytes"),
		goroutines:  r.fleet.most("go_goroutines"),
		connections: float64(r.proxy.Connections()) / float64(len(names)),
	}
}

// page reads a whole stream.
func (r *run) page(stream string, each func(redis.XMessage) error) error {
	for from := "-"; ; {
		ctx, cancel := deadline()
		list, err := r.control.XRangeN(ctx, stream, from, "+", 2000).Result()
		cancel()
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		for _, m := range list {
			if err := each(m); err != nil {
				return fmt.Errorf("entry %s of %s: %w", m.ID, stream, err)
			}
			from = "(" + m.ID
		}
		if len(list) == 0 {
			return nil
		}
	}
}
