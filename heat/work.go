package heat

import (
	"fmt"
	"math"
	"time"

	"heatobserver/event"
)

// How many looks one batch holds at most. An HGETALL takes 1 µs of Redis when the hash is absent and 3 µs when
// it is there, so that neither batch keeps Redis from others for much more than a millisecond; those of a sweep
// mostly share a command by the dozen besides.
const (
	urgentBatch = 128
	sweepBatch  = 512
)

// netLooks bounds what a sweep that is only the safety net looks at, in plans per second: with more waiting it comes
// round more slowly. They are some 1 % of a core of Redis.
const netLooks = 10_000

// longestSleep bounds how long the schedule is not looked at while something waits, because the corrected
// clock may jump.
const longestSleep = time.Second

// batch is what one worker looks at, its slices used again for the next.
type batch struct {
	plans []*waiting
	ids   []string
	looks []event.Look
	sweep bool
	ended []*waiting // with their verdicts, of which the metrics and those who parked are to be told
	sends []func()   // what those who parked have to do when all are told
}

// work is one worker: it is woken, takes batches until nothing is due, and sleeps again.
func (w *Waiter) work() {
	var b batch
	for {
		select {
		case <-w.closed.Done():
			return
		case <-w.wake:
		}
		for w.take(&b) {
			w.look(&b)
			w.apply(&b)
			w.tell(&b)
		}
	}
}

// take fills the batch with what is due and reports whether there was anything. Urgent looks and those of the
// sweep take turns, so that neither starves the other.
func (w *Waiter) take(b *batch) bool {
	b.plans, b.ids = b.plans[:0], b.ids[:0]
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed.Err() != nil {
		return false
	}
	now := w.opts.Now()
	b.sweep = w.due(now) && (w.sweepTurn || w.urgent.first == nil)
	w.sweepTurn = !b.sweep
	if b.sweep {
		for len(b.plans) < sweepBatch && w.due(now) {
			p := w.schedule.first()
			w.schedule.remove(p)
			p.cause = event.Sweep
			b.add(p)
		}
	} else {
		for len(b.plans) < urgentBatch && w.urgent.first != nil {
			p := w.urgent.first
			w.urgent.remove(p)
			b.add(p)
		}
	}
	if w.urgent.first != nil || w.due(now) {
		w.signal()
	} else {
		w.arm()
	}
	return len(b.plans) > 0
}

func (b *batch) add(p *waiting) {
	p.place, p.again = looking, false
	b.plans = append(b.plans, p)
	b.ids = append(b.ids, p.planID)
}

// look makes the looks of the batch. A looker that panics or answers fewer looks than it was asked for has
// failed for every plan of the batch.
func (w *Waiter) look(b *batch) {
	defer func() {
		var err error
		switch cause := recover(); {
		case cause != nil:
			err = fmt.Errorf("look up heat: panic: %v", cause)
		case len(b.looks) != len(b.ids):
			err = fmt.Errorf("look up heat: %d looks for %d plans", len(b.looks), len(b.ids))
		default:
			return
		}
		b.looks = b.looks[:0]
		for range b.ids {
			b.looks = append(b.looks, event.Look{At: w.opts.Now(), Kind: event.Failed, Err: err})
		}
	}()
	if b.sweep {
		b.looks = w.looker.LookMany(w.closed, b.looks[:0], b.ids)
	} else {
		b.looks = w.looker.LookEach(w.closed, b.looks[:0], b.ids)
	}
}

// apply gives every look to its wait and puts the plan where its next look comes from.
func (w *Waiter) apply(b *batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer clear(b.plans)
	if w.closed.Err() != nil {
		return // the looks failed because of Close, which says nothing about Redis
	}
	for i, p := range b.plans {
		if p.place != looking {
			continue // its caller has gone
		}
		if p.cause == event.Sweep && p.wait.LastLook(b.looks[i]) {
			p.cause = event.Deadline
		}
		verdict, over := p.wait.Add(b.looks[i], p.cause)
		switch {
		case over:
			w.end(p, verdict)
			b.ended = append(b.ended, p)
		case p.again:
			p.cause = event.Notification
			w.hurry(p)
		default:
			w.schedule.push(p, w.nextLook(p))
		}
	}
	w.arm()
}

// tell reports the ends of the batch to the metrics and to those who parked, outside the lock.
func (w *Waiter) tell(b *batch) {
	for _, p := range b.ended {
		if p.watched() {
			w.opts.Metrics.Watched(*p.verdict)
		} else {
			w.opts.Metrics.Waited(*p.verdict)
		}
		if p.done != nil {
			if send := p.done(*p.verdict); send != nil {
				b.sends = append(b.sends, send)
			}
		}
	}
	for _, send := range b.sends {
		send()
	}
	clear(b.sends)
	b.sends = b.sends[:0]
	clear(b.ended)
	clear(b.looks)
	b.ended = b.ended[:0]
}

// end takes a plan out with its verdict. One that timed out may stay watched.
func (w *Waiter) end(p *waiting, verdict event.Verdict) {
	w.remove(p)
	p.verdict = &verdict
	if p.watched() {
		return
	}
	if p.over != nil {
		close(p.over)
	}
	if verdict.Reason == event.Timeout && w.opts.WatchFor > 0 && w.watched < w.opts.MaxWatched {
		w.watch(p, verdict)
	}
}

// watch keeps looking for the heat of a plan that has timed out: a wait of its own with a later end, in which
// failures of Redis never count.
func (w *Waiter) watch(p *waiting, verdict event.Verdict) {
	published := p.wait.Deadline().Add(-w.opts.Rules.MaxWait)
	rules := event.Rules{MaxWait: verdict.At.Sub(published) + w.opts.WatchFor, Poll: w.opts.Rules.Poll, MaxErrors: math.MaxInt}
	late := &waiting{planID: p.planID, wait: event.NewWait(event.Late, published, rules), cause: event.Notification}
	w.watched++
	w.add(late)
	if p.again {
		w.hurry(late)
		return
	}
	w.schedule.push(late, verdict.At.Add(w.sweep()))
}

// sweep is the distance of two looks at a plan that nothing announces.
func (w *Waiter) sweep() time.Duration {
	if w.announced {
		byNumber := time.Duration(w.waits+w.watched) * time.Second / netLooks
		return max(w.opts.Rules.Poll*time.Duration(w.opts.SweepFactor), byNumber)
	}
	return w.opts.Rules.Poll
}

// nextLook is when the plan is due, rounded up so that plans share batches, but never past its deadline.
func (w *Waiter) nextLook(p *waiting) time.Time {
	next := p.wait.Next(w.sweep())
	due := next.Truncate(w.tick)
	if due.Before(next) {
		due = due.Add(w.tick)
	}
	if deadline := p.wait.Deadline(); !next.After(deadline) && due.After(deadline) {
		return deadline
	}
	return due
}

// add makes the plan known to Notify.
func (w *Waiter) add(p *waiting) {
	p.sibling = w.plans[p.planID]
	w.plans[p.planID] = p
}

// remove takes the plan out of everything, wherever it is, and uncounts it.
func (w *Waiter) remove(p *waiting) {
	switch p.place {
	case queued:
		w.urgent.remove(p)
	case scheduled:
		w.schedule.remove(p)
	case looking, nowhere:
		p.place = nowhere
	}
	switch first := w.plans[p.planID]; {
	case first != p:
		for first.sibling != p {
			first = first.sibling
		}
		first.sibling = p.sibling
	case p.sibling != nil:
		w.plans[p.planID] = p.sibling
	default:
		delete(w.plans, p.planID)
	}
	if p.watched() {
		w.watched--
	} else {
		w.waits--
		<-w.places
	}
}

// hurry has the plan looked at now.
func (w *Waiter) hurry(p *waiting) {
	w.urgent.push(p)
	w.signal()
}

// due reports whether something of the schedule is due.
func (w *Waiter) due(now time.Time) bool {
	first := w.schedule.first()
	return first != nil && !first.due.After(now)
}

// signal wakes a worker. One signal is kept when all are busy: whoever takes a batch passes on what is left.
func (w *Waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// arm sees to it that the timer fires when the first plan of the schedule is due, or before.
func (w *Waiter) arm() {
	first := w.schedule.first()
	if first == nil || w.closed.Err() != nil {
		return
	}
	if !w.armed.IsZero() && !first.due.Before(w.armed) {
		return
	}
	now := w.opts.Now()
	sleep := min(max(0, first.due.Sub(now)), longestSleep)
	w.armed = now.Add(sleep)
	w.timer.Reset(sleep)
}

// rang is the timer.
func (w *Waiter) rang() {
	w.mu.Lock()
	w.armed = time.Time{}
	w.mu.Unlock()
	w.signal()
}
