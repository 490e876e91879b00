package app_test

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/internal/redistest"
)

// Four workers together keep the limit within 5 %, whoever of them asks more.
func TestFleetLimitHoldsOverFourWorkers(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	const perSecond = 400
	window, tolerance := 10*time.Second, 0.05
	if testing.Short() {
		window, tolerance = 3*time.Second, 0.1
	}
	ctx, cancel := context.WithCancel(t.Context())
	var passed atomic.Int64
	var workers sync.WaitGroup
	for worker := range 4 {
		// A machine that is busy with other tests must not look like a Redis that is broken.
		limiter := app.Patient(app.NewFleetLimiter(srv.NewClient(nil), "throttle:test", perSecond, slog.New(slog.DiscardHandler)), patience)
		for range 4 * (worker + 1) {
			workers.Go(func() {
				for limiter.Wait(ctx) == nil {
					passed.Add(1)
				}
			})
		}
	}
	waitFor(t, patience, func() error { // the burst of the beginning is over
		if passed.Load() < perSecond/4 {
			return context.DeadlineExceeded
		}
		return nil
	})
	start, before := time.Now(), passed.Load()
	time.Sleep(window) // the window of the measurement; its true length counts
	n, took := passed.Load()-before, time.Since(start)
	cancel()
	workers.Wait()
	rate := float64(n) / took.Seconds()
	require.LessOrEqual(t, rate, perSecond*(1+tolerance), "%d in %v", n, took)
	least := 1 - tolerance
	if os.Getenv("HEAT_FULL") == "" {
		least = 0.25 // beside other tests the machine may not come to 400 calls a second; `make fleet-test` has it to itself
	}
	require.GreaterOrEqual(t, rate, perSecond*least, "%d in %v", n, took)
}

// While Redis does not answer everything passes; when it is back the limit holds again.
func TestFleetLimitFailsOpen(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	limiter := app.NewFleetLimiter(srv.NewClient(nil), "throttle:test", 1, slog.New(slog.DiscardHandler))
	require.NoError(t, limiter.Wait(t.Context()))
	srv.Kill()
	start := time.Now()
	for range 1000 {
		require.NoError(t, limiter.Wait(t.Context()))
	}
	require.Less(t, time.Since(start), patience, "at one a second it would take a quarter of an hour")
	srv.Restart()
	// Permits of one a second: of five waits at once some are still waiting when their context ends.
	waitFor(t, patience, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		for range 5 {
			if limiter.Wait(ctx) != nil {
				return nil // it waits again
			}
		}
		return context.DeadlineExceeded
	})
}

// A moment that a few workers cannot have come to, because it is of a clock that was ahead or of a lower limit, holds nobody
// up; one that they can have come to does.
func TestFleetLimitFromAnotherClock(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	wait := func(ahead time.Duration) time.Duration {
		now, err := rdb.Time(t.Context()).Result()
		require.NoError(t, err)
		require.NoError(t, rdb.Set(t.Context(), "throttle:test", now.Add(ahead).UnixMicro(), 0).Err())
		limiter := app.Patient(app.NewFleetLimiter(rdb, "throttle:test", 1000, slog.New(slog.DiscardHandler)), patience)
		begun := time.Now()
		require.NoError(t, limiter.Wait(t.Context()))
		return time.Since(begun)
	}
	require.Less(t, wait(2*time.Minute), time.Minute)
	require.Greater(t, wait(4*time.Second), time.Second)
}
