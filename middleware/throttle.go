package middleware

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/time/rate"
)

// Throttle lets perSecond messages through in a second, and burst at once. A message that waits stops waiting when its
// context ends. perSecond must be positive; who wants no limit leaves the middleware out.
func Throttle(perSecond float64, burst int) message.HandlerMiddleware {
	return ThrottleBy(rate.NewLimiter(rate.Limit(perSecond), max(1, burst)))
}

// Limiter says when one more may pass.
type Limiter interface {
	// Wait returns nil when it is the caller's turn, and an error when ctx ends before.
	Wait(ctx context.Context) error
}

// ThrottleBy lets a message through when the limiter does. A message that waits stops waiting when its context ends.
func ThrottleBy(limiter Limiter) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			ctx := msg.Context()
			if err := limiter.Wait(ctx); err != nil {
				if ctx.Err() != nil {
					err = context.Cause(ctx)
				}
				return nil, err
			}
			return next(msg)
		}
	}
}
