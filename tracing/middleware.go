package tracing

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/middleware"
	"heatobserver/stream"
)

// Outermost is the middleware that begins the span of a message. It has to stand before all others.
func (t *Tracer) Outermost() []message.HandlerMiddleware {
	if t == nil {
		return nil
	}
	return []message.HandlerMiddleware{t.outermost}
}

func (t *Tracer) outermost(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if stream.BundleFrom(msg.Context()) != nil {
			return next(msg) // each of its plans has a span, see Bundle
		}
		p := t.take(msg)
		if p == nil {
			return next(msg)
		}
		answers, err := next(msg)
		switch {
		case err != nil && middleware.Classify(err) == middleware.Cancelled:
			p.failure = ""
			p.end(handedBack)
		case err != nil:
			p.failure = errorType(err)
			p.end(nacked)
		case len(answers) > 0:
			p.answered = true // the Publisher goes on
		case p.failure != "":
			p.settled(deadLetter)
		default:
			p.settled(dropped)
		}
		return answers, err
	}
}

// Attempts is the middleware that sees each attempt of the handler. It has to stand behind that which tries again.
func (t *Tracer) Attempts() []message.HandlerMiddleware {
	if t == nil {
		return nil
	}
	return []message.HandlerMiddleware{func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			answers, err := next(msg)
			if p := planFrom(msg.Context()); p != nil {
				if err != nil {
					p.fails(err)
				} else {
					p.failure = ""
				}
			}
			return answers, err
		}
	}}
}

// resumed is what a parked message brings in its context: what the handler wants to find there, and the plan.
type resumed struct {
	plan       *plan
	key, value any
}

type resumedKey struct{}

// take begins the span of a message, or goes on with that which it had before it was parked.
func (t *Tracer) take(msg *message.Message) *plan {
	r, ok := msg.Context().Value(resumedKey{}).(resumed)
	if !ok {
		return t.begin(msg)
	}
	t.unpark(r.plan)
	msg.SetContext(context.WithValue(msg.Context(), r.key, r.value))
	if r.plan.over { // it was nacked since
		return t.begin(msg)
	}
	msg.SetContext(context.WithValue(msg.Context(), planKey{}, r.plan))
	return r.plan
}

// Bundle gives each plan of a bundle its span.
func (t *Tracer) Bundle(handle middleware.BundleHandler) middleware.BundleHandler {
	if t == nil || handle == nil {
		return handle
	}
	return func(ctx context.Context, msgs []*message.Message, park func(int) func(any, any) func()) []*message.Message {
		plans := make([]*plan, len(msgs))
		for i, msg := range msgs {
			plans[i] = t.take(msg)
		}
		// What the bundle leaves open comes as a message of its own and begins anew. Spans that do not end are not sent.
		returned := false
		defer func() {
			if !returned { // it panicked: whatever was parked is to come by itself
				for _, p := range plans {
					if p != nil {
						t.unpark(p)
					}
				}
			}
		}()
		answers := handle(ctx, msgs, func(i int) func(any, any) func() {
			resume := park(i)
			p := plans[i]
			if p == nil {
				return resume
			}
			t.park(p)
			return func(key, value any) func() { return resume(resumedKey{}, resumed{p, key, value}) }
		})
		for i, p := range plans {
			switch {
			case p == nil:
			case i < len(answers) && answers[i] != nil:
				p.answered = true
				t.unpark(p)
			default: // it may be on its way in another bundle by now, and is not this one's any more
				msgs[i].SetContext(context.WithValue(msgs[i].Context(), planKey{}, (*plan)(nil)))
			}
		}
		returned = true
		return answers
	}
}
