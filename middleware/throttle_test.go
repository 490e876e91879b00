package middleware_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"

	"heatobserver/middleware"
)

func TestThrottle(t *testing.T) {
	cases := []struct {
		name      string
		perSecond float64
		burst     int
		messages  int
		want      time.Duration // until the last has passed
	}{
		{"burst only", 10, 5, 5, 0},
		{"rate after the burst", 10, 5, 25, 2 * time.Second},
		{"less than one a second", 0.5, 1, 3, 4 * time.Second},
		{"a burst of nothing lets one through", 10, 0, 2, 100 * time.Millisecond},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sync.WaitGroup{}
				handle := middleware.Throttle(c.perSecond, c.burst)(pass)
				begun := time.Now()
				for range c.messages {
					s.Go(func() {
						_, err := handle(message.NewMessage("m", nil))
						assert.NoError(t, err)
					})
				}
				s.Wait()
				assert.InDelta(t, c.want, time.Since(begun), float64(time.Millisecond))
			})
		})
	}
}

// TestThrottleNeverExceedsRateAndBurst holds every second of a steady flood against rate plus burst.
func TestThrottleNeverExceedsRateAndBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, burst = 20, 4
		var mu sync.Mutex
		var passed []time.Time
		handle := middleware.Throttle(perSecond, burst)(func(*message.Message) ([]*message.Message, error) {
			mu.Lock()
			defer mu.Unlock()
			passed = append(passed, time.Now())
			return nil, nil
		})
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() { _, _ = handle(message.NewMessage("m", nil)) })
		}
		wg.Wait()
		for i := range passed {
			for j := i; j < len(passed); j++ {
				allowed := burst + perSecond*passed[j].Sub(passed[i]).Seconds() + 1e-6
				assert.LessOrEqual(t, float64(j-i), allowed)
			}
		}
	})
}

func TestThrottleStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("enough")
		handle := middleware.Throttle(0.001, 1)(pass)
		answers, err := handle(message.NewMessage("first", nil))
		assert.NoError(t, err)
		assert.Len(t, answers, 1)
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		m := message.NewMessage("second", nil)
		m.SetContext(ctx)
		begun := time.Now()
		_, err = handle(m)
		assert.ErrorIs(t, err, cause)
		assert.Equal(t, time.Second, time.Since(begun))

		_, err = handle(m) // has ended before
		assert.ErrorIs(t, err, cause)
	})
}

func pass(m *message.Message) ([]*message.Message, error) { return []*message.Message{m}, nil }
