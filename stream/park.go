package stream

import (
	"bytes"
	"context"

	"heatobserver/entry"
)

// Park keeps entry i of the bundle in hand without a message, for an answer that is not known yet: it costs its Delivery
// and no goroutine. It counts as in flight, its idle time is refreshed, and it is handed back when the subscription
// drains. Call it before the bundle's message is acked, at most once for each entry.
//
// resume sends the entry through the router as a message of its own, whose context has the value under the key. It waits
// for nothing and may be called at any time, from any goroutine; only the first call counts, and none after a drain began.
func (b *Bundle) Park(i int) (resume func(key, value any)) {
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
		return func(any, any) {}
	}
	// The fields of a read share one buffer, which would live as long as the last of them.
	d.entry.Fields = entry.Fields(bytes.Clone(d.entry.Fields))
	return func(key, value any) { s.resume(d, key, value) }
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

// isParked reports whether resume or a drain is responsible for what becomes of the entry.
func (b *Bundle) isParked(i int) bool { return len(b.parked) > i && b.parked[i] }

func (s *subscription) resume(d *Delivery, key, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !d.parked || s.draining {
		return
	}
	d.parked = false
	// Under the lock: nobody waits for the watchers before the drain has begun.
	s.watchers.Go(func() {
		s.deliverWith(d, func(ctx context.Context) context.Context { return context.WithValue(ctx, key, value) })
	})
}
