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
	Streams   []string // a plan goes to the one of its partition (event.Partition); none = PlanStream
	MaxLen    int64    // approximate length to which each stream is trimmed; 0 = 10,000, negative = never
	Rate      float64  // plans per second, above 0
	Plans     uint64   // how many to write in all; 0 = no end
	First     uint64   // number of the first plan
	Seed      uint64
	Malformed float64 // share of malformed entries, 0 to 1
}

// Planner writes plans as the apply layer does, at a steady rate. It is an open loop: the moment of each plan
// is fixed from the start, and what could not be written in time is made up, so that a slow Redis meets the
// same load as a fast one.
type Planner struct {
	client redis.UniversalClient
	config PlannerConfig
	log    *slog.Logger

	offered, written, malformed atomic.Uint64
}

// PlannerCounts are what a Planner has done so far.
type PlannerCounts struct {
	Offered   uint64 // were due, malformed ones included
	Written   uint64 // are in the stream, malformed ones included
	Malformed uint64 // of those written
}

// NewPlanner checks the settings. It never closes the client.
func NewPlanner(client redis.UniversalClient, config PlannerConfig, log *slog.Logger) (*Planner, error) {
	if !(config.Rate > 0 && config.Rate <= 1e6) {
		return nil, fmt.Errorf("set up the planner: rate is %v plans/s, it has to be above 0 and at most a million", config.Rate)
	}
	if !(config.Malformed >= 0 && config.Malformed <= 1) {
		return nil, fmt.Errorf("set up the planner: the malformed share is %v, it has to lie between 0 and 1", config.Malformed)
	}
	if len(config.Streams) == 0 {
		config.Streams = []string{PlanStream}
	}
	config.MaxLen = max(0, cmp.Or(config.MaxLen, defaultMaxLen)) // go-redis takes 0 for "do not trim"
	return &Planner{client: client, config: config, log: log.With("stream", config.Streams[0])}, nil
}

// Counts may be called at any time.
func (p *Planner) Counts() PlannerCounts {
	return PlannerCounts{Offered: p.offered.Load(), Written: p.written.Load(), Malformed: p.malformed.Load()}
}

// Run writes until the context ends or all plans are written. It must be called once.
func (p *Planner) Run(ctx context.Context) error {
	const batch = 500 // plans in one pipeline; those that are due within one pace share one
	start, retry := time.Now(), newBackoff()
	for done := uint64(0); p.config.Plans == 0 || done < p.config.Plans; {
		due := p.due(time.Since(start))
		p.offered.Store(due)
		if due == done {
			if !pause(ctx, max(pace, time.Until(p.moment(start, done)))) {
				return nil
			}
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		n := min(due-done, batch)
		written, err := p.write(ctx, done, n)
		done += written
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
	if p.config.Plans > 0 {
		due = min(due, p.config.Plans)
	}
	return due
}

// moment is when the plan after done others is due.
func (p *Planner) moment(start time.Time, done uint64) time.Time {
	return start.Add(time.Duration(float64(done) / p.config.Rate * float64(time.Second)))
}

// write adds n plans and says how many of them, from the first on, are in the stream for certain.
func (p *Planner) write(ctx context.Context, done, n uint64) (written uint64, err error) {
	now := time.Now()
	pipe := p.client.Pipeline()
	first := p.config.First + done
	for i := first; i < first+n; i++ {
		pairs := PlanPairs(p.config.Seed, i, now)
		if isMalformed(p.config.Seed, i, p.config.Malformed) {
			pairs = malformedPairs(p.config.Seed, i, now)
		}
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: streamOf(p.config.Streams, p.config.Seed, i), MaxLen: p.config.MaxLen, Approx: p.config.MaxLen > 0, Values: pairs})
	}
	replies, err := pipe.Exec(ctx)
	if err != nil {
		err = fmt.Errorf("write plans: %w", err)
	}
	for _, reply := range replies {
		if reply.Err() != nil {
			break
		}
		if isMalformed(p.config.Seed, first+written, p.config.Malformed) {
			p.malformed.Add(1)
		}
		written++
	}
	p.written.Add(written)
	return written, err
}
