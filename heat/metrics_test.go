package heat

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
	"heatobserver/internal/redistest"
)

// Each batch is told with what it found and what failed.
func TestMetricsOfLooks(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	var told []Lookup
	r := newReader(t, client, ReaderOptions{Timeout: time.Minute, Metrics: Metrics{Looked: func(l Lookup) {
		if l.Took <= 0 {
			t.Errorf("a batch took %v", l.Took)
		}
		l.Took = 0
		told = append(told, l)
	}}})
	expect := func(step string, want ...Lookup) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %+v, want %+v", step, told, want)
		}
		told = nil
	}
	writeHash(t, client, "found")
	client.Set(t.Context(), prefix+"malformed", "x", 0)
	ids := []string{"absent", "found", "malformed", "another", "one more"}
	looks := r.LookEach(t.Context(), nil, nil)
	looks = r.LookMany(t.Context(), looks, nil)
	expect("nothing asked")
	looks = r.LookEach(t.Context(), looks, ids)
	expect("each", Lookup{Plans: 5, Found: 2})
	looks = r.LookMany(t.Context(), looks, ids[:4])
	expect("many", Lookup{Plans: 4, Found: 2})
	server.Stop()
	looks = r.LookEach(t.Context(), looks, ids)
	expect("each of a server that is gone", Lookup{Plans: 5, Failed: 5})
	looks = r.LookMany(t.Context(), looks, ids)
	expect("many of a server that is gone", Lookup{Plans: 5, Failed: 5})
	if len(looks) != 19 {
		t.Errorf("%d looks for 19 plans", len(looks))
	}
}

// A sweep asks for many keys with one command while next to nothing is found, and only where they may stand in one.
func TestSweepTakesTheCheaperWay(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	r := newReader(t, client, ReaderOptions{Timeout: time.Minute})
	calls := func(command string) int {
		t.Helper()
		stats, err := client.InfoMap(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		text, _, _ := strings.Cut(strings.TrimPrefix(stats["Commandstats"]["cmdstat_"+command], "calls="), ",")
		n, _ := strconv.Atoi(text) // none is not listed
		return n
	}
	expect := func(step string, r *Reader, ids []string, exists, hgetall int) {
		t.Helper()
		client.ConfigResetStat(t.Context())
		r.LookMany(t.Context(), nil, ids)
		if e, h := calls("exists"), calls("hgetall"); e != exists || h != hgetall {
			t.Errorf("%s: EXISTS %d times and HGETALL %d times, want %d and %d", step, e, h, exists, hgetall)
		}
	}
	var ids []string
	for i := range 2 * chunk {
		ids = append(ids, planName(i))
	}
	expect("nothing is there", r, ids, 2, 0)
	expect("one more than two chunks", r, append(ids, "more"), 3, 0)
	expect("one alone", r, ids[:1], 0, 1)
	expect("keys of many slots", newReader(t, struct{ redis.UniversalClient }{client}, ReaderOptions{Timeout: time.Minute}), ids, 0, 100)

	for _, id := range ids[:chunk] {
		writeHash(t, client, id)
	}
	expect("in the one chunk all, in the other none", r, ids, 2, 50)
	expect("where half of all is found", r, ids, 0, 100)
	client.FlushDB(t.Context())
	// The share of what is found fades by an eighth each time: from 0.117 it takes 19 times to 0.01.
	for range 19 {
		expect("while the share fades", r, ids, 0, 100)
	}
	expect("when it has", r, ids, 2, 0)
}

// The ends of waits, the announcements and the resets are told as they are.
func TestMetricsOfWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []string
		tell := func(what string, value any) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(what, " ", value))
		}
		expect := func(step string, want ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(told, want) {
				t.Errorf("%s: told %q, want %q", step, told, want)
			}
			told = nil
		}
		fake := newFake(0)
		ws := newWaits(t, fake, func(o *WaiterOptions) {
			o.Metrics = Metrics{
				Waited:   func(v event.Verdict) { tell("waited", v.Reason) },
				Watched:  func(v event.Verdict) { tell("watched", v.Reason) },
				Notified: func(waiting bool) { tell("notified", waiting) },
				Reset:    func(healthy bool) { tell("reset", healthy) },
			}
		})
		defer ws.w.Close()
		ws.w.Reset(true)
		expect("announcements begin", "reset true")
		ws.w.Notify("unknown")
		expect("nobody waits for it", "notified false")
		fake.writeHeat("there")
		ws.w.Park([]Parking{{PlanID: "there", Published: time.Now()}, {PlanID: "p", Published: time.Now(), Done: func(event.Verdict) func() { return nil }}})
		expect("the first look ends a wait", "waited ok")
		fake.writeHeat("p")
		ws.w.Notify("p")
		expect("an announcement ends another", "notified true", "waited ok")
		ws.start(t.Context(), "never", time.Now())
		time.Sleep(testRules.MaxWait)
		expect("the deadline", "waited timeout")
		time.Sleep(30 * time.Second)
		expect("and the end of what is watched", "watched timeout")
		ws.w.Reset(false)
		expect("announcements end", "reset false")
	})
}

// Only a timeout is watched, and only where there is time for it.
func TestMetricsOfWhatIsNotWatched(t *testing.T) {
	for name, watchFor := range map[string]time.Duration{"found": 30 * time.Second, "no time": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake(0)
				ws := newWaits(t, fake, func(o *WaiterOptions) {
					o.WatchFor = watchFor
					o.Metrics.Watched = func(v event.Verdict) { t.Errorf("watched until %v", v.Reason) }
				})
				defer ws.w.Close()
				if name == "found" {
					fake.writeHeat("p")
				}
				ws.start(t.Context(), "p", time.Now())
				ws.next()
				ws.empty()
				time.Sleep(time.Minute)
			})
		})
	}
}

// Overdue tells of workers that do not come round.
func TestOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := newWaits(t, newFake(500*time.Millisecond), func(o *WaiterOptions) { o.MaxWorkers = 1 })
		defer ws.w.Close()
		expect := func(at, want time.Duration) {
			t.Helper()
			time.Sleep(at)
			synctest.Wait()
			if got := ws.w.Overdue(); got != want {
				t.Errorf("overdue by %v, want %v", got, want)
			}
		}
		expect(0, 0) // nothing waits
		ws.start(t.Context(), "first", time.Now())
		expect(250*time.Millisecond, 0) // is looked at
		ws.start(t.Context(), "second", time.Now())
		expect(300*time.Millisecond, 0)                    // the first is due 100 ms behind its look
		expect(150*time.Millisecond, 100*time.Millisecond) // and the worker is with the second
		expect(200*time.Millisecond, 300*time.Millisecond) // for 500 ms
		for range 2 {
			if r := ws.next(); r.verdict.Reason != event.Timeout {
				t.Errorf("ended with %v", r.verdict.Reason)
			}
		}
	})
}

// A looker that answers less than it was asked has failed.
func TestLookerThatAnswersLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := newWaits(t, curt{}, func(o *WaiterOptions) { o.Rules.MaxErrors = 1 })
		defer ws.w.Close()
		for i, p := range ws.w.Park([]Parking{{PlanID: "a", Published: time.Now()}, {PlanID: "b", Published: time.Now()}}) {
			if p.Verdict.Reason != event.RedisError || !strings.Contains(fmt.Sprint(p.Verdict.Err), "1 looks for 2 plans") {
				t.Errorf("plan %d ended with %v, %v", i, p.Verdict.Reason, p.Verdict.Err)
			}
		}
	})
}

// curt tells of one plan, whatever it is asked.
type curt struct{}

func (curt) LookEach(_ context.Context, dst []event.Look, _ []string) []event.Look {
	return append(dst, event.Look{Kind: event.Found, At: time.Now()})
}

func (c curt) LookMany(ctx context.Context, dst []event.Look, ids []string) []event.Look {
	return c.LookEach(ctx, dst, ids)
}
