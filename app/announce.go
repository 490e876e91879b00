package app

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/operate"
)

const (
	announceEvery = 2 * time.Second
	// announceTTL is for how long a worker that falls silent is known by what it said last: much longer than it takes to
	// be called dead, so that its version stands beside that.
	announceTTL = time.Minute
	// drainedTTL is for how long it is known that a worker has gone in order.
	drainedTTL = 15 * time.Minute
	// announceTimeout bounds one announcement; the last one is in the way of the end.
	announceTimeout = 500 * time.Millisecond
	// announceOver is what the rate of observations is of, in announcements.
	announceOver = 5
)

// announcer says in Redis, for people to read, what this worker is. Nothing depends on it: where it is denied or fails, only
// the version of the worker is not known.
type announcer struct {
	p       *processor
	started time.Time
	written []written // lately, the oldest first
	refused sync.Once
}

// written is how many observations had been written at a moment.
type written struct {
	at    time.Time
	total int64
}

// announce begins to say it, and says at the end that the worker has drained.
func (p *processor) announce(ctx context.Context) {
	a := &announcer{p: p, started: p.clock.Now()}
	speaking, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { a.run(speaking) })
	p.atEnd("announcements", func() error {
		stop()
		running.Wait()
		a.say(context.WithoutCancel(ctx))
		return nil
	})
}

func (a *announcer) run(ctx context.Context) {
	for tick := time.NewTicker(announceEvery); ; {
		a.say(ctx)
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

func (a *announcer) say(ctx context.Context) {
	said, ttl := operate.Announcement{
		Version: version(), Started: a.started.UTC(), State: operate.WorkerRunning, PerSec: a.rate(),
	}, announceTTL
	a.p.mu.Lock()
	switch {
	case a.p.drained:
		said.State, said.PerSec, ttl = operate.WorkerDrained, 0, drainedTTL
	case a.p.draining:
		said.State = operate.WorkerDraining
	}
	a.p.mu.Unlock()
	text, err := json.Marshal(said)
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, announceTimeout)
		defer cancel()
		err = a.p.side.Set(ctx, operateSetup(a.p.cfg).WorkerPrefix+a.p.consumer(), text, ttl).Err()
	}
	if reply := redis.Error(nil); errors.As(err, &reply) { // Redis being away is said by others
		a.refused.Do(func() {
			a.p.log.InfoContext(ctx, "this worker cannot say in Redis what it is; the status page does not show its version", "err", err)
		})
	}
}

// rate is how many observations are written in a second.
func (a *announcer) rate() float64 {
	now := written{time.Now(), a.p.metrics.total.Load()}
	a.written = append(a.written, now)
	if over := len(a.written) - announceOver - 1; over > 0 {
		a.written = a.written[over:]
	}
	first := a.written[0]
	seconds := now.at.Sub(first.at).Seconds()
	if seconds < 0.5 {
		return 0
	}
	return float64(now.total-first.total) / seconds
}
