package handlers

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/event"
)

// Looker makes one attempt to read a plan's heat.
type Looker interface {
	Look(ctx context.Context, planID string) event.Look
}

// NewEarly answers with what one look showed when the plan was read. Only when Redis fails it looks a second time, a poll
// interval later.
func NewEarly(looker Looker, s Settings) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		plan, published, err := s.plan(msg)
		if err != nil {
			return nil, err
		}
		wait := event.NewWait(event.Early, published, s.Rules)
		for {
			look := looker.Look(msg.Context(), plan.PlanID)
			if look.Kind == event.Failed && msg.Context().Err() != nil {
				return nil, context.Cause(msg.Context()) // nobody failed, we are to stop
			}
			verdict, over := wait.Add(look, event.AtOnce)
			if over {
				return s.answer(msg, plan, event.Early, verdict), nil
			}
			if err := sleepUntil(msg.Context(), s.Now, wait.Next(s.Rules.Poll)); err != nil {
				return nil, err
			}
		}
	}
}
