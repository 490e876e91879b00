package heat

import (
	"time"

	"heatobserver/event"
)

// Lookup is one answer or failure of Redis to the looks that travelled together.
type Lookup struct {
	Plans  int // looks in the batch
	Found  int // of them, looks that showed a hash, well formed or not
	Failed int // of them, looks that Redis did not answer
	Took   time.Duration
}

// Metrics are told what happens. Every field may be nil. They are called outside all locks, from many
// goroutines at once, and must not block.
type Metrics struct {
	// Looked is told of each batch that the Reader has sent.
	Looked func(Lookup)
	// Waited is told of the end of each wait: its duration, how it was noticed and its reason. A wait that its
	// caller gave up has no verdict and is not told.
	Waited func(event.Verdict)
	// Watched is told how it went on with a sample of the plans whose wait ended in a timeout: Found when the
	// heat came after all, Timeout when it did not come in the time for which the plan stayed watched.
	Watched func(event.Verdict)
	// Notified is told of each write that Redis announced, and whether a plan waits for it here.
	Notified func(waiting bool)
	// Reset is told when everything that waits is looked at again: announcements began (healthy), may have been
	// missed (healthy), or ended (not healthy).
	Reset func(healthy bool)
}

func (m Metrics) withDefaults() Metrics {
	if m.Looked == nil {
		m.Looked = func(Lookup) {}
	}
	if m.Waited == nil {
		m.Waited = func(event.Verdict) {}
	}
	if m.Watched == nil {
		m.Watched = func(event.Verdict) {}
	}
	if m.Notified == nil {
		m.Notified = func(bool) {}
	}
	if m.Reset == nil {
		m.Reset = func(bool) {}
	}
	return m
}
