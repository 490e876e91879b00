package middleware

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/time/rate"
)

// Throttle lets perSecond messages through in a second, and burst at once. A message that waits stops waiting when its
// context ends. perSecond must be positive; who wants no limit leaves the middleware out.
func Throttle(perSecond float64, burst int) message.HandlerMiddleware {
	limiter := rate.NewLimiter(rate.Limit(perSecond), max(1, burst))
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
