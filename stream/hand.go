package stream

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// take takes entries into hand, all before the first is delivered: those that wait for a slow receiver must not be
// claimed meanwhile. counts are their delivery counts, nil for 1 each. It refuses entries that are in hand already, or were
// until just now, and, while draining, all; these are handed back. What it returns holds a credit each, which the caller has taken.
func (s *subscription) take(entries []Entry, counts []int64) []*Delivery {
	if len(entries) == 0 {
		return nil
	}
	now := time.Now()
	taken := make([]*Delivery, 0, len(entries))
	s.mu.Lock()
	s.took = true
	for i, e := range entries {
		switch {
		case s.held[e.ID] != nil || s.settledMeanwhile[e.ID]:
			s.tookAgain(s.held[e.ID])
			continue
		case s.draining:
			s.returned = append(s.returned, e.ID)
			continue
		}
		d := &Delivery{entry: e, count: 1, sub: s, at: now}
		if counts != nil {
			d.count = counts[i]
		}
		s.held[e.ID] = d
		taken = append(taken, d)
	}
	s.mu.Unlock()
	return taken
}

// tookAgain is for an entry that is refused though Redis gave it to us once more: it was read from a group that was built
// again, or claimed from a consumer that had it meanwhile. What settles the delivery in hand, nil if that is over, may have
// been done before, to the old group or while the entry was the other's, and then it is pending here with nobody to settle
// it. All such are looked for at once, when none is in hand any more. The caller holds mu.
func (s *subscription) tookAgain(d *Delivery) {
	switch {
	case d == nil:
		s.uncertain.Store(true)
	case !d.again:
		d.again = true
		s.again++
	}
}

// release is the end of take.
func (s *subscription) release(d *Delivery, handBack bool) {
	s.mu.Lock()
	if handBack {
		s.returned = append(s.returned, d.entry.ID)
	}
	if s.held[d.entry.ID] == d {
		delete(s.held, d.entry.ID)
		if d.again {
			if s.again--; s.again == 0 {
				s.uncertain.Store(true)
			}
		}
	}
	if s.settledMeanwhile != nil {
		s.settledMeanwhile[d.entry.ID] = true
	}
	s.noteIdle()
	s.mu.Unlock()
	s.credits.give(1)
}

func (s *subscription) noteIdle() {
	if s.draining && len(s.held) == 0 && !s.isIdle {
		s.isIdle = true
		close(s.idle)
	}
}

// giveBack ends a delivery without settling it: its entry stays pending, and is handed back when the subscription ends.
func (s *subscription) giveBack(d *Delivery) { d.end(true) }

func (s *subscription) beginDrain() {
	s.mu.Lock()
	s.draining = true
	close(s.drain)
	nobodys := s.resumed
	s.resumed = nil
	for _, d := range s.held {
		d.cancel()
		if d.parked {
			d.parked = false
			nobodys = append(nobodys, d)
		}
	}
	s.noteIdle()
	s.mu.Unlock()
	for _, d := range nobodys {
		s.giveBack(d)
	}
}

// deliver sends the message of a delivery and watches over it.
func (s *subscription) deliver(d *Delivery) {
	if s.redrive && !s.accept(d) {
		return
	}
	d.watched()
	m := d.message(s.cfg.Codec)
	select {
	case s.out <- m:
		s.watchers.Go(func() { s.watch(d, m) })
	case <-s.drain:
		s.giveBack(d)
	}
}

// watch waits for what becomes of a message.
func (s *subscription) watch(d *Delivery, m *message.Message) {
	select {
	case <-d.settled:
	case <-m.Acked():
		d.cancel()
		if d.state.Load() == inHand && s.acks.put(context.Background(), d) != nil {
			s.giveBack(d)
		}
		select {
		case <-d.settled:
		case <-s.abandon: // the lane gives up as well, and gives the entry back
		}
	case <-m.Nacked():
		d.cancel()
		s.redeliver(d)
	case <-s.abandon:
		s.giveBack(d)
	}
}

// redeliver delivers a nacked entry again after a pause that grows with each nack, so that a handler which always fails
// does not spin. While draining it is given back.
func (s *subscription) redeliver(d *Delivery) {
	if d.state.Load() != inHand {
		return
	}
	again := &Delivery{entry: d.entry, count: d.count, nacks: d.nacks + 1, sub: s}
	again.brings.Store(d.brings.Load())
	wait := time.NewTimer(min(s.cfg.MaxNackPause, 10*time.Millisecond<<min(d.nacks, 10)))
	defer wait.Stop()
	select {
	case <-s.drain:
		s.giveBack(d)
		return
	case <-wait.C:
	}
	s.mu.Lock()
	// The place in hand and the credit pass on to the new delivery; the old one is over.
	replaced := !s.draining && s.held[d.entry.ID] == d && d.state.CompareAndSwap(inHand, finished)
	if replaced {
		again.at, again.again = d.at, d.again
		s.held[d.entry.ID] = again
	}
	s.mu.Unlock()
	if !replaced {
		s.giveBack(d)
		return
	}
	d.noteSettled()
	s.cfg.Events.Redelivered(s.stream, s.cfg.Group)
	s.deliver(again)
}
