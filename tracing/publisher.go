package tracing

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/stream"
)

// Publisher notes when an answer goes to be written, and that it could not be.
func (t *Tracer) Publisher(next message.Publisher) message.Publisher {
	if t == nil {
		return next
	}
	return publisher{next}
}

type publisher struct{ message.Publisher }

func (p publisher) Publish(topic string, messages ...*message.Message) error {
	plans := plansOf(messages)
	now := time.Now()
	for _, each := range plans {
		each.sending = now
	}
	err := p.Publisher.Publish(topic, messages...)
	for _, each := range plans {
		if err != nil {
			each.failure = errorType(err)
		}
		each.end(notPublished) // unless it has met a result
	}
	return err
}

// plansOf are the plans that messages answer.
func plansOf(messages []*message.Message) []*plan {
	var plans []*plan
	for _, m := range messages {
		answered := []*message.Message{m}
		if bundle := stream.BundleFrom(m.Context()); bundle != nil {
			answered = bundle.Messages()
		}
		for _, a := range answered {
			if p := planFrom(a.Context()); p != nil && p.answered {
				plans = append(plans, p)
			}
		}
	}
	return plans
}

// Events ends the spans of what was committed to topic, beside telling next.
func (t *Tracer) Events(next stream.Events, topic string) stream.Events {
	if t == nil {
		return next
	}
	return events{next, topic}
}

type events struct {
	stream.Events
	topic string
}

func (e events) Committed(answer *message.Message, result stream.CommitResult) {
	e.Events.Committed(answer, result)
	if p := planFrom(answer.Context()); p != nil {
		p.committed(answer, e.topic, result)
	}
}
