package middleware

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/cenkalti/backoff/v5"
)

// RetryConfig says how often and how fast.
type RetryConfig struct {
	// MaxFailures is how often a handler may fail on one entry, at least 1.
	MaxFailures int
	// First is the pause after the first failure; it doubles with each, and half of it is left to chance.
	// Default: 100 ms.
	First time.Duration
	// Most is the longest pause. Default: 5 s.
	Most time.Duration
	// OnRetry is called before each new try. Default: nothing.
	OnRetry func()
}

// Retry calls the handler again after a transient error, with exponential backoff and jitter. After MaxFailures it
// returns an ExhaustedError. It stops waiting when the context of the message ends.
func Retry(cfg RetryConfig) message.HandlerMiddleware {
	if cfg.First == 0 {
		cfg.First = 100 * time.Millisecond
	}
	if cfg.Most == 0 {
		cfg.Most = 5 * time.Second
	}
	if cfg.OnRetry == nil {
		cfg.OnRetry = func() {}
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			answers, err := next(msg)
			if err == nil || Classify(err) != Transient {
				return answers, err
			}
			pause := backoff.NewExponentialBackOff()
			pause.InitialInterval, pause.MaxInterval, pause.Multiplier = cfg.First, cfg.Most, 2
			for failures := 1; failures < cfg.MaxFailures; failures++ {
				if cause := wait(msg.Context(), pause.NextBackOff()); cause != nil {
					return nil, cause
				}
				cfg.OnRetry()
				if answers, err = next(msg); err == nil || Classify(err) != Transient {
					return answers, err
				}
			}
			return nil, &ExhaustedError{Failures: max(1, cfg.MaxFailures), Err: err}
		}
	}
}

// wait returns the cause of ctx when that ends before d is over.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
