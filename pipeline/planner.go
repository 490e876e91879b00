package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// PlannerConfig are the settings of a Planner.
type PlannerConfig struct {
	Streams []string // a plan goes to the one of its partition (event.Partition); none = PlanStream
	MaxLen  int64    // approximate length to which each stream is trimmed; 0 = 10,000, negative = never
	Rate    float64  // plans per second, above 0
	First   uint64   // number of the first plan
	Seed    uint64

	plans uint64 // how many to write in all; 0 = no end
}

// Planner writes plans as the apply layer does, at a steady rate. It is an open loop: the moment of each plan
// is fixed from the start, and what could not be written in time is made up, so that a slow Redis meets the
// same load as a fast one.
type Planner struct {
	config PlannerConfig
	flat   *flatWriter
	log    *slog.Logger

	written atomic.Uint64
}

// NewPlanner checks the settings. It never closes the client.
func NewPlanner(client redis.UniversalClient, config PlannerConfig, log *slog.Logger) (*Planner, error) {
	if !(config.Rate > 0 && config.Rate <= 1e6) {
		return nil, fmt.Errorf("set up the planner: rate is %v plans/s, it has to be above 0 and at most a million", config.Rate)
	}
	if len(config.Streams) == 0 {
		config.Streams = []string{PlanStream}
	}
	config.MaxLen = max(0, cmp.Or(config.MaxLen, defaultMaxLen)) // go-redis takes 0 for "do not trim"
	flat := &flatWriter{client: client, streams: config.Streams, maxLen: config.MaxLen, seed: config.Seed}
	return &Planner{config: config, flat: flat, log: log.With("stream", config.Streams[0])}, nil
}

// Written is how many plans are in their streams so far. It may be called at any time.
func (p *Planner) Written() uint64 { return p.written.Load() }

// Run writes until the context ends or all plans are written. It must be called once.
func (p *Planner) Run(ctx context.Context) error {
	const batch = 500 // plans in one pipeline; those that are due within one pace share one
	start, retry, numbers := time.Now(), newBackoff(), make([]uint64, 0, batch)
	for done := uint64(0); p.config.plans == 0 || done < p.config.plans; {
		due := p.due(time.Since(start))
		if due == done {
			if !pause(ctx, max(pace, time.Until(p.moment(start, done)))) {
				return nil
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		numbers = numbers[:0]
		for i := done; i < min(due, done+batch); i++ {
			numbers = append(numbers, p.config.First+i)
		}
		written, err := p.flat.write(ctx, numbers)
		done += uint64(written)
		p.written.Store(done)
		if err == nil {
			retry.Reset()
			continue
		}
		if !tryAgain(ctx, p.log, retry, err) {
			return err
		}
	}
	return nil
}

// due is how many plans are due after a time.
func (p *Planner) due(elapsed time.Duration) uint64 {
	due := uint64(elapsed.Seconds()*p.config.Rate) + 1
	if p.config.plans > 0 {
		due = min(due, p.config.plans)
	}
	return due
}

// moment is when the plan after done others is due.
func (p *Planner) moment(start time.Time, done uint64) time.Time {
	return start.Add(time.Duration(float64(done) / p.config.Rate * float64(time.Second)))
}
