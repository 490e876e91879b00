package chaos

import (
	"context"
	"sync"
	"testing"
	"time"
)

// fleet is the workers, and what all their lives counted. Its slots are changed on the test's goroutine alone.
type fleet struct {
	t   *testing.T
	env []string

	mu    sync.Mutex
	slots []*process
	past  []*process
}

var names = [...]string{"w1", "w2", "w3"}

func newFleet(t *testing.T, env []string) *fleet {
	t.Helper()
	f := &fleet{t: t, env: env, slots: make([]*process, len(names))}
	for i := range names {
		f.start(i)
	}
	return f
}

// start puts a new process into a slot.
func (f *fleet) start(i int) {
	f.t.Helper()
	p := startWorker(f.t, names[i], f.env...)
	f.mu.Lock()
	defer f.mu.Unlock()
	if old := f.slots[i]; old != nil {
		f.past = append(f.past, old)
	}
	f.slots[i] = p
}

// watch scrapes all workers until ctx ends.
func (f *fleet) watch(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			for _, p := range f.running() {
				p.scrape()
			}
		}
	}
}

func (f *fleet) running() []*process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]*process(nil), f.slots...)
}

// sum adds up metrics over all lives, as far as they were scraped.
func (f *fleet) sum(parts ...string) (total float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range append(f.past[:len(f.past):len(f.past)], f.slots...) {
		total += p.sum(parts...)
	}
	return total
}

// most is the largest value of a metric among the running workers.
func (f *fleet) most(parts ...string) (most float64) {
	for _, p := range f.running() {
		most = max(most, p.sum(parts...))
	}
	return most
}

// recovered waits until every worker says that it is ready.
func (f *fleet) recovered(limit time.Duration) bool {
	return eventually(limit, func() bool {
		for _, p := range f.running() {
			if !p.ready() {
				return false
			}
		}
		return true
	})
}
