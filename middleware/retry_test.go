package middleware_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/event"
	"heatobserver/middleware"
	"heatobserver/stream"
)

var errBroken = errors.New("broken")

// script is a handler that returns one result a call, the last again and again, and notes when it was called.
type script struct {
	results []error
	calls   []time.Time
}

func (s *script) handle(*message.Message) ([]*message.Message, error) {
	err := s.results[min(len(s.calls), len(s.results)-1)]
	s.calls = append(s.calls, time.Now())
	if err != nil {
		return nil, err
	}
	return []*message.Message{message.NewMessage("answer", nil)}, nil
}

func TestRetry(t *testing.T) {
	malformed := &event.MalformedError{Reason: event.NoSymbol, Err: errBroken}
	cases := []struct {
		name     string
		max      int
		results  []error
		calls    int
		failures int   // of the ExhaustedError, 0 for none
		err      error // that the result wraps
	}{
		{name: "works at once", max: 5, results: []error{nil}, calls: 1},
		{name: "works at the third try", max: 5, results: []error{errBroken, errBroken, nil}, calls: 3},
		{name: "works at the last try", max: 3, results: []error{errBroken, errBroken, nil}, calls: 3},
		{name: "never works", max: 5, results: []error{errBroken}, calls: 5, failures: 5, err: errBroken},
		{name: "one failure is allowed", max: 1, results: []error{errBroken}, calls: 1, failures: 1, err: errBroken},
		{name: "a nonsensical limit is one", max: 0, results: []error{errBroken}, calls: 1, failures: 1, err: errBroken},
		{name: "permanent is not tried again", max: 5, results: []error{malformed}, calls: 1, err: malformed},
		{name: "permanent after a failure", max: 5, results: []error{errBroken, malformed}, calls: 2, err: malformed},
		{name: "cancelled is not counted", max: 2, results: []error{context.Canceled}, calls: 1, err: context.Canceled},
		{name: "cancelled after a failure is not counted", max: 2, results: []error{errBroken, stream.ErrDraining}, calls: 2, err: stream.ErrDraining},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, retried := &script{results: c.results}, 0
				retry := middleware.Retry(middleware.RetryConfig{MaxFailures: c.max, OnRetry: func() { retried++ }})
				answers, err := retry(s.handle)(message.NewMessage("m", nil))
				assert.Len(t, s.calls, c.calls)
				assert.Equal(t, c.calls-1, retried)
				var exhausted *middleware.ExhaustedError
				if errors.As(err, &exhausted) {
					assert.Equal(t, c.failures, exhausted.Failures)
				} else {
					assert.Zero(t, c.failures, "%v", err)
				}
				if c.err != nil {
					assert.ErrorIs(t, err, c.err)
					assert.Empty(t, answers)
					return
				}
				require.NoError(t, err)
				assert.Len(t, answers, 1)
			})
		})
	}
}

// TestRetryPauses: each pause lies within half and one and a half of a doubled one, and none above the longest.
func TestRetryPauses(t *testing.T) {
	cases := []struct {
		name        string
		cfg         middleware.RetryConfig
		first, most time.Duration
	}{
		{"as set", middleware.RetryConfig{MaxFailures: 8, First: 50 * time.Millisecond, Most: time.Second}, 50 * time.Millisecond, time.Second},
		{"by default", middleware.RetryConfig{MaxFailures: 9}, 100 * time.Millisecond, 5 * time.Second},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{results: []error{errBroken}}
				_, err := middleware.Retry(c.cfg)(s.handle)(message.NewMessage("m", nil))
				require.Error(t, err)
				pause := c.first
				for i := 1; i < len(s.calls); i++ {
					got := s.calls[i].Sub(s.calls[i-1])
					assert.GreaterOrEqual(t, got, pause/2, "pause %d", i)
					assert.LessOrEqual(t, got, pause*3/2+time.Millisecond, "pause %d", i)
					pause = min(2*pause, c.most)
				}
			})
		})
	}
}

// TestRetryStopsWithItsContext: the end of the context ends the pause at once, with its cause and without a failure.
func TestRetryStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{results: []error{errBroken}}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stream.ErrDraining) })
		m := message.NewMessage("m", nil)
		m.SetContext(ctx)
		begun := time.Now()
		_, err := middleware.Retry(middleware.RetryConfig{MaxFailures: 5, First: time.Hour, Most: time.Hour})(s.handle)(m)
		assert.ErrorIs(t, err, stream.ErrDraining)
		assert.Equal(t, middleware.Cancelled, middleware.Classify(err))
		assert.Equal(t, time.Second, time.Since(begun))
		assert.Len(t, s.calls, 1)
	})
}

// TestPanicsAreFailures: a panic is retried and parked like any failure.
func TestPanicsAreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		handle := middleware.Retry(middleware.RetryConfig{MaxFailures: 3})(middleware.Recoverer(
			func(*message.Message) ([]*message.Message, error) { calls++; panic("at the worst moment") }))
		_, err := handle(message.NewMessage("m", nil))
		assert.Equal(t, 3, calls)
		var exhausted *middleware.ExhaustedError
		require.ErrorAs(t, err, &exhausted)
		assert.Equal(t, 3, exhausted.Failures)
		assert.Equal(t, middleware.ReasonFailed, exhausted.DeadLetterReason())
		var panicked *middleware.PanicError
		require.ErrorAs(t, err, &panicked)
		assert.Equal(t, "at the worst moment", panicked.Value)
		assert.ErrorContains(t, err, "at the worst moment")
		assert.Contains(t, string(panicked.Stack), "TestPanicsAreFailures")
	})
}
