package handlers

import (
	"context"
	"errors"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/entry"
	"heatobserver/event"
)

// Settings are shared by both observers.
type Settings struct {
	// Rules say when looking ends.
	Rules event.Rules
	// MaxDebugChars bounds debug_json, in characters.
	MaxDebugChars int
	// Now is the time of the Redis server, as far as it is known.
	Now func() time.Time
}

// errNoID means that the message was not delivered by the transport.
var errNoID = errors.New("the context of the message carries no entry ID")

// plan reads the plan of a message and when it was published.
func (s Settings) plan(msg *message.Message) (plan event.Plan, published time.Time, err error) {
	id, ok := entry.IDFrom(msg.Context())
	if !ok {
		return event.Plan{}, time.Time{}, errNoID
	}
	plan, err = event.DecodePlan(id, msg.Payload)
	return plan, plan.Published(s.Now()), err
}

// answer is the message that carries the observation of a plan.
func (s Settings) answer(msg *message.Message, plan event.Plan, point event.Point, v event.Verdict) []*message.Message {
	out := message.NewMessage("", nil)
	s.fill(out, msg, plan, point, v, s.Now())
	return []*message.Message{out}
}

// fill makes a message of an observation.
func (s Settings) fill(out, question *message.Message, plan event.Plan, point event.Point, v event.Verdict, now time.Time) {
	o := event.Observe(plan, point, v, now)
	out.UUID = o.UUID()
	out.Payload = message.Payload(o.AppendFields(make([]byte, 0, 768), s.MaxDebugChars))
	out.SetContext(question.Context())
}

// sleepUntil returns the cause of ctx when that ends before t, by the clock now.
func sleepUntil(ctx context.Context, now func() time.Time, t time.Time) error {
	timer := time.NewTimer(t.Sub(now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
