package heat

import (
	"time"

	"heatobserver/event"
)

// Parking is a plan that waits without a goroutine that stands and waits for it.
type Parking struct {
	PlanID    string
	Published time.Time // see event.Plan.Published
	// Done is called once with the verdict, by a worker of the Waiter, when the wait did not end with its first look. What
	// it returns is called after the Dones of all waits that ended with the same batch of looks, so that they can go on
	// together; it may be nil. Both must not wait for anything. It is not called when the Waiter is closed before.
	Done func(event.Verdict) (send func())
}

// Parked is what became of a Parking.
type Parked struct {
	Verdict event.Verdict // when Over
	Over    bool          // the first look ended the wait; Done will not be called
	Refused bool          // the Waiter is full or closed; Done will not be called
}

// Park looks at all of the plans in one round trip and keeps those whose wait that does not end, by the same rules as
// Wait: a waiting plan then costs its entry in the Waiter, some 0.5 KB (BenchmarkWaitingPlan), and no stack. The answers
// are in the order of the plans.
func (w *Waiter) Park(plans []Parking) []Parked {
	parked := make([]Parked, len(plans))
	waits := make([]*waiting, len(plans))
	b := batch{plans: make([]*waiting, 0, len(plans)), ids: make([]string, 0, len(plans))}
	w.mu.Lock()
	for i, plan := range plans {
		p := &waiting{
			planID: plan.PlanID,
			wait:   event.NewWait(event.Late, plan.Published, w.opts.Rules),
			done:   plan.Done,
			cause:  event.AtOnce,
		}
		if !w.vacant() || !w.enter(p) {
			parked[i].Refused = true
			continue
		}
		waits[i] = p
		b.add(p)
	}
	w.mu.Unlock()
	if len(b.plans) == 0 {
		return parked
	}
	w.look(&b)
	w.apply(&b)
	now := make(map[*waiting]bool, len(b.ended))
	for _, p := range b.ended {
		w.opts.Metrics.Waited(*p.verdict)
		now[p] = true
	}
	for i, p := range waits {
		if now[p] {
			parked[i] = Parked{Verdict: *p.verdict, Over: true}
		}
	}
	return parked
}

// vacant takes a place if one is free.
func (w *Waiter) vacant() bool {
	select {
	case w.places <- struct{}{}:
		return true
	default:
		return false
	}
}
