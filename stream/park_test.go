package stream_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/stream"
)

type parkKey struct{}

// TestPark: what is parked stays in hand without a message, comes once when it is resumed, and is not acknowledged with
// the bundle. What is answered after all does not come.
func TestPark(t *testing.T) {
	w, s, out, b, m := bundled(t, 4)
	p := publisher(t, w, "to")
	resumeFirst, resumeSecond, resumeThird := b.Park(0), b.Park(1), b.Park(2)
	resumeFirst(parkKey{}, "early") // before the bundle is done with
	q := b.Messages()
	require.NoError(t, p.Publish("out", b.Answer(append(q[:0:0], nil, nil, answerTo(q[2], "to")))...))
	resumeThird(parkKey{}, "never")
	m.Ack()

	got := map[string]any{}
	for range 2 { // the first, and the last, which was left out
		single := next(t, out)
		got[single.UUID] = single.Context().Value(parkKey{})
		single.Ack()
	}
	assert.Equal(t, map[string]any{q[0].UUID: "early", q[3].UUID: nil}, got)
	eventually(t, "only the second is in hand", func() bool { return s.Subscriptions()[0].InFlight == 1 })
	assert.Equal(t, int64(1), w.pending(), "and pending")

	resumeSecond(parkKey{}, "late")
	resumeSecond(parkKey{}, "twice")
	single := next(t, out)
	assert.Equal(t, "late", single.Context().Value(parkKey{}))
	require.NotNil(t, stream.DeliveryFrom(single.Context()))
	require.NoError(t, p.Publish("out", answerTo(single, "to")))
	single.Ack()
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
	assert.Equal(t, int64(2), w.admin.XLen(w.ctx, "out").Val())
	require.NoError(t, s.Close())
	_, open := <-out
	assert.False(t, open, "nothing came twice")
}

// TestParkedNacked: a parked entry has nothing to do with a bundle that fails, and a handler that failed lets go of it.
func TestParkedNacked(t *testing.T) {
	w, _, out, b, m := bundled(t, 3)
	resume := b.Park(0)
	m.Nack()
	for range 2 {
		single := next(t, out)
		assert.NotEqual(t, b.Messages()[0].UUID, single.UUID)
		single.Ack()
	}
	resume(parkKey{}, 1)
	single := next(t, out)
	assert.Equal(t, b.Messages()[0].UUID, single.UUID)
	single.Ack()
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
}

// TestUnpark: a handler that fails while it parks gives everything back to the bundle.
func TestUnpark(t *testing.T) {
	w, _, out, b, m := bundled(t, 2)
	resume := b.Park(0)
	b.Unpark()
	require.Nil(t, b.Answer(nil))
	resume(parkKey{}, 1)
	m.Ack()
	for range 2 {
		single := next(t, out)
		assert.Nil(t, single.Context().Value(parkKey{}))
		single.Ack()
	}
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
}

// TestParkedDrains: what is parked when the subscription ends is handed back at once, and resuming it does nothing more.
func TestParkedDrains(t *testing.T) {
	w, s, out, b, m := bundled(t, 5)
	resume := b.Park(0)
	b.Park(1)
	require.Nil(t, b.Answer(nil)) // the other three are left out
	m.Ack()
	for range 3 {
		next(t, out).Ack()
	}
	eventually(t, "the three are acknowledged", func() bool { return w.pending() == 2 })
	require.NoError(t, s.Close())
	resume(parkKey{}, 1)
	_, open := <-out
	assert.False(t, open)
	assert.Equal(t, int64(2), w.pending())
	assert.Equal(t, int64(2), w.events.get("handed back"))
}
