package heat

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"heatobserver/event"
)

// Some end with the first look, some later, and what the Waiter has no place for is refused and not forgotten.
func TestPark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(0)
		ws := newWaits(t, fake, func(o *WaiterOptions) { o.MaxWaiting = 3 })
		defer ws.w.Close()
		ws.w.Reset(true)
		fake.writeHeat("there")
		var plans []Parking
		for _, id := range []string{"there", "soon", "never", "too many"} {
			plans = append(plans, Parking{PlanID: id, Published: time.Now(), Done: func(v event.Verdict) func() {
				ws.results <- result{id, v, nil, time.Now()}
				return nil
			}})
		}
		parked := ws.w.Park(plans)
		if p := parked[0]; !p.Over || p.Verdict.Reason != event.OK || p.Verdict.Noticed != event.AtOnce {
			t.Errorf("heat that was there: %+v", p)
		}
		if parked[1].Over || parked[1].Refused || parked[2].Over || !parked[3].Refused {
			t.Errorf("parked %+v", parked[1:])
		}
		if n := ws.w.Len(); n != 2 {
			t.Errorf("%d wait, want 2", n)
		}
		time.Sleep(300 * time.Millisecond)
		fake.writeHeat("soon")
		ws.w.Notify("soon")
		if r := ws.next(); r.planID != "soon" || r.verdict.Reason != event.OK || r.verdict.Waited != 300*time.Millisecond {
			t.Errorf("ended first: %s %+v", r.planID, r.verdict)
		}
		if r := ws.next(); r.planID != "never" || r.verdict.Reason != event.Timeout || r.verdict.Waited != testRules.MaxWait {
			t.Errorf("ended last: %s %+v", r.planID, r.verdict)
		}
		ws.empty()
	})
}

// After Close nobody is told, and everything is refused.
func TestParkAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ws := newWaits(t, newFake(0), nil)
		told := func(event.Verdict) func() { t.Error("told after Close"); return nil }
		ws.w.Park([]Parking{{PlanID: "p", Published: time.Now(), Done: told}})
		ws.w.Close()
		time.Sleep(time.Minute)
		if !ws.w.Park([]Parking{{PlanID: "p", Published: time.Now(), Done: told}})[0].Refused {
			t.Error("a closed Waiter takes plans")
		}
	})
}

// Those whose waits end with the same batch of looks are all told before the first of them goes on.
func TestParkedEndTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := newFake(10 * time.Millisecond) // for the others to gather meanwhile
		ws := newWaits(t, fake, func(o *WaiterOptions) { o.MaxWorkers = 1 })
		defer ws.w.Close()
		ws.w.Reset(true)
		var mu sync.Mutex
		var steps []string
		step := func(name string) {
			mu.Lock()
			defer mu.Unlock()
			steps = append(steps, name)
		}
		var plans []Parking
		for _, id := range []string{"first", "a", "b", "c"} {
			plans = append(plans, Parking{PlanID: id, Published: time.Now(), Done: func(event.Verdict) func() {
				step(id)
				if id == "b" {
					return nil
				}
				return func() { step("on") }
			}})
		}
		ws.w.Park(plans)
		for _, p := range plans {
			fake.writeHeat(p.PlanID)
			ws.w.Notify(p.PlanID)
			synctest.Wait() // the first is being looked at, by itself
		}
		time.Sleep(time.Second)
		mu.Lock()
		defer mu.Unlock()
		if got, want := fmt.Sprint(steps), "[first on a b c on on]"; got != want {
			t.Errorf("steps %s, want %s", got, want)
		}
	})
}
