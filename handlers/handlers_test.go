package handlers_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/handlers"
)

var rules = event.Rules{MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond, MaxErrors: 2}

func settings() handlers.Settings {
	return handlers.Settings{Rules: rules, MaxDebugChars: 400, Now: time.Now}
}

// delivered is a message as the transport delivers it: a plan published at a moment.
func delivered(ctx context.Context, published time.Time, pairs ...string) *message.Message {
	m := message.NewMessage("m", message.Payload(entry.Make(pairs...)))
	m.SetContext(entry.WithID(ctx, entry.IDAt(published)))
	return m
}

// looks is a Looker of prepared looks, the last again and again.
type looks struct {
	results []event.Look
	calls   []time.Time
	planID  string
	during  func() // a look
}

func (l *looks) Look(_ context.Context, planID string) event.Look {
	look := l.results[min(len(l.calls), len(l.results)-1)]
	l.planID = planID
	if l.during != nil {
		l.during()
	}
	look.At = time.Now()
	l.calls = append(l.calls, look.At)
	return look
}

var (
	errDown  = errors.New("connection refused")
	errValue = errors.New("heat_score is not a number")

	absent    = event.Look{Kind: event.Absent}
	found     = event.Look{Kind: event.Found, Heat: event.Heat{TsEpoch: "1700000000", Level: "hot", Score: "0.9", OutAction: "HOLD", Mode: "shadow"}}
	malformed = event.Look{Kind: event.Malformed, Err: errValue}
	failed    = event.Look{Kind: event.Failed, Err: errDown}
)

func TestEarly(t *testing.T) {
	cases := []struct {
		name  string
		looks []event.Look
		want  event.Reason
		error string
		took  time.Duration
	}{
		{name: "there", looks: []event.Look{found}, want: event.OK},
		{name: "not there", looks: []event.Look{absent}, want: event.Missing},
		{name: "malformed", looks: []event.Look{malformed}, want: event.ParseError, error: errValue.Error()},
		{name: "two failures", looks: []event.Look{failed}, want: event.RedisError, error: errDown.Error(), took: rules.Poll},
		{name: "a failure, then there", looks: []event.Look{failed, found}, want: event.OK, took: rules.Poll},
		{name: "a failure, then not there", looks: []event.Look{failed, absent}, want: event.Missing, took: rules.Poll},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				published := begun.Add(-5 * time.Second).Truncate(time.Millisecond)
				looker := &looks{results: c.looks}
				m := delivered(t.Context(), published, "plan_id", "p", "symbol", "S", "decision", "EXECUTE")
				answers, err := handlers.NewEarly(looker, settings())(m)
				require.NoError(t, err)
				o := decode(t, m, answers)
				assert.Equal(t, "create_apply_plan:p", answers[0].UUID)
				assert.Equal(t, "p", looker.planID)
				assert.Equal(t, event.Early, o.Point)
				assert.Equal(t, c.want, o.Reason)
				assert.Equal(t, c.error, o.Error)
				assert.Equal(t, "EXECUTE", o.Decision)
				assert.Equal(t, entry.IDAt(published), o.SourceID)
				assert.Equal(t, c.took, time.Since(begun))
				assert.Equal(t, (5*time.Second + c.took).Milliseconds(), o.WaitMs, "early says how late it was read")
				assert.False(t, o.AfterDeadline)
			})
		})
	}
}

// TestEarlyStops: the end of the context is no failure of Redis, neither during a look nor between two.
func TestEarlyStops(t *testing.T) {
	cause := errors.New("enough")
	t.Run("during a look", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			looker := &looks{results: []event.Look{failed}, during: func() { cancel(cause) }}
			answers, err := handlers.NewEarly(looker, settings())(delivered(ctx, time.Now(), "plan_id", "p", "symbol", "S"))
			assert.ErrorIs(t, err, cause)
			assert.Empty(t, answers)
			assert.Len(t, looker.calls, 1)
		})
	})
	t.Run("between two looks", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			time.AfterFunc(rules.Poll/2, func() { cancel(cause) })
			begun := time.Now()
			looker := &looks{results: []event.Look{failed}}
			answers, err := handlers.NewEarly(looker, settings())(delivered(ctx, begun, "plan_id", "p", "symbol", "S"))
			assert.ErrorIs(t, err, cause)
			assert.Empty(t, answers)
			assert.Equal(t, rules.Poll/2, time.Since(begun))
		})
	})
	t.Run("an answer that is there is given", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			looker := &looks{results: []event.Look{found}, during: cancel}
			answers, err := handlers.NewEarly(looker, settings())(delivered(ctx, time.Now(), "plan_id", "p", "symbol", "S"))
			require.NoError(t, err)
			assert.Len(t, answers, 1)
		})
	})
}

// wait is a Waiter with one answer.
type wait struct {
	verdict   event.Verdict
	err       error
	plan      event.Plan
	published time.Time
}

func (w *wait) Wait(_ context.Context, plan event.Plan, published time.Time) (event.Verdict, error) {
	w.plan, w.published = plan, published
	return w.verdict, w.err
}

func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		published := time.Now().Truncate(time.Millisecond)
		time.Sleep(3 * time.Second)
		w := &wait{verdict: event.Verdict{Reason: event.OK, Heat: found.Heat, Waited: 2500 * time.Millisecond, Noticed: event.Sweep, AfterDeadline: true}}
		m := delivered(t.Context(), published, "symbol", "S", "plan_id", "p")
		answers, err := handlers.NewLate(w, settings())(m)
		require.NoError(t, err)
		o := decode(t, m, answers)
		assert.Equal(t, "publish_plan_post:p", answers[0].UUID)
		assert.True(t, published.Equal(w.published))
		assert.Equal(t, "p", w.plan.PlanID)
		assert.Equal(t, event.Late, o.Point)
		assert.Equal(t, found.Heat, o.Heat)
		assert.Equal(t, time.Now().Unix(), o.TsEpoch)
		assert.Equal(t, int64(2500), o.WaitMs)
		assert.Equal(t, event.Sweep, o.Noticed)
		assert.True(t, o.AfterDeadline)
	})
}

// TestPlanFromTheFuture: an explicit entry ID in the future must not make anything wait.
func TestPlanFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wait{verdict: event.Verdict{Reason: event.Timeout}}
		_, err := handlers.NewLate(w, settings())(delivered(t.Context(), time.Now().Add(time.Hour), "plan_id", "p", "symbol", "S"))
		require.NoError(t, err)
		assert.Equal(t, time.Now(), w.published)
	})
}

func TestLateStops(t *testing.T) {
	cause := errors.New("enough")
	answers, err := handlers.NewLate(&wait{err: cause}, settings())(delivered(t.Context(), time.Now(), "plan_id", "p", "symbol", "S"))
	assert.ErrorIs(t, err, cause)
	assert.Empty(t, answers)
}

// TestMalformed: neither observer looks anything up for an entry that is no plan.
func TestMalformed(t *testing.T) {
	both := map[string]message.HandlerFunc{
		"early": handlers.NewEarly(nil, settings()),
		"late":  handlers.NewLate(nil, settings()),
	}
	for name, handle := range both {
		t.Run(name, func(t *testing.T) {
			answers, err := handle(delivered(t.Context(), time.Now(), "plan_id", "p"))
			assert.Empty(t, answers)
			var wrong *event.MalformedError
			require.ErrorAs(t, err, &wrong)
			assert.Equal(t, event.NoSymbol, wrong.Reason)

			_, err = handle(message.NewMessage("m", message.Payload(entry.Make("plan_id", "p", "symbol", "S"))))
			require.Error(t, err, "a message of another transport has no entry ID")
			assert.NotErrorAs(t, err, &wrong)
		})
	}
}

// decode reads the one answer and checks that it belongs to its question.
func decode(t *testing.T, question *message.Message, answers []*message.Message) event.Observation {
	t.Helper()
	require.Len(t, answers, 1)
	assert.Equal(t, question.Context(), answers[0].Context(), "the transport finds the delivery in the context")
	o, err := event.DecodeObservation(entry.Fields(answers[0].Payload))
	require.NoError(t, err)
	return o
}
