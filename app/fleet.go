package app

import (
	"context"
	_ "embed"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/middleware"
)

//go:embed fleet.lua
var fleetLua string

var fleetScript = redis.NewScript(fleetLua)

// fleetLimiter is one worker's side of a limit over all workers, which is kept in Redis. It fetches permits for a
// fiftieth of a second at a time, so that the script runs 50 times a second in each worker at most, whatever the limit.
// It fails open: while Redis does not answer everything passes, because the observer never holds up what it only
// watches; without Redis nothing is read anyway.
type fleetLimiter struct {
	client   redis.UniversalClient
	key      string
	interval time.Duration // of one permit
	micros   float64       // the same in µs, exact
	log      *slog.Logger
	timeout  time.Duration // beyond it the limit is as good as broken

	turn    chan struct{} // holds one token: who has it fetches or takes a permit
	next    time.Time     // when the next permit may be used
	left    int           // permits fetched and not used
	broken  time.Time     // until when Redis is not asked again
	logOnce sync.Once
}

var _ middleware.Limiter = (*fleetLimiter)(nil)

const (
	fleetTimeout = 500 * time.Millisecond
	fleetRest    = time.Second           // after a failure Redis is left alone, and everything passes
	fleetAhead   = 20 * time.Millisecond // permits for so long are fetched at once
)

func newFleetLimiter(client redis.UniversalClient, key string, perSecond float64, log *slog.Logger) *fleetLimiter {
	l := &fleetLimiter{
		client: client, key: key, log: log, timeout: fleetTimeout, turn: make(chan struct{}, 1),
		micros: 1e6 / perSecond, interval: time.Duration(float64(time.Second) / perSecond),
	}
	l.turn <- struct{}{}
	return l
}

// Wait waits for a permit. Who waits keeps the turn, so that a worker never holds more permits than one fetch brings:
// what it held when it dies is lost to the others.
func (l *fleetLimiter) Wait(ctx context.Context) error {
	select {
	case <-l.turn:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { l.turn <- struct{}{} }()
	delay := time.Until(l.permit(ctx))
	if delay <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		l.left, l.next = l.left+1, l.next.Add(-l.interval) // for the one behind
		return context.Cause(ctx)
	}
}

// permit is when the caller may pass. The caller has the turn.
func (l *fleetLimiter) permit(ctx context.Context) time.Time {
	now := time.Now()
	if now.Before(l.broken) {
		return now
	}
	if l.left == 0 {
		if err := l.fetch(ctx); err != nil {
			if ctx.Err() == nil {
				l.broken = now.Add(fleetRest)
				l.logOnce.Do(func() {
					l.log.WarnContext(ctx, "the limit of the fleet cannot be asked for; everything passes until it can", "err", err)
				})
			}
			return now
		}
	}
	l.left--
	at := l.next
	l.next = l.next.Add(l.interval)
	return at
}

// fetch takes permits for the next while.
func (l *fleetLimiter) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	n := max(1, int(float64(fleetAhead.Microseconds())/l.micros))
	wait, err := fleetScript.Run(ctx, l.client, []string{l.key}, l.micros, n, 2*n).Int64()
	if err != nil {
		return err
	}
	l.left, l.next = n, time.Now().Add(time.Duration(wait)*time.Microsecond)
	return nil
}
