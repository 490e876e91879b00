package tracing

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/middleware"
	"heatobserver/stream"
)

// What became of a plan, the attribute heat_observer.outcome. A committed answer has the result of its commit instead.
const (
	deadLetter   = "dead_letter"
	dropped      = "dropped"
	handedBack   = "handed_back"
	nacked       = "nacked"
	notPublished = "not_published"
)

// plan is one plan in the hands of one handler, and its process span. Whoever has its message or its answer owns it; there
// is no other.
type plan struct {
	tracer *Tracer
	ctx    context.Context // with the span
	span   trace.Span
	stream string

	started  time.Time
	sending  time.Time // since when its answer is being written
	failed   time.Time // when the handler last failed on it
	failure  string    // how, an error.type; "" when it did not or has worked since
	answered bool      // its answer goes to the Publisher
	over     bool
}

type planKey struct{}

// planFrom is the plan whose message or answer has the context, or nil.
func planFrom(ctx context.Context) *plan {
	p, _ := ctx.Value(planKey{}).(*plan)
	return p
}

// begin starts the span of a message's plan and puts it into the message's context. It is nil where the sampler does not
// want it, and for messages of other transports.
func (t *Tracer) begin(msg *message.Message) *plan {
	ctx := msg.Context()
	d := stream.DeliveryFrom(ctx)
	if d == nil {
		return nil
	}
	e := d.Entry()
	parent := withParent(context.Background(), msg)
	attributes := append(operation(semconv.MessagingOperationTypeProcess, "process", e.Stream),
		semconv.MessagingConsumerGroupName(d.Group()), semconv.MessagingMessageID(e.ID.String()))
	started := time.Now()
	ctx, span := t.tracer.Start(parent, "process "+e.Stream, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(started),
		trace.WithAttributes(attributes...))
	if !span.IsRecording() {
		return nil
	}
	if decoded, err := event.DecodePlan(e.ID, msg.Payload); err == nil {
		span.SetAttributes(attribute.String("heat_observer.plan_id", shortened(decoded.PlanID)))
	}
	span.SetAttributes(attribute.Int64("heat_observer.delivery_count", d.Count()))
	if n := d.Nacks(); n > 0 {
		span.SetAttributes(attribute.Int("heat_observer.nacks", n))
	}
	if d.Redriven() {
		span.SetAttributes(attribute.Bool("heat_observer.redriven", true))
	}
	p := &plan{tracer: t, ctx: ctx, span: span, stream: e.Stream, started: started}
	msg.SetContext(context.WithValue(msg.Context(), planKey{}, p))
	return p
}

func operation(kind attribute.KeyValue, name, destination string) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingSystemKey.String("redis"), kind, semconv.MessagingOperationName(name), semconv.MessagingDestinationName(destination),
	}
}

// mostPlanID bounds the plan ID in an attribute, in bytes: enough to find the plan by `processor trace`.
const mostPlanID = 64

// shortened is a checked plan ID that fits an attribute.
func shortened(id string) string {
	if len(id) <= mostPlanID {
		return id
	}
	return strings.ToValidUTF8(id[:mostPlanID], "") + "…"
}

// fails notes a failure of the handler.
func (p *plan) fails(err error) {
	p.failed, p.failure = time.Now(), errorType(err)
	p.span.AddEvent("failure", trace.WithTimestamp(p.within(p.failed)), trace.WithAttributes(semconv.ErrorTypeKey.String(p.failure)))
}

// errorType is of a closed set: the text of an error may hold what a message says.
func errorType(err error) string {
	var no middleware.Unprocessable
	var panicked *middleware.PanicError
	switch {
	case errors.As(err, &no):
		return no.DeadLetterReason()
	case errors.As(err, &panicked):
		return "panic"
	case middleware.Classify(err) == middleware.Cancelled:
		return "cancelled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return semconv.ErrorTypeOther.Value.AsString()
}

// committed ends the span of a plan whose answer met its result.
func (p *plan) committed(answer *message.Message, topic string, result stream.CommitResult) {
	if p.over {
		return
	}
	now := time.Now()
	if result == stream.Written || result == stream.Trimmed {
		p.child("send", trace.SpanKindProducer, semconv.MessagingOperationTypeSend, topic, p.sending, now)
	}
	if result == stream.Written || result == stream.Duplicate {
		p.child("ack", trace.SpanKindClient, semconv.MessagingOperationTypeSettle, p.stream, p.sending, now)
	}
	if point, reason, ok := event.PeekObservation(entry.Fields(answer.Payload)); ok {
		p.span.SetAttributes(attribute.String("heat_observer.obs_point", point.String()), attribute.String("heat_observer.heat_reason", string(reason)))
	}
	p.end(string(result))
}

// settled ends the span of a plan that was acknowledged without an answer.
func (p *plan) settled(outcome string) {
	now := time.Now()
	from := p.failed
	if from.IsZero() {
		from = now
	}
	p.child("ack", trace.SpanKindClient, semconv.MessagingOperationTypeSettle, p.stream, from, now)
	p.end(outcome)
}

// child is a span below that of the plan, which is over already.
func (p *plan) child(name string, kind trace.SpanKind, operationType attribute.KeyValue, destination string, from, to time.Time) {
	_, span := p.tracer.tracer.Start(p.ctx, name+" "+destination, trace.WithSpanKind(kind), trace.WithTimestamp(p.within(from)),
		trace.WithAttributes(operation(operationType, name, destination)...))
	span.End(trace.WithTimestamp(p.within(to)))
}

// within is a moment by the clock of the plan's span: its start and what has passed since, as the end of a span is told. Where
// somebody has set the clock meanwhile, a child would stand outside of it otherwise.
func (p *plan) within(t time.Time) time.Time { return p.started.Add(t.Sub(p.started)) }

// end ends the span; only the first call counts.
func (p *plan) end(outcome string) {
	if p.over {
		return
	}
	p.over = true
	p.span.SetAttributes(attribute.String("heat_observer.outcome", outcome))
	if p.failure != "" {
		p.span.SetAttributes(semconv.ErrorTypeKey.String(p.failure))
		p.span.SetStatus(codes.Error, p.failure)
	}
	p.span.End()
}
