package middleware

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Handled is told of each message that a handler is done with, retries and parking included, before its answer is
// written. outcome is "answered", "nothing" (parked or dropped), "cancelled" or "failed".
type Handled func(outcome string, took time.Duration)

// Metrics measures a handler with everything that stands before it.
func Metrics(tell Handled) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			start := time.Now()
			answers, err := next(msg)
			outcome := "answered"
			switch {
			case Classify(err) == Cancelled:
				outcome = "cancelled"
			case err != nil:
				outcome = "failed"
			case len(answers) == 0:
				outcome = "nothing"
			}
			tell(outcome, time.Since(start))
			return answers, err
		}
	}
}
