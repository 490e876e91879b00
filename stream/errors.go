package stream

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"
)

var (
	// ErrClosed is returned by Subscribe and Publish after Close.
	ErrClosed = errors.New("closed")
	// ErrDraining is the cause with which the work of a subscription ends. (The contexts of its messages end with
	// context.Canceled, then and when the message is settled: a handler that sees it returns at once, and its entry
	// is handed back and counts no failure.)
	ErrDraining = errors.New("subscription is draining")
)

// IsNoGroup reports whether Redis said that the consumer group (or its stream) does not exist.
func IsNoGroup(err error) bool { return hasPrefix(err, "NOGROUP") }

// isReply reports whether an error is what Redis answered; after any other it is not known what Redis has done.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// hasPrefix reports whether err is a reply of Redis that begins with the code.
func hasPrefix(err error, code string) bool {
	var reply redis.Error
	return errors.As(err, &reply) && strings.HasPrefix(reply.Error(), code)
}

// retryPause is the distance between two attempts at Redis: 50 ms, doubled up to 1 s, half of it by chance so
// that a fleet does not come back in step.
func retryPause() *backoff.ExponentialBackOff { return pause(50*time.Millisecond, time.Second) }

func pause(first, most time.Duration) *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval = first, most
	b.Multiplier, b.RandomizationFactor = 2, 0.5
	b.Reset()
	return b
}

// sleep waits for d and returns the cause of ctx when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
