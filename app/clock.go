package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// clock is the time of the Redis server, by which entry IDs are made: the local clock plus an offset that is measured
// again and again.
type clock struct {
	client redis.UniversalClient
	trip   func(time.Duration) // is told how long each round trip took
	offset atomic.Int64        // nanoseconds to add to the local clock
}

// Now is the server's time, as well as it is known.
func (c *clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Offset is what the server's clock is ahead of the local one.
func (c *clock) Offset() time.Duration { return time.Duration(c.offset.Load()) }

// measure takes the quickest of a few round trips, whose half bounds the error.
func (c *clock) measure(ctx context.Context) error {
	best := time.Duration(-1)
	var offset time.Duration
	for range 3 {
		before := time.Now()
		server, err := c.client.Time(ctx).Result()
		trip := time.Since(before)
		if err != nil {
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
	return nil
}

// run measures until ctx ends. While Redis does not answer the last offset holds.
func (c *clock) run(ctx context.Context, every time.Duration) {
	for tick := time.NewTicker(every); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			_ = c.measure(ctx) // the readers say that Redis is away
		}
	}
}
