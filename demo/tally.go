package demo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
)

// tally reads the observed stream from its end on and counts what comes.
type tally struct {
	client redis.UniversalClient
	stream string

	mu     sync.Mutex
	counts counts
	late   waits
	early  waits
}

// counts are the observations so far.
type counts struct {
	Observations int `json:"observations"`
	// EarlyFound of Early, and LateFound of Late, had heat_found=1. Those whose look came after the deadline prove
	// nothing about the allowed wait; they are in AfterDeadline alone.
	Early         int            `json:"early"`
	EarlyFound    int            `json:"early_found"`
	Late          int            `json:"late"`
	LateFound     int            `json:"late_found"`
	AfterDeadline int            `json:"after_deadline"`
	Reasons       map[string]int `json:"late_reasons"`
	Unreadable    int            `json:"unreadable"`
	// LateP50 and LateP99 are the time from publishing a plan to its late observation, in ms, by the server's clock.
	LateP50 int `json:"late_p50_ms"`
	LateP99 int `json:"late_p99_ms"`
	// ReadP50 and ReadP99 are the readers' delay: from publishing a plan to the early look, in ms. A reader that lags
	// flatters the early coverage.
	ReadP50 int `json:"reader_p50_ms"`
	ReadP99 int `json:"reader_p99_ms"`
}

// newTally reads the named stream. It never closes the client.
func newTally(client redis.UniversalClient, stream string) *tally {
	return &tally{client: client, stream: stream}
}

// Counts may be called at any time.
func (t *tally) Counts() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.LateP50, c.LateP99 = t.late.percentile(0.50), t.late.percentile(0.99)
	c.ReadP50, c.ReadP99 = t.early.percentile(0.50), t.early.percentile(0.99)
	c.Reasons = map[string]int{}
	for k, v := range t.counts.Reasons {
		c.Reasons[k] = v
	}
	return c
}

// Run counts until ctx ends. It returns what Redis said when reading failed three times in a row.
func (t *tally) Run(ctx context.Context, from string) error {
	failures := 0
	for ctx.Err() == nil {
		batch, err := t.client.XRead(ctx, &redis.XReadArgs{Streams: []string{t.stream, from}, Count: 1000, Block: 100 * time.Millisecond}).Result()
		switch {
		case errors.Is(err, redis.Nil), ctx.Err() != nil:
			continue
		case err != nil:
			if failures++; failures >= 3 {
				return fmt.Errorf("read %s: %w", t.stream, err)
			}
			continue
		}
		failures = 0
		for _, m := range batch[0].Messages {
			t.add(m)
			from = m.ID
		}
	}
	return nil
}

func (t *tally) add(m redis.XMessage) {
	id, idErr := entry.ParseID(m.ID)
	pairs := make([]string, 0, 2*len(event.ObservationFields))
	for _, name := range event.ObservationFields {
		value, _ := m.Values[name].(string)
		pairs = append(pairs, name, value)
	}
	o, err := event.DecodeObservation(entry.Make(pairs...))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Observations++
	if err != nil || idErr != nil {
		t.counts.Unreadable++
		return
	}
	if o.Point == event.Early {
		t.counts.Early++
		if o.Found() {
			t.counts.EarlyFound++
		}
		t.early.add(int(o.WaitMs))
		return
	}
	if t.counts.Reasons == nil {
		t.counts.Reasons = map[string]int{}
	}
	t.counts.Reasons[string(o.Reason)]++
	if o.AfterDeadline {
		t.counts.AfterDeadline++
		return
	}
	t.counts.Late++
	if o.Found() {
		t.counts.LateFound++
	}
	t.late.add(int(id.Time().Sub(o.SourceID.Time()).Milliseconds()))
}

// waits counts waits by the millisecond, up to a minute.
type waits struct {
	n      int
	counts [60_001]uint32
}

func (w *waits) add(ms int) {
	w.n++
	w.counts[max(0, min(ms, len(w.counts)-1))]++
}

// percentile is the smallest wait that the share q of all does not exceed; 0 when there is none.
func (w *waits) percentile(q float64) int {
	if w.n == 0 {
		return 0
	}
	rest := int(q*float64(w.n-1)) + 1
	for ms := range w.counts {
		if rest -= int(w.counts[ms]); rest <= 0 {
			return ms
		}
	}
	return len(w.counts) - 1
}
