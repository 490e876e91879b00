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
