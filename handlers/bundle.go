package handlers

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/entry"
	"heatobserver/event"
)

// Bundle answers many messages at once, one look each in one round trip. An answer that stays nil is left to the handler
// for single messages: the message is no plan, its look failed, or it has to be waited for.
type Bundle func(ctx context.Context, msgs []*message.Message) (answers []*message.Message)

// BulkLooker looks at many plans at once; it appends one look for each, in their order.
type BulkLooker interface {
	LookEach(ctx context.Context, dst []event.Look, planIDs []string) []event.Look
}

// NewEarlyBundle is NewEarly for many.
func NewEarlyBundle(looker BulkLooker, s Settings) Bundle {
	return s.bundle(looker, event.Early, func(event.Verdict) {})
}

// NewLateBundle is NewLate for plans whose wait is over when they are read. told is called for every end of a wait, as
// the Waiter does.
func NewLateBundle(looker BulkLooker, s Settings, told func(event.Verdict)) Bundle {
	return s.bundle(looker, event.Late, told)
}

func (s Settings) bundle(looker BulkLooker, point event.Point, told func(event.Verdict)) Bundle {
	return func(ctx context.Context, msgs []*message.Message) []*message.Message {
		answers := make([]*message.Message, len(msgs))
		plans := make([]event.Plan, 0, len(msgs))
		ids := make([]string, 0, len(msgs))
		of := make([]*message.Message, 0, len(msgs)) // the messages of plans
		at := make([]int, 0, len(msgs))              // and their places
		readAt := s.Now()
		for i, msg := range msgs {
			id, ok := entry.IDFrom(msg.Context())
			if !ok {
				continue
			}
			plan, err := event.DecodePlan(id, msg.Payload)
			if err != nil {
				continue
			}
			plans, ids, of, at = append(plans, plan), append(ids, plan.PlanID), append(of, msg), append(at, i)
		}
		looks := looker.LookEach(ctx, make([]event.Look, 0, len(ids)), ids)
		out := make([]message.Message, len(plans))
		now := s.Now()
		for i, look := range looks {
			wait := event.NewWait(point, plans[i].Published(readAt), s.Rules)
			verdict, over := wait.Add(look, event.AtOnce)
			if !over {
				continue
			}
			told(verdict)
			s.fill(&out[i], of[i], plans[i], point, verdict, now)
			answers[at[i]] = &out[i]
		}
		return answers
	}
}

// fill makes a message of an observation.
func (s Settings) fill(out, question *message.Message, plan event.Plan, point event.Point, v event.Verdict, now time.Time) {
	o := event.Observe(plan, point, v, now)
	out.UUID = o.UUID()
	out.Payload = message.Payload(o.AppendFields(make([]byte, 0, 768), s.MaxDebugChars))
	out.SetContext(question.Context())
}
