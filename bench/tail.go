package main

import (
	"context"
	"errors"
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
	at    time.Duration // since the epoch of the load, when the first was read here
	what  event.Observation
}

// tail reads the observed stream as it grows, on the clock that stamped the heat.
type tail struct {
	load    *load
	client  *redis.Client
	early   []seen
	late    []seen
	sawLate atomic.Int64
	saw     atomic.Int64
	strange int // entries that are no observation of a plan of ours

	stop context.CancelFunc
	done sync.WaitGroup
	err  error
}

// startTail begins to read. end must be called.
func startTail(ctx context.Context, client *redis.Client, l *load) *tail {
	t := &tail{load: l, client: client, early: make([]seen, l.plans), late: make([]seen, l.plans)}
	ctx, t.stop = context.WithCancel(ctx)
	t.done.Go(func() { t.err = t.read(ctx) })
	return t
}

func (t *tail) read(ctx context.Context) error {
	from := "0"
	for ctx.Err() == nil {
		streams, err := t.client.XRead(ctx, &redis.XReadArgs{Streams: []string{observedStream, from}, Count: 1000, Block: 100 * time.Millisecond}).Result()
		at := time.Since(t.load.epoch)
		switch {
		case errors.Is(err, redis.Nil), ctx.Err() != nil:
			continue
		case err != nil:
			return fmt.Errorf("read observations: %w", err)
		}
		for _, m := range streams[0].Messages {
			t.take(m, at)
			from = m.ID
		}
	}
	return nil
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
	t.saw.Add(1)
	if o.Point == event.Late {
		t.sawLate.Add(1)
	}
}

// end stops reading and returns why it stopped before, if it did.
func (t *tail) end() error {
	t.stop()
	t.done.Wait()
	return t.err
}
