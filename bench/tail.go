package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
)

// seen is what the observed stream said of one plan at one observation point.
type seen struct {
	times int           // observations; more than one is a fault of the observer
	at    time.Duration // since the epoch of the load, the end of the millisecond in the entry ID of the first
	what  event.Observation
}

// tail counts the observed stream as it grows, and reads it when all is over: reading along would take a good part of the
// machine from what is measured. When an observation was made, its entry ID tells, by the clock of the same machine.
type tail struct {
	load    *load
	client  *redis.Client
	early   []seen
	late    []seen
	saw     atomic.Int64 // entries in the stream
	strange int          // entries that are no observation of a plan of ours

	ctx  context.Context //nolint:containedctx // that of the trial
	stop context.CancelFunc
	done sync.WaitGroup
	read sync.Once
	err  error
}

// startTail begins to count. end must be called.
func startTail(ctx context.Context, client *redis.Client, l *load) *tail {
	t := &tail{load: l, client: client, early: make([]seen, l.plans), late: make([]seen, l.plans), ctx: ctx}
	ctx, t.stop = context.WithCancel(ctx)
	t.done.Go(func() { t.count(ctx) })
	return t
}

func (t *tail) count(ctx context.Context) {
	for ctx.Err() == nil {
		if n, err := t.client.XLen(ctx, observedStream).Result(); err == nil {
			t.saw.Store(n)
		}
		pauseUntil(ctx, time.Now().Add(20*time.Millisecond))
	}
}

// end stops counting and reads the stream; only the first call does.
func (t *tail) end() error {
	t.stop()
	t.done.Wait()
	t.read.Do(func() { t.err = t.readAll() })
	return t.err
}

func (t *tail) readAll() error {
	for from := "-"; ; {
		page, err := t.client.XRangeN(t.ctx, observedStream, from, "+", 1000).Result()
		if err != nil {
			return fmt.Errorf("read observations: %w", err)
		}
		if len(page) == 0 {
			return nil
		}
		for _, m := range page {
			id, err := entry.ParseID(m.ID)
			if err != nil {
				return fmt.Errorf("read observations: %w", err)
			}
			t.take(m, id.Time().Add(time.Millisecond).Sub(t.load.epoch))
			from = "(" + m.ID
		}
	}
}

func (t *tail) take(m redis.XMessage, at time.Duration) {
	pairs := make([]string, 0, 2*len(event.ObservationFields))
	for _, name := range event.ObservationFields {
		value, _ := m.Values[name].(string)
		pairs = append(pairs, name, value)
	}
	o, err := event.DecodeObservation(entry.Make(pairs...))
	plan, known := t.load.index[o.PlanID]
	if err != nil || !known {
		t.strange++
		return
	}
	s := &t.early[plan]
	if o.Point == event.Late {
		s = &t.late[plan]
	}
	if s.times++; s.times > 1 {
		return
	}
	s.at, s.what = at, o
}
