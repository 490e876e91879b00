package app

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"
)

// clock is the time of the Redis server, by which entry IDs are made: the local clock plus an offset that is measured
// again and again.
type clock struct {
	client redis.UniversalClient // keeps to the deadline of a context
	trip   func(time.Duration)   // is told how long each round trip took
	offset atomic.Int64          // nanoseconds to add to the local clock
	known  chan struct{}         // closed once the offset has been measured, or may not be
	first  sync.Once             // closes it
}

func newClock(client redis.UniversalClient, trip func(time.Duration)) *clock {
	return &clock{client: client, trip: trip, known: make(chan struct{})}
}

// Now is the server's time, as well as it is known.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Offset is what the server's clock is ahead of the local one.
func (c *clock) Offset() time.Duration { return time.Duration(c.offset.Load()) }

// clockTimeout is how long Redis may take to tell the time.
const clockTimeout = 2 * time.Second

// measure takes the quickest of a few round trips, whose half bounds the error.
func (c *clock) measure(ctx context.Context) error {
	best := time.Duration(-1)
	var offset time.Duration
	ask := func() (time.Time, error) {
		ctx, cancel := context.WithTimeout(ctx, clockTimeout)
		defer cancel()
		return c.client.Time(ctx).Result()
	}
	for range 3 {
		before := time.Now()
		server, err := ask()
		trip := time.Since(before)
		if err != nil {
			if redis.HasErrorPrefix(err, "NOPERM") { // waiting mends nothing: then the local clock must do
				c.first.Do(func() { close(c.known) })
			}
			return fmt.Errorf("ask for the server's time: %w", err)
		}
		c.trip(trip)
		if best < 0 || trip < best {
			best, offset = trip, server.Sub(before.Add(trip/2))
		}
	}
	// Within the error of the measurement the clocks are one; following noise would only make time jump.
	if difference := offset - c.Offset(); difference.Abs() > best {
		c.offset.Store(int64(offset))
	}
	c.first.Do(func() { close(c.known) })
	return nil
}

// run measures until ctx ends: every so often, and soon again when Redis did not answer, for it may be another server that
// answers next. Meanwhile the last offset holds.
func (c *clock) run(ctx context.Context, every time.Duration) {
	pauses := &backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, MaxInterval: time.Second / 2, Multiplier: 2, RandomizationFactor: 0.5,
	}
	pauses.Reset()
	wait := time.NewTimer(0) // the measurement before may have failed
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		if c.measure(ctx) != nil { // the readers say that Redis is away
			wait.Reset(pauses.NextBackOff())
			continue
		}
		pauses.Reset()
		wait.Reset(every)
	}
}

// hold keeps messages waiting until the clock has been measured once: by the local clock a deadline might be over at once, or
// never.
func (c *clock) hold(next message.HandlerFunc) message.HandlerFunc {
	return func(m *message.Message) ([]*message.Message, error) {
		select {
		case <-c.known:
			return next(m)
		default:
		}
		select {
		case <-c.known:
			return next(m)
		case <-m.Context().Done():
			return nil, fmt.Errorf("wait for the server's time: %w", m.Context().Err())
		}
	}
}
