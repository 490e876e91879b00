package heat

import (
	"container/heap"
	"time"

	"heatobserver/event"
)

// place is where a waiting plan is kept for its next look.
type place uint8

const (
	nowhere   place = iota // not in the Waiter, or on its way from one place to another
	queued                 // in Waiter.urgent
	scheduled              // in Waiter.schedule
	looking                // in the hands of a worker
)

// waiting is one wait for the heat of a plan. All of it is guarded by Waiter.mu, except that a caller whose
// over is closed may read verdict.
type waiting struct {
	planID  string
	wait    event.Wait
	sibling *waiting                   // the next wait for the same plan
	over    chan struct{}              // closed when there is a verdict; nil where nobody stands and waits
	done    func(event.Verdict) func() // of a parked plan, see Parking; nil otherwise
	verdict *event.Verdict             // by pointer: it is larger than all the rest and comes last

	due         time.Time // in schedule
	index       int       // in schedule
	prev, after *waiting  // in urgent

	place place
	cause event.Noticed // of its next look
	again bool          // look again after the look that is under way
}

// watched reports whether the plan has timed out and is only followed.
func (p *waiting) watched() bool { return p.over == nil && p.done == nil }

// fifo is a queue of waiting plans that any of them can leave. It is linked through the plans, so that it
// costs no memory of its own and is bounded by them.
type fifo struct{ first, last *waiting }

func (q *fifo) push(p *waiting) {
	p.place, p.prev, p.after = queued, q.last, nil
	if q.last == nil {
		q.first = p
	} else {
		q.last.after = p
	}
	q.last = p
}

func (q *fifo) remove(p *waiting) {
	if p.prev == nil {
		q.first = p.after
	} else {
		p.prev.after = p.after
	}
	if p.after == nil {
		q.last = p.prev
	} else {
		p.after.prev = p.prev
	}
	p.place, p.prev, p.after = nowhere, nil, nil
}

// schedule is a heap of waiting plans, the first due on top.
type schedule struct{ plans byDue }

func (s *schedule) push(p *waiting, due time.Time) {
	p.place, p.due = scheduled, due
	heap.Push(&s.plans, p)
}

func (s *schedule) remove(p *waiting) {
	heap.Remove(&s.plans, p.index)
	p.place = nowhere
}

// init restores the order after due times were changed in place.
func (s *schedule) init() { heap.Init(&s.plans) }

// first is the plan that is due first, nil when there is none.
func (s *schedule) first() *waiting {
	if len(s.plans) == 0 {
		return nil
	}
	return s.plans[0]
}

type byDue []*waiting

var _ heap.Interface = (*byDue)(nil)

func (h byDue) Len() int           { return len(h) }
func (h byDue) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *byDue) Push(x any) {
	p := x.(*waiting)
	p.index = len(*h)
	*h = append(*h, p)
}

func (h *byDue) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return p
}
