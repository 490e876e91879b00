package handlers

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/event"
)

// Waiter waits for a plan's heat. Its error is the cause for which ctx ended.
type Waiter interface {
	Wait(ctx context.Context, plan event.Plan, published time.Time) (event.Verdict, error)
}

// outcomeKey is that of what became of a parked message, in its context: an event.Verdict, or refused.
type outcomeKey struct{}

// refused is a message that found no place to wait.
type refused struct{}

// NewLate answers when the heat of a plan is there, or when it is certain that it did not come in time. A message that
// was parked brings its verdict.
func NewLate(waiter Waiter, s Settings) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		plan, published, err := s.plan(msg)
		if err != nil {
			return nil, err
		}
		verdict, known := msg.Context().Value(outcomeKey{}).(event.Verdict)
		if !known {
			if verdict, err = waiter.Wait(msg.Context(), plan, published); err != nil {
				return nil, err
			}
		}
		return s.answer(msg, plan, event.Late, verdict), nil
	}
}
