package tracing_test

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/middleware"
	"heatobserver/stream"
	"heatobserver/tracing"
)

// route runs a handler behind the middleware of a tracer until stop. Its answers have the field n.
func route(t *testing.T, srv *redistest.Server, more []message.HandlerMiddleware, handle message.HandlerFunc) (stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	tracer, err := tracing.Start(t.Context(), tracing.Identity{Version: "v1", Instance: "c"}, log)
	require.NoError(t, err)
	require.NotNil(t, tracer)
	subscriber, err := stream.NewSubscriber(srv.Client(), stream.SubscriberConfig{
		Group: "g", Consumer: "c", Start: stream.StartFirst, Block: 20 * time.Millisecond, Logger: log,
	})
	require.NoError(t, err)
	publisher, err := stream.NewPublisher(srv.Client(), stream.PublisherConfig{
		Fields: []string{"n"}, Logger: log, Events: tracer.Events(stream.NoEvents{}, "out"),
	})
	require.NoError(t, err)
	router, err := message.NewRouter(message.RouterConfig{}, nil)
	require.NoError(t, err)
	h := router.AddHandler("h", "in", subscriber, "out", tracer.Publisher(publisher), handle)
	h.AddMiddleware(tracer.Outermost()...)
	h.AddMiddleware(more...)
	h.AddMiddleware(tracer.Attempts()...)
	h.AddMiddleware(middleware.Recoverer)
	done := make(chan error, 1)
	go func() { done <- router.Run(context.WithoutCancel(t.Context())) }()
	<-router.Running()
	return func() {
		assert.NoError(t, router.Close())
		assert.NoError(t, <-done)
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		assert.NoError(t, tracer.Shutdown(ctx))
	}
}

func answer(m *message.Message) []*message.Message {
	a := &message.Message{UUID: "a" + m.UUID, Payload: m.Payload}
	a.SetContext(m.Context())
	return []*message.Message{a}
}

var errBroken = errors.New("broken: the message says so")

// TestFailures: what a handler fails on has a span that says so, and nothing of the text of its errors.
func TestFailures(t *testing.T) {
	quick := middleware.Retry(middleware.RetryConfig{MaxFailures: 3, First: time.Millisecond, Most: time.Millisecond})
	parked := middleware.DeadLetter(slog.New(slog.DiscardHandler))
	type want struct {
		outcome, failure string
		nacks            string
		events, children []string
	}
	cases := []struct {
		name   string
		calls  int32
		more   []message.HandlerMiddleware
		handle func(call int32, m *message.Message) ([]*message.Message, error)
		want   []want
	}{
		{"nacked, then works", 2, nil, func(call int32, m *message.Message) ([]*message.Message, error) {
			if call == 1 {
				return nil, errBroken
			}
			return answer(m), nil
		}, []want{
			{outcome: "nacked", failure: "_OTHER", events: []string{"_OTHER"}},
			{outcome: "written", nacks: "1", children: []string{"send out", "ack in"}},
		}},
		{"fails once, then works", 2, []message.HandlerMiddleware{parked, quick}, func(call int32, m *message.Message) ([]*message.Message, error) {
			if call == 1 {
				panic(errBroken)
			}
			return answer(m), nil
		}, []want{{outcome: "written", events: []string{"panic"}, children: []string{"send out", "ack in"}}}},
		{"always fails", 3, []message.HandlerMiddleware{parked, quick}, func(int32, *message.Message) ([]*message.Message, error) {
			return nil, errBroken
		}, []want{{outcome: "dead_letter", failure: "_OTHER", events: []string{"_OTHER", "_OTHER", "_OTHER"}, children: []string{"ack in"}}}},
		{"answers nothing", 1, nil, func(int32, *message.Message) ([]*message.Message, error) { return nil, nil },
			[]want{{outcome: "dropped", children: []string{"ack in"}}}},
		{"an answer that cannot be written, then one that can", 2, nil, func(call int32, m *message.Message) ([]*message.Message, error) {
			answers := answer(m)
			if call == 1 {
				answers[0].Payload = message.Payload("no fields")
			}
			return answers, nil
		}, []want{
			{outcome: "not_published", failure: "_OTHER"},
			{outcome: "written", nacks: "1", children: []string{"send out", "ack in"}},
		}},
	}
	srv := redistest.Start(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rdb := srv.Client()
			require.NoError(t, rdb.FlushAll(t.Context()).Err())
			r := receiveHTTP(t)
			srv.CLI("XADD", "in", "*", "n", "1")
			var calls atomic.Int32
			stop := route(t, srv, c.more, func(m *message.Message) ([]*message.Message, error) { return c.handle(calls.Add(1), m) })
			eventually(t, "settled", func() bool {
				return calls.Load() == c.calls && rdb.XPending(t.Context(), "in", "g").Val().Count == 0
			})
			stop()

			spans := r.those("messaging.operation.type", "process")
			require.Len(t, spans, len(c.want))
			for i, w := range c.want {
				s := spans[i]
				assert.Equal(t, w.outcome, s.attributes["heat_observer.outcome"])
				assert.Equal(t, w.failure, s.attributes["error.type"])
				assert.Equal(t, w.failure != "", s.failed)
				assert.Equal(t, w.nacks, s.attributes["heat_observer.nacks"])
				assert.Equal(t, w.events, s.events)
				var children []string
				for _, child := range r.below(s) {
					children = append(children, child.name)
				}
				assert.Equal(t, w.children, children)
				for name, value := range s.attributes {
					assert.NotContains(t, value, "broken", name)
				}
			}
		})
	}
}
