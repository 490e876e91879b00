package heat

import (
	"testing"
	"testing/synctest"
	"time"

	"heatobserver/event"
)

func TestWatchedAfterTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(0)
		watched := make(chan event.Verdict, 10)
		ws := newWaits(t, fake, func(o *WaiterOptions) {
			o.MaxWatched = 3
			o.Metrics.Watched = func(v event.Verdict) { watched <- v }
		})
		defer ws.w.Close()
		ws.w.Reset(true)
		start := time.Now()
		for i := range 5 {
			ws.start(t.Context(), planName(i), start)
		}
		var ids []string
		for range 5 {
			r := ws.next()
			if r.verdict.Reason != event.Timeout {
				t.Fatalf("ended with %v", r.verdict.Reason)
			}
			ids = append(ids, r.planID)
		}
		synctest.Wait()
		if ws.w.Len() != 0 || ws.w.watched != 3 {
			t.Fatalf("%d wait, %d are watched, want 0 and 3", ws.w.Len(), ws.w.watched)
		}
		time.Sleep(time.Until(start.Add(7 * time.Second)))
		fake.setDown(true) // says nothing about the plans
		time.Sleep(time.Second)
		fake.setDown(false)
		for _, id := range ids[:2] { // two of them may be the ones that are not watched
			fake.writeHeat(id)
			ws.w.Notify(id)
		}
		synctest.Wait()
		arrived := len(watched)
		for range arrived {
			if v := <-watched; v.Reason != event.OK || v.Waited != 8*time.Second {
				t.Errorf("watched plan: %v after %v, want ok after 8s", v.Reason, v.Waited)
			}
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := len(watched); n != 3-arrived {
			t.Fatalf("%d plans left the watch at its end, want %d", n, 3-arrived)
		}
		for range 3 - arrived {
			if v := <-watched; v.Reason != event.Timeout || v.Waited != 32*time.Second {
				t.Errorf("watched plan: %v after %v, want timeout after 32s", v.Reason, v.Waited)
			}
		}
		ws.empty()
	})
}

// A write that is announced during the look that ends a wait is seen while the plan is watched.
func TestWatchedFromTheLastLookOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(10 * time.Millisecond)
		watched := make(chan event.Verdict, 1)
		ws := newWaits(t, fake, func(o *WaiterOptions) { o.Metrics.Watched = func(v event.Verdict) { watched <- v } })
		defer ws.w.Close()
		ws.w.Reset(true)
		ws.start(t.Context(), "p", time.Now())
		time.Sleep(2010*time.Millisecond - 1) // the answer to the last look is on its way
		ws.w.Notify("p")
		time.Sleep(2 * time.Nanosecond)
		fake.writeHeat("p")
		if r := ws.next(); r.verdict.Reason != event.Timeout {
			t.Fatalf("ended with %v", r.verdict.Reason)
		}
		if v := <-watched; v.Reason != event.OK || v.Waited != 2020*time.Millisecond {
			t.Errorf("watched: %v after %v, want a look at once", v.Reason, v.Waited)
		}
	})
}
