package stream

import (
	"bytes"
	"slices"

	"heatobserver/entry"
)

// Park keeps entry i of the bundle in hand without a message, for an answer that is not known yet: it costs its Delivery
// and no goroutine. It counts as in flight, its idle time is refreshed, and it is handed back when the subscription
// drains. Call it before the bundle's message is acked, at most once for each entry.
//
// resume ends that, and gives the contexts of all later messages of the entry the value under the key. What is resumed
// is in a queue until send is called, which sends all that is in it through the router: as one bundle, because what ends
// together should not cost a message for each. send must follow soon, but once for many will do.
//
// Both wait for nothing and may be called at any time, from any goroutine. Only the first call of resume counts, and none
// after a drain began; what is in the queue then is handed back like what is parked.
func (b *Bundle) Park(i int) (resume func(key, value any) (send func())) {
	if b.parked == nil {
		b.parked = make([]bool, len(b.deliveries))
	}
	b.parked[i] = true
	s, d := b.sub, b.deliveries[i]
	s.mu.Lock()
	d.parked = !s.draining
	draining := s.draining
	s.mu.Unlock()
	if draining {
		s.giveBack(d)
		return func(any, any) func() { return s.send }
	}
	// The fields of a read share one buffer, which would live as long as the last of them.
	d.entry.Fields = entry.Fields(bytes.Clone(d.entry.Fields))
	return func(key, value any) func() { return s.resume(d, key, value) }
}

// Unpark is for a handler that failed before it could arrange for resume: the parked entries go through the router like
// those that were left out.
func (b *Bundle) Unpark() {
	for i := range b.parked {
		b.unpark(i)
	}
}

// unpark makes the bundle responsible again for an entry that is still parked.
func (b *Bundle) unpark(i int) {
	if !b.isParked(i) {
		return
	}
	b.sub.mu.Lock()
	defer b.sub.mu.Unlock()
	b.parked[i] = !b.deliveries[i].parked
	b.deliveries[i].parked = false
}

// isParked reports whether the entry was taken from this bundle: resume or a drain is responsible for what becomes of it.
func (b *Bundle) isParked(i int) bool { return len(b.parked) > i && b.parked[i] }

// keepsake is what resume gave an entry to bring along.
type keepsake struct{ key, value any }

// resume takes a parked entry into the queue of sendResumed.
func (s *subscription) resume(d *Delivery, key, value any) (send func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.parked && !s.draining {
		d.parked = false
		d.brings.Store(&keepsake{key, value})
		s.resumed = append(s.resumed, d)
	}
	return s.send
}

// sendResumed sends what was resumed, in bundles of at most a batch.
func (s *subscription) sendResumed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.resumed) == 0 { // somebody else was first, or the drain
		return
	}
	deliveries := s.resumed
	s.resumed = nil
	// Under the lock: nobody waits for the watchers before the drain has begun.
	s.watchers.Go(func() {
		for together := range slices.Chunk(deliveries, s.cfg.Batch) {
			s.deliverBundle(together)
		}
	})
}
