package chaos

import (
	"os"
	"syscall"
	"testing"
	"time"
)

// TestRollingRestart replaces three workers one after the other, three times, under load. Nothing is lost or doubled, and no late
// observation comes later than a second after its deadline although nothing else would be claimed for a minute.
func TestRollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("nine drains under load take seconds")
	}
	r := execute(t, plan{
		seed: 1, rate: 500, pause: time.Second, least: 3,
		faults: []fault{{"workers replaced one after the other", (*run).rollingRestart}},
		env:    []string{"P28_CLAIM_MIN_IDLE_MS=60000"},
	})
	v := r.judge()
	if v.violated() {
		v.print(os.Stdout, r)
		t.Error("invariants are violated")
	}
	handed := r.fleet.sum("entries_read_total{", `"taken_over"`)
	if handed == 0 {
		t.Error("no plan went from one worker to another: nothing was in hand when they drained")
	}
	t.Logf("%d plans, %.0f of them handed over; %d late waits were judged: %s", len(r.load.acknowledged()), handed, v.waits.checked, v.waits.note)
	if v.waits.checked == 0 {
		t.Error("the machine was too busy to judge a single wait")
	}
}

// rollingRestart drains each worker while the others work, and starts the next version in its place.
func (r *run) rollingRestart() bool {
	// A late observation may come a second after its deadline, in place of a poll interval.
	r.excused(time.Second-poll, func() {
		for i, w := range r.fleet.running() {
			w.Signal(syscall.SIGTERM)
			if !w.Wait(10 * time.Second) {
				r.t.Errorf("worker %s did not drain within 10s", w.Name)
				return
			}
			if w.Err() != nil {
				r.t.Errorf("worker %s did not end well after SIGTERM: %v", w.Name, w.Err())
			}
			r.fleet.start(i)
			if !r.fleet.recovered(startLimit) {
				r.t.Error("the new worker is not ready")
			}
		}
	})
	return true
}
