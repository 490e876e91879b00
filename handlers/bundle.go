package handlers

import (
	"context"
	"slices"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/event"
	"heatobserver/heat"
)

// Bundle answers many messages at once, one look each in one round trip. An answer that stays nil is left to the handler
// for single messages: the message is no plan, its look failed, or there is no place to wait; or it is parked, and comes
// in a bundle again when the wait is over.
type Bundle func(ctx context.Context, msgs []*message.Message, park Park) (answers []*message.Message)

// Park keeps message i without a goroutine until resume and then send are called: it comes again with the value under the
// key in its context, together with all that was resumed before that send.
type Park = func(i int) (resume func(key, value any) (send func()))

// BulkLooker looks at many plans at once; it appends one look for each, in their order.
type BulkLooker interface {
	LookEach(ctx context.Context, dst []event.Look, planIDs []string) []event.Look
}

// mostLooks bounds the looks in one round trip, about a millisecond of Redis.
const mostLooks = 512

// NewEarlyBundle is NewEarly for many.
func NewEarlyBundle(looker BulkLooker, s Settings) Bundle {
	return func(ctx context.Context, msgs []*message.Message, _ Park) []*message.Message {
		plans := s.plans(msgs)
		ids := make([]string, len(plans))
		for i := range plans {
			ids[i] = plans[i].plan.PlanID
		}
		looks := make([]event.Look, 0, len(ids))
		for chunk := range slices.Chunk(ids, mostLooks) {
			looks = looker.LookEach(ctx, looks, chunk)
		}
		answers := answersTo(msgs, plans)
		for i, look := range looks {
			if look.Kind == event.Failed && ctx.Err() != nil {
				continue // nobody failed, we are to stop
			}
			wait := event.NewWait(event.Early, plans[i].published, s.Rules)
			if verdict, over := wait.Add(look, event.AtOnce); over {
				answers.fill(s, i, event.Early, verdict)
			}
		}
		return answers.messages
	}
}

// Parker looks at many plans at once and keeps those that have to wait; heat.Waiter is one.
type Parker interface {
	Park(plans []heat.Parking) []heat.Parked
}

// NewLateBundle is NewLate for many. What has to wait is parked, and comes back with its verdict. What finds no place is
// left to NewLate to wait for one, and saturated is told.
func NewLateBundle(parker Parker, s Settings, saturated func(context.Context)) Bundle {
	return func(ctx context.Context, msgs []*message.Message, park Park) []*message.Message {
		plans := s.plans(msgs)
		answers := answersTo(msgs, plans)
		var unknown []int // places of the plans that have not waited yet
		for i, p := range plans {
			switch outcome := msgs[p.at].Context().Value(outcomeKey{}).(type) {
			case event.Verdict:
				answers.fill(s, i, event.Late, outcome)
			case refused:
			default:
				unknown = append(unknown, i)
			}
		}
		if len(unknown) == 0 {
			return answers.messages
		}
		parkings := make([]heat.Parking, len(unknown))
		resumes := make([]func(key, value any) func(), len(unknown))
		for j, i := range unknown {
			p := plans[i]
			resume := park(p.at)
			resumes[j] = resume
			parkings[j] = heat.Parking{
				PlanID: p.plan.PlanID, Published: p.published,
				Done: func(v event.Verdict) func() { return resume(outcomeKey{}, v) },
			}
		}
		send := func() {}
		for j, parked := range parker.Park(parkings) {
			switch {
			case parked.Over:
				answers.fill(s, unknown[j], event.Late, parked.Verdict)
			case parked.Refused:
				saturated(ctx)
				send = resumes[j](outcomeKey{}, refused{})
			}
		}
		send()
		return answers.messages
	}
}

// asked is a plan of a bundle.
type asked struct {
	at        int // its place among the messages
	plan      event.Plan
	published time.Time
}

// plans are those that the messages carry, without what is no plan.
func (s Settings) plans(msgs []*message.Message) []asked {
	plans := make([]asked, 0, len(msgs))
	for i, msg := range msgs {
		if plan, published, err := s.plan(msg); err == nil {
			plans = append(plans, asked{i, plan, published})
		}
	}
	return plans
}

// answers are the observations of a bundle, in one piece of memory.
type answers struct {
	questions []*message.Message
	messages  []*message.Message
	plans     []asked
	out       []message.Message
}

func answersTo(questions []*message.Message, plans []asked) answers {
	return answers{questions, make([]*message.Message, len(questions)), plans, make([]message.Message, len(plans))}
}

// fill answers with the observation of plan i.
func (a answers) fill(s Settings, i int, point event.Point, v event.Verdict) {
	p := a.plans[i]
	s.fill(&a.out[i], a.questions[p.at], p.plan, point, v, s.Now())
	a.messages[p.at] = &a.out[i]
}
