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

// What a parked message may bring in its context.
type (
	verdictKey struct{} // an event.Verdict: its wait is over
	refusedKey struct{} // there was no place for it
)

// NewLate answers when the heat of a plan is there, or when it is certain that it did not come in time. A message that
// was parked brings its verdict.
func NewLate(waiter Waiter, s Settings) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		plan, published, err := s.plan(msg)
		if err != nil {
			return nil, err
		}
		verdict, known := msg.Context().Value(verdictKey{}).(event.Verdict)
		if !known {
			if verdict, err = waiter.Wait(msg.Context(), plan, published); err != nil {
				return nil, err
			}
		}
		return s.answer(msg, plan, event.Late, verdict), nil
	}
}
