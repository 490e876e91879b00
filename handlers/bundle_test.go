package handlers_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/handlers"
	"heatobserver/heat"
)

// bulk is a BulkLooker that knows the look at each plan.
type bulk struct {
	looks map[string]event.Look
	most  int // plans in one call
}

func (b *bulk) LookEach(_ context.Context, dst []event.Look, planIDs []string) []event.Look {
	b.most = max(b.most, len(planIDs))
	for _, id := range planIDs {
		look := b.looks[id]
		look.Began, look.At = time.Now(), time.Now()
		dst = append(dst, look)
	}
	return dst
}

var several = map[string]event.Look{"there": found, "absent": absent, "failed": failed, "malformed": malformed}

// TestEarlyBundle: each answer is the very one that the handler for single messages gives; what that one would refuse or
// try again is left to it.
func TestEarlyBundle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		published := time.Now().Add(-time.Second)
		msgs := []*message.Message{
			delivered(t.Context(), published, "plan_id", "there", "symbol", "S", "decision", "SKIP"),
			delivered(t.Context(), published, "plan_id", "no symbol"),
			delivered(t.Context(), published, "plan_id", "failed", "symbol", "S"),
			delivered(t.Context(), published, "plan_id", "absent", "symbol", "S"),
			message.NewMessage("of another transport", nil),
			delivered(t.Context(), published, "plan_id", "malformed", "symbol", "S"),
		}
		answers := handlers.NewEarlyBundle(&bulk{looks: several}, settings())(t.Context(), msgs, nil)
		require.Len(t, answers, len(msgs))
		for i, want := range []event.Reason{event.OK, "", "", event.Missing, "", event.ParseError} {
			if want == "" {
				assert.Nil(t, answers[i], i)
				continue
			}
			o := decode(t, msgs[i], answers[i:i+1])
			assert.Equal(t, want, o.Reason)
			single, err := handlers.NewEarly(&looks{results: []event.Look{several[o.PlanID]}}, settings())(msgs[i])
			require.NoError(t, err)
			assert.Equal(t, string(single[0].Payload), string(answers[i].Payload))
			assert.Equal(t, single[0].UUID, answers[i].UUID)
		}
	})
}

// TestEarlyBundleStops: looks that fail because their context has ended say nothing about Redis, also where one failure is enough;
// what was found until then is answered.
func TestEarlyBundleStops(t *testing.T) {
	strict := settings()
	strict.Rules.MaxErrors = 1
	msgs := []*message.Message{
		delivered(t.Context(), time.Now(), "plan_id", "there", "symbol", "S"),
		delivered(t.Context(), time.Now(), "plan_id", "failed", "symbol", "S"),
	}
	handle := handlers.NewEarlyBundle(&bulk{looks: several}, strict)
	answers := handle(t.Context(), msgs, nil)
	assert.Equal(t, event.RedisError, decode(t, msgs[1], answers[1:]).Reason)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	answers = handle(ctx, msgs, nil)
	require.Len(t, answers, 2)
	assert.Equal(t, event.OK, decode(t, msgs[0], answers[:1]).Reason)
	assert.Nil(t, answers[1])
}

// TestBundleOfMany: no round trip grows without bound.
func TestBundleOfMany(t *testing.T) {
	looker := &bulk{looks: map[string]event.Look{}}
	var msgs []*message.Message
	for i := range 1500 {
		m := message.NewMessage("", message.Payload(entry.Make("plan_id", strconv.Itoa(i), "symbol", "S")))
		m.SetContext(entry.WithID(t.Context(), entry.IDAt(time.Now())))
		msgs = append(msgs, m)
	}
	answers := handlers.NewEarlyBundle(looker, settings())(t.Context(), msgs, nil)
	for i, a := range answers {
		require.NotNil(t, a)
		require.Equal(t, "create_apply_plan:"+strconv.Itoa(i), a.UUID, "in their order")
	}
	assert.LessOrEqual(t, looker.most, 512)
}

// parker is a Parker that knows what becomes of each plan at once.
type parker struct {
	outcomes map[string]heat.Parked
	kept     []heat.Parking
}

func (p *parker) Park(plans []heat.Parking) []heat.Parked {
	parked := make([]heat.Parked, len(plans))
	for i, plan := range plans {
		parked[i] = p.outcomes[plan.PlanID]
		if !parked[i].Over && !parked[i].Refused {
			p.kept = append(p.kept, plan)
		}
	}
	return parked
}

// TestLateBundle: what ends at once is answered, what waits is parked and answered in the bundle in which it comes back,
// with the verdict of its wait and without another; what found no place is left to the handler for single messages.
func TestLateBundle(t *testing.T) {
	published := time.Now()
	msgs := []*message.Message{
		delivered(t.Context(), published, "plan_id", "waits", "symbol", "S"),
		delivered(t.Context(), published, "plan_id", "no symbol"),
		delivered(t.Context(), published, "plan_id", "there", "symbol", "S"),
		delivered(t.Context(), published, "plan_id", "no place", "symbol", "S"),
		delivered(t.Context(), published, "plan_id", "waits too", "symbol", "S"),
	}
	// As the transport does it, but that what is resumed is only kept.
	var parked []string
	var again []*message.Message
	sent := 0
	park := func(i int) func(key, value any) func() {
		parked = append(parked, msgs[i].UUID)
		return func(key, value any) func() {
			m := message.NewMessage("", msgs[i].Payload)
			m.SetContext(context.WithValue(msgs[i].Context(), key, value))
			again = append(again, m)
			return func() { sent++ }
		}
	}
	ok := event.Verdict{Reason: event.OK, Heat: found.Heat, Noticed: event.AtOnce}
	waiter := &parker{outcomes: map[string]heat.Parked{"there": {Verdict: ok, Over: true}, "no place": {Refused: true}}}
	saturated := 0
	handle := handlers.NewLateBundle(waiter, settings(), func(context.Context) { saturated++ })

	answers := handle(t.Context(), msgs, park)
	require.Len(t, answers, len(msgs))
	require.Len(t, parked, 4, "all but what is no plan")
	for _, i := range []int{0, 1, 3, 4} {
		assert.Nil(t, answers[i], i)
	}
	assert.Equal(t, event.OK, decode(t, msgs[2], answers[2:3]).Reason)
	assert.Equal(t, 1, saturated)
	require.Len(t, waiter.kept, 2)
	require.Len(t, again, 1, "the refused one")
	assert.Equal(t, 1, sent)

	for i, p := range waiter.kept {
		waits := time.Duration(i+1) * time.Second
		require.NotNil(t, p.Done(event.Verdict{Reason: event.Timeout, Waited: waits, Noticed: event.Deadline}))
	}
	require.Len(t, again, 3)
	answers = handle(t.Context(), again, func(int) func(key, value any) func() {
		require.Fail(t, "parked twice")
		return nil
	})
	require.Len(t, answers, 3)
	assert.Nil(t, answers[0], "it has to wait for a place")
	for i, plan := range []string{"waits", "waits too"} {
		o := decode(t, again[i+1], answers[i+1:i+2])
		assert.Equal(t, plan, o.PlanID)
		assert.Equal(t, event.Timeout, o.Reason)
		assert.Equal(t, int64(i+1)*1000, o.WaitMs)
		assert.Equal(t, "publish_plan_post:"+plan, answers[i+1].UUID)
	}
	assert.Equal(t, 1, saturated, "once is enough")

	w := &wait{verdict: event.Verdict{Reason: event.OK}}
	single, err := handlers.NewLate(w, settings())(again[1])
	require.NoError(t, err)
	assert.Equal(t, event.Timeout, decode(t, again[1], single).Reason, "by itself it has its verdict as well")
	assert.Empty(t, w.plan.PlanID)
	_, err = handlers.NewLate(w, settings())(again[0])
	require.NoError(t, err)
	assert.Equal(t, "no place", w.plan.PlanID)
}
