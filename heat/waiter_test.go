package heat

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"heatobserver/event"
)

// end is the part of a verdict that the tables below compare.
type end struct {
	Reason  event.Reason
	Noticed event.Noticed
	Waited  time.Duration
	Late    bool
}

func endOf(v event.Verdict) end { return end{v.Reason, v.Noticed, v.Waited, v.AfterDeadline} }

func TestWaitEndsByTheRules(t *testing.T) {
	const ms = time.Millisecond
	malformed := event.Look{Kind: event.Malformed, Err: errors.New("score")}
	found := event.Look{Kind: event.Found}
	for _, test := range []struct {
		name      string
		age       time.Duration // of the plan when its wait begins
		announced bool
		script    func(f *fakeRedis, w *Waiter)
		want      end
	}{
		{name: "there already", script: func(f *fakeRedis, _ *Waiter) { f.write("p", found) },
			want: end{event.OK, event.AtOnce, 0, false}},
		{name: "announced", announced: true,
			script: func(f *fakeRedis, w *Waiter) { time.Sleep(137 * ms); f.write("p", found); w.Notify("p") },
			want:   end{event.OK, event.Notification, 137 * ms, false}},
		{name: "announced though announcements are thought dead",
			script: func(f *fakeRedis, w *Waiter) { time.Sleep(137 * ms); f.write("p", found); w.Notify("p") },
			want:   end{event.OK, event.Notification, 137 * ms, false}},
		{name: "polled", script: func(f *fakeRedis, _ *Waiter) { time.Sleep(137 * ms); f.write("p", found) },
			want: end{event.OK, event.Sweep, 200 * ms, false}},
		{name: "announcement lost", announced: true,
			script: func(f *fakeRedis, _ *Waiter) { time.Sleep(137 * ms); f.write("p", found) },
			want:   end{event.OK, event.Sweep, 1000 * ms, false}},
		{name: "announcements end while it waits", announced: true,
			script: func(f *fakeRedis, w *Waiter) { time.Sleep(137 * ms); f.write("p", found); w.Reset(false) },
			want:   end{event.OK, event.Sweep, 137 * ms, false}},
		{name: "announcements interrupted", announced: true,
			script: func(f *fakeRedis, w *Waiter) { time.Sleep(37 * ms); f.write("p", found); w.Reset(true) },
			want:   end{event.OK, event.Sweep, 100 * ms, false}},
		{name: "never", script: func(*fakeRedis, *Waiter) {},
			want: end{event.Timeout, event.Deadline, 2000 * ms, false}},
		{name: "never, announced", announced: true, script: func(*fakeRedis, *Waiter) {},
			want: end{event.Timeout, event.Deadline, 2000 * ms, false}},
		{name: "seen by the last look", announced: true,
			script: func(f *fakeRedis, _ *Waiter) { time.Sleep(1999 * ms); f.write("p", found) },
			want:   end{event.OK, event.Deadline, 2000 * ms, false}},
		{name: "old plan, nothing there", age: 3 * time.Second, script: func(*fakeRedis, *Waiter) {},
			want: end{event.Missing, event.AtOnce, 3 * time.Second, false}},
		{name: "old plan, found", age: 3 * time.Second, script: func(f *fakeRedis, _ *Waiter) { f.write("p", found) },
			want: end{event.OK, event.AtOnce, 3 * time.Second, true}},
		{name: "malformed and mended", script: func(f *fakeRedis, _ *Waiter) {
			f.write("p", malformed)
			time.Sleep(50 * ms)
			f.write("p", found)
		}, want: end{event.OK, event.Sweep, 100 * ms, false}},
		{name: "malformed for good", announced: true, script: func(f *fakeRedis, _ *Waiter) { f.write("p", malformed) },
			want: end{event.ParseError, event.Sweep, 100 * ms, false}},
		{name: "redis down", announced: true, script: func(f *fakeRedis, _ *Waiter) { f.setDown(true) },
			want: end{event.RedisError, event.Sweep, 100 * ms, false}},
		{name: "redis down for a moment", script: func(f *fakeRedis, w *Waiter) {
			f.setDown(true)
			time.Sleep(50 * ms)
			w.Notify("p") // one more failure that does not count
			time.Sleep(ms)
			f.setDown(false)
			f.write("p", found)
		}, want: end{event.OK, event.Sweep, 100 * ms, false}},
		{name: "announced again and again without a hash", announced: true, script: func(_ *fakeRedis, w *Waiter) {
			for range 100 {
				time.Sleep(19 * ms)
				w.Notify("p")
			}
		}, want: end{event.Timeout, event.Deadline, 2000 * ms, false}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fake := newFake(0)
				ws := newWaits(t, fake, nil)
				defer ws.w.Close()
				ws.w.Reset(test.announced)
				time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // sweeps are due on a grid
				if test.age == 0 {
					go test.script(fake, ws.w)
				} else {
					test.script(fake, ws.w)
				}
				synctest.Wait() // the script has set what is there from the beginning
				ws.start(t.Context(), "p", time.Now().Add(-test.age))
				r := ws.next()
				if diff := cmp.Diff(test.want, endOf(r.verdict)); diff != "" || r.err != nil {
					t.Errorf("error %v, verdict (-want +got):\n%s", r.err, diff)
				}
				ws.empty()
			})
		})
	}
}

// A write that is announced while a look is under way may be younger than what that look saw.
func TestAnnouncementDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(10 * time.Millisecond)
		ws := newWaits(t, fake, nil)
		defer ws.w.Close()
		ws.w.Reset(true)
		start := time.Now()
		ws.start(t.Context(), "p", start)
		time.Sleep(10*time.Millisecond - 1)
		ws.w.Notify("p") // the answer to the look is on its way
		time.Sleep(2 * time.Nanosecond)
		fake.writeHeat("p")
		if r := ws.next(); r.verdict.Waited != 20*time.Millisecond || r.verdict.Noticed != event.Notification {
			t.Errorf("noticed by %v after %v, want a second look at once", r.verdict.Noticed, r.verdict.Waited)
		}
	})
}

// Announcements that begin or end during a look make it one that may have seen too little.
func TestResetDuringALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(10 * time.Millisecond)
		ws := newWaits(t, fake, nil)
		defer ws.w.Close()
		ws.w.Reset(true)
		ws.start(t.Context(), "p", time.Now())
		time.Sleep(10*time.Millisecond - 1) // the answer to the look is on its way
		ws.w.Reset(true)
		time.Sleep(2 * time.Nanosecond)
		fake.writeHeat("p")
		if r := ws.next(); r.verdict.Waited != 20*time.Millisecond {
			t.Errorf("noticed after %v, want a second look at once", r.verdict.Waited)
		}
	})
}

// The look at the deadline is no sweep; that after an announcement stays one, however late it is answered.
func TestAnnouncedAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(10 * time.Millisecond)
		ws := newWaits(t, fake, nil)
		defer ws.w.Close()
		ws.w.Reset(true)
		ws.start(t.Context(), "p", time.Now())
		time.Sleep(1995 * time.Millisecond)
		fake.writeHeat("p")
		ws.w.Notify("p")
		if r := ws.next(); r.verdict.Noticed != event.Notification || r.verdict.Reason != event.OK {
			t.Errorf("ended with %v, noticed by %v, want the announcement", r.verdict.Reason, r.verdict.Noticed)
		}
	})
}

// Each wait ends at its own deadline, in whatever order they have come.
func TestDeadlinesInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := newWaits(t, newFake(0), nil)
		defer ws.w.Close()
		ws.w.Reset(true)
		ages := []int{700, 100, 900, 300, 1100, 500, 1300, 200, 1500, 400, 1700, 600, 1900, 800}
		for i, age := range ages {
			ws.start(t.Context(), planName(i), time.Now().Add(time.Duration(-age)*time.Millisecond))
			synctest.Wait() // in this order
		}
		for range ages {
			if r := ws.next(); r.verdict.Reason != event.Timeout || r.verdict.Waited != testRules.MaxWait {
				t.Errorf("%s ended with %v after %v", r.planID, r.verdict.Reason, r.verdict.Waited)
			}
		}
		ws.empty()
	})
}

// Reset has everything looked at in the order in which it was looked at last, which is not that of the deadlines.
func TestResetTurnsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(0)
		ws := newWaits(t, fake, nil)
		defer ws.w.Close()
		ws.w.Reset(true)
		ws.start(t.Context(), "first", time.Now())
		time.Sleep(300 * time.Millisecond)
		ws.start(t.Context(), "second", time.Now().Add(-1500*time.Millisecond)) // due sooner
		time.Sleep(50 * time.Millisecond)
		fake.writeHeat("first")
		ws.w.Reset(true)
		if r := ws.next(); r.planID != "first" || r.verdict.Waited != 350*time.Millisecond {
			t.Errorf("%s ended after %v, want first at once", r.planID, r.verdict.Waited)
		}
		if r := ws.next(); r.verdict.Reason != event.Timeout || r.verdict.Waited != testRules.MaxWait {
			t.Errorf("%s ended with %v after %v", r.planID, r.verdict.Reason, r.verdict.Waited)
		}
	})
}

func TestSamePlanWaitsTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(0)
		ws := newWaits(t, fake, nil)
		defer ws.w.Close()
		ctx, cancel := context.WithCancelCause(t.Context())
		ws.start(ctx, "p", time.Now())
		ws.start(t.Context(), "p", time.Now())
		ws.start(t.Context(), "p", time.Now().Add(-1500*time.Millisecond))
		synctest.Wait()
		if n := ws.w.Len(); n != 3 {
			t.Fatalf("%d wait, want 3", n)
		}
		handBack := errors.New("drain")
		cancel(handBack)
		if r := ws.next(); !errors.Is(r.err, handBack) {
			t.Errorf("cancelled wait ended with %v, want the cause", r.err)
		}
		if r := ws.next(); r.verdict.Reason != event.Timeout || r.verdict.Waited != 2*time.Second {
			t.Errorf("the older wait ended with %v after %v", r.verdict.Reason, r.verdict.Waited)
		}
		fake.writeHeat("p")
		ws.w.Notify("p")
		if r := ws.next(); r.verdict.Reason != event.OK || r.verdict.Waited != 500*time.Millisecond {
			t.Errorf("the other wait ended with %v after %v", r.verdict.Reason, r.verdict.Waited)
		}
		synctest.Wait()
		ws.empty()
	})
}

func TestCancelAndCloseLeaveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(30 * time.Millisecond) // so that some are queued, some looked at, some scheduled
		ws := newWaits(t, fake, func(o *WaiterOptions) {
			o.MaxWorkers, o.Rules.MaxErrors = 1, 1
			o.Metrics.Waited = func(v event.Verdict) { t.Errorf("a wait without an end was told to end with %v", v.Reason) }
		})
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 300 {
			ws.start(ctx, planName(i), time.Now())
		}
		time.Sleep(45 * time.Millisecond)
		cancelled := time.Now()
		cancel()
		for range 300 {
			if r := ws.next(); !errors.Is(r.err, context.Canceled) || r.at != cancelled {
				t.Fatalf("wait ended with %v, %v after it was cancelled", r.err, r.at.Sub(cancelled))
			}
		}
		synctest.Wait()
		ws.empty()
		time.Sleep(time.Second) // the looks that were under way are answered
		synctest.Wait()
		ws.empty()
		if _, err := ws.w.Wait(ctx, event.Plan{PlanID: "p"}, time.Now()); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled caller got %v", err)
		}

		for i := range 50 {
			ws.start(t.Context(), planName(i), time.Now())
		}
		time.Sleep(10 * time.Millisecond) // they are being looked at
		ws.w.Close()
		for range 50 {
			if r := ws.next(); !errors.Is(r.err, ErrClosed) {
				t.Fatalf("after Close a wait ended with %v and %v, want ErrClosed", r.verdict, r.err)
			}
		}
		if _, err := ws.w.Wait(t.Context(), event.Plan{PlanID: "p"}, time.Now()); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v, want ErrClosed", err)
		}
		if ws.w.Len() != 0 {
			t.Errorf("%d wait after Close", ws.w.Len())
		}
	})
}

func TestFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := newWaits(t, newFake(0), func(o *WaiterOptions) { o.MaxWaiting = 2 })
		defer ws.w.Close()
		ws.start(t.Context(), "a", time.Now())
		ws.start(t.Context(), "b", time.Now())
		synctest.Wait()
		hurried, cancel := context.WithCancelCause(t.Context())
		ws.start(hurried, "c", time.Now())
		synctest.Wait()
		if n := ws.w.Len(); n != 2 {
			t.Errorf("%d wait, want the two that have a place", n)
		}
		cancel(errDrain)
		if r := ws.next(); r.planID != "c" || !errors.Is(r.err, errDrain) {
			t.Errorf("%s ended first with %v, want c, which had no place", r.planID, r.err)
		}
		ws.start(t.Context(), "d", time.Now())
		// Their deadline is one instant, at which d finds a place and ends too: in which order they report is open.
		ended := map[string]bool{}
		for range 3 {
			r := ws.next()
			if r.err != nil || r.verdict.Waited != testRules.MaxWait {
				t.Errorf("%s ended with %v after %v", r.planID, r.err, r.verdict.Waited)
			}
			ended[r.planID] = true
		}
		if !ended["a"] || !ended["b"] || !ended["d"] {
			t.Errorf("ended: %v", ended)
		}
		ws.empty()
	})
}

// Close wakes those who stand and wait for a place, and waits for the looks that are under way.
func TestCloseWaitsForLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := newWaits(t, stubborn{newFake(0)}, func(o *WaiterOptions) { o.MaxWaiting = 1 })
		begun := time.Now()
		ws.start(t.Context(), "a", begun)
		synctest.Wait()
		ws.start(t.Context(), "b", begun)
		synctest.Wait()
		ws.w.Close()
		if took := time.Since(begun); took != time.Second {
			t.Errorf("closed after %v, with a look under way that took a second", took)
		}
		for range 2 {
			if r := ws.next(); !errors.Is(r.err, ErrClosed) || r.at != begun {
				t.Errorf("%s ended with %v after %v", r.planID, r.err, r.at.Sub(begun))
			}
		}
	})
}

// stubborn looks for a second, whatever its context says.
type stubborn struct{ Looker }

func (s stubborn) LookEach(ctx context.Context, dst []event.Look, ids []string) []event.Look {
	time.Sleep(time.Second)
	return s.Looker.LookEach(ctx, dst, ids)
}

func TestPanicOfTheLooker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(0)
		fake.panics = true
		ws := newWaits(t, fake, nil)
		defer ws.w.Close()
		ws.start(t.Context(), "p", time.Now())
		if r := ws.next(); r.verdict.Reason != event.RedisError || r.verdict.Err == nil {
			t.Errorf("ended with %v, %v, want redis_error", r.verdict.Reason, r.verdict.Err)
		}
		ws.empty()
	})
}

// Thousands that wait share batches, are looked at once per interval, and never by more than MaxWorkers.
func TestSweepIsBounded(t *testing.T) {
	for _, test := range []struct {
		name      string
		announced bool
		plans     int
		most      int // looks at one plan: one at once, one per interval, one at the deadline
	}{
		{"polling", false, 5000, 1 + 19 + 1},
		{"announced", true, 5000, 1 + 1 + 1},
		{"announced, many", true, 2*netLooks + 1000, 1 + 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plans := test.plans
				fake := newFake(100 * time.Microsecond)
				ws := newWaits(t, fake, func(o *WaiterOptions) { o.WatchFor = -1 })
				defer ws.w.Close()
				ws.w.Reset(test.announced)
				start := time.Now()
				for i := range plans {
					ws.start(t.Context(), planName(i), start)
				}
				time.Sleep(50 * time.Millisecond)
				fake.setMostBusy(0) // the sweep has to find its workers by itself
				for range plans {
					if r := ws.next(); r.verdict.Reason != event.Timeout || r.verdict.Waited > 2010*time.Millisecond {
						t.Fatalf("%s ended with %v after %v", r.planID, r.verdict.Reason, r.verdict.Waited)
					}
				}
				synctest.Wait()
				ws.empty()
				for id, looks := range fake.lookedAt {
					if len(looks) > test.most {
						t.Fatalf("%s was looked at %d times, want at most %d", id, len(looks), test.most)
					}
					for i := 1; i < len(looks)-1; i++ {
						if gap := looks[i].Sub(looks[i-1]); gap < testRules.Poll {
							t.Fatalf("%s was looked at twice within %v", id, gap)
						}
					}
				}
				if fake.mostBusy != 4 {
					t.Errorf("%d batches were under way at once, want 4 at the most and 4 used", fake.mostBusy)
				}
				if most := (test.most + 1) * plans / 100; len(fake.batches) > most {
					t.Errorf("%d batches, want at most %d", len(fake.batches), most)
				}
			})
		})
	}
}

// The sweep comes round more slowly with more plans than it may look at in a second, whether they wait or are watched.
func TestSweepByNumber(t *testing.T) {
	for _, test := range []struct {
		announced      bool
		waits, watched int
		want           time.Duration
	}{
		{false, 2 * netLooks, netLooks, testRules.Poll},
		{true, 1, 0, time.Second},
		{true, netLooks, 0, time.Second},
		{true, 2 * netLooks, 0, 2 * time.Second},
		{true, 0, 2 * netLooks, 2 * time.Second},
		{true, 2 * netLooks, netLooks, 3 * time.Second},
	} {
		w := Waiter{opts: WaiterOptions{Rules: testRules}.withDefaults(), announced: test.announced, waits: test.waits, watched: test.watched}
		if got := w.sweep(); got != test.want {
			t.Errorf("%+v: the sweep comes round after %v", test, got)
		}
	}
}

// A sweep that the workers cannot keep up with does not hold up what is new.
func TestSweepDoesNotStarveWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(50 * time.Millisecond)
		ws := newWaits(t, fake, func(o *WaiterOptions) { o.MaxWorkers, o.WatchFor = 1, -1 })
		defer ws.w.Close()
		const plans = 3 * sweepBatch // three batches of 50 ms, each 100 ms
		for i := range plans {
			ws.start(t.Context(), planName(i), time.Now())
		}
		time.Sleep(1300 * time.Millisecond) // all have had their first look and are swept
		fake.mu.Lock()
		if fake.swept == 0 {
			t.Error("nothing was swept")
		}
		fake.mu.Unlock()
		fake.writeHeat("new")
		ws.start(t.Context(), "new", time.Now())
		if r := ws.next(); r.planID != "new" || r.verdict.Waited > 150*time.Millisecond {
			t.Errorf("%s ended after %v, want new after two batches", r.planID, r.verdict.Waited)
		}
		for range plans {
			ws.next()
		}
	})
}

// A flood of announcements that keeps all workers busy does not hold up a deadline.
func TestFloodDoesNotStarveTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(10 * time.Millisecond)
		ws := newWaits(t, fake, func(o *WaiterOptions) { o.MaxWorkers = 1 })
		defer ws.w.Close()
		ws.w.Reset(true)
		ws.start(t.Context(), "quiet", time.Now().Add(-time.Second))
		for i := range 1000 { // far more than a worker can look at in the meantime
			ws.start(t.Context(), planName(i), time.Now())
		}
		flood := time.NewTicker(time.Millisecond)
		defer flood.Stop()
		for start := time.Now(); time.Since(start) < 1500*time.Millisecond; <-flood.C {
			for i := range 1000 {
				ws.w.Notify(planName(i))
			}
		}
		if r := ws.next(); r.planID != "quiet" || r.verdict.Waited > 2050*time.Millisecond {
			t.Errorf("%s ended after %v, want quiet soon after its 2s", r.planID, r.verdict.Waited)
		}
		for range 1000 {
			ws.next()
		}
	})
}

// What is due at once goes out in batches of a bounded size, and a worker that takes one wakes another for the rest.
func TestWorkIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(10 * time.Millisecond)
		ws := newWaits(t, fake, nil)
		defer ws.w.Close()
		parkings := make([]Parking, 4*sweepBatch)
		for i := range parkings {
			parkings[i] = Parking{PlanID: planName(i), Published: time.Now(), Done: func(event.Verdict) func() { return nil }}
		}
		ws.w.Park(parkings)
		begin := func() {
			fake.mu.Lock()
			defer fake.mu.Unlock()
			fake.batches, fake.mostBusy = nil, 0
		}
		end := func(want int) {
			t.Helper()
			fake.mu.Lock()
			defer fake.mu.Unlock()
			if len(fake.batches) != 4*sweepBatch/want || slices.Max(fake.batches) != want || fake.mostBusy != 4 {
				t.Errorf("batches %v, %d at once, want %d each and four at once", fake.batches, fake.mostBusy, want)
			}
		}
		begin()
		time.Sleep(testRules.Poll + 15*time.Millisecond) // the timer wakes one worker
		synctest.Wait()
		end(sweepBatch)

		begin()
		ws.w.mu.Lock() // all of it before the first worker looks
		for _, parking := range parkings {
			p := ws.w.plans[parking.PlanID]
			ws.w.schedule.remove(p)
			ws.w.hurry(p)
		}
		ws.w.mu.Unlock()
		time.Sleep(45 * time.Millisecond) // four rounds
		synctest.Wait()
		end(urgentBatch)
	})
}

func TestNewWaiterRefuses(t *testing.T) {
	for name, opts := range map[string]WaiterOptions{
		"no wait":          {Rules: event.Rules{Poll: 1}},
		"no poll":          {Rules: event.Rules{MaxWait: 1}},
		"negative workers": {Rules: testRules, MaxWorkers: -1},
		"negative waiting": {Rules: testRules, MaxWaiting: -1},
		"negative sweep":   {Rules: testRules, SweepFactor: -1},
		"negative watched": {Rules: testRules, MaxWatched: -1},
	} {
		if w, err := NewWaiter(newFake(0), opts); err == nil {
			w.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

// Of a place that is free and the end, select takes either: so often it came upon both.
func TestClosedTakesNone(t *testing.T) {
	w, err := NewWaiter(nil, WaiterOptions{Rules: event.Rules{MaxWait: time.Second, Poll: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	for range 100 {
		if _, err := w.Wait(t.Context(), event.Plan{PlanID: "p"}, time.Now()); !errors.Is(err, ErrClosed) {
			t.Fatalf("Wait after Close: %v", err)
		}
	}
	if n := w.Len(); n != 0 {
		t.Errorf("%d plans wait after Close", n)
	}
}
