package tracing

import (
	"context"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TestBundleLetsGo: a plan that was parked may be answered in a second bundle before the first is published. The first must not
// touch its span then: it would say that the answer was not published.
func TestBundleLetsGo(t *testing.T) {
	tracer := newTracer(sdk.NewTracerProvider())
	var plans []*plan
	var msgs []*message.Message
	for range 2 {
		p := &plan{tracer: tracer, span: trace.SpanFromContext(context.Background())}
		m := message.NewMessage("m", nil)
		m.SetContext(context.WithValue(t.Context(), resumedKey{}, resumed{plan: p, key: "k"}))
		plans, msgs = append(plans, p), append(msgs, m)
	}
	handle := tracer.Bundle(func(_ context.Context, msgs []*message.Message, park func(int) func(any, any) func()) []*message.Message {
		park(1)
		answer := message.NewMessage("a", nil)
		answer.SetContext(msgs[0].Context())
		return []*message.Message{answer, nil}
	})
	answers := handle(t.Context(), msgs, func(int) func(any, any) func() {
		return func(any, any) func() { return func() {} }
	})
	require.Contains(t, tracer.parked, plans[1])
	plans[1].answered = true // in the second bundle
	require.Same(t, plans[0], planFrom(answers[0].Context()))
	require.Equal(t, []*plan{plans[0]}, plansOf(msgs))
	require.NoError(t, tracer.Shutdown(t.Context()))
}
