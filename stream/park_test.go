package stream_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/stream"
)

type parkKey struct{}

// resumed is the bundle that comes next, and what its messages bring under parkKey.
func resumed(t *testing.T, out <-chan *message.Message) (m *message.Message, b *stream.Bundle, brings map[string]any) {
	t.Helper()
	m = next(t, out)
	b = stream.BundleFrom(m.Context())
	require.NotNil(t, b, "what was resumed comes as a bundle")
	brings = map[string]any{}
	for _, q := range b.Messages() {
		require.NoError(t, q.Context().Err())
		require.Equal(t, q.UUID, stream.DeliveryFrom(q.Context()).Entry().ID.String())
		brings[q.UUID] = q.Context().Value(parkKey{})
	}
	return m, b, brings
}

// TestPark: what is parked stays in hand without a message, comes once when it is resumed, and is not acknowledged with
// the bundle. What is answered after all does not come.
func TestPark(t *testing.T) {
	w, s, out, b, m := bundled(t, 4)
	p := publisher(t, w, "to")
	resumeFirst, resumeSecond, resumeThird := b.Park(0), b.Park(1), b.Park(2)
	resumeFirst(parkKey{}, "early")() // before the bundle is done with
	q := b.Messages()
	require.NoError(t, p.Publish("out", b.Answer(append(q[:0:0], nil, nil, answerTo(q[2], "to")))...))
	resumeThird(parkKey{}, "never")()
	first, _, brings := resumed(t, out)
	assert.Equal(t, map[string]any{q[0].UUID: "early"}, brings, "alone, at once")
	first.Ack()
	m.Ack()
	single := next(t, out)
	assert.Equal(t, q[3].UUID, single.UUID, "the last was left out")
	assert.Nil(t, single.Context().Value(parkKey{}))
	single.Ack()
	eventually(t, "only the second is in hand", func() bool { return s.Subscriptions()[0].InFlight == 1 })
	assert.Equal(t, int64(1), w.pending(), "and pending")

	resumeSecond(parkKey{}, "late")
	resumeSecond(parkKey{}, "twice")()
	again, second, brings := resumed(t, out)
	assert.Equal(t, map[string]any{q[1].UUID: "late"}, brings)
	assert.Nil(t, second.Messages()[0].Context().Value("of somebody else"))
	require.NoError(t, p.Publish("out", second.Answer([]*message.Message{answerTo(second.Messages()[0], "to")})...))
	again.Ack()
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
	resume(parkKey{}, 1)()
	again, _, brings := resumed(t, out)
	assert.Equal(t, map[string]any{b.Messages()[0].UUID: 1}, brings)
	again.Ack()
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
}

// TestUnpark: a handler that fails while it parks gives everything back to the bundle.
func TestUnpark(t *testing.T) {
	w, _, out, b, m := bundled(t, 2)
	resume := b.Park(0)
	b.Unpark()
	require.Nil(t, b.Answer(nil))
	resume(parkKey{}, 1)()
	m.Ack()
	for range 2 {
		single := next(t, out)
		assert.Nil(t, single.Context().Value(parkKey{}))
		single.Ack()
	}
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
}

// TestUnparkResumed: what was resumed before the handler failed is no longer the bundle's: it comes once, with its value.
func TestUnparkResumed(t *testing.T) {
	w, s, out, b, m := bundled(t, 2)
	resume := b.Park(0)
	b.Park(1)
	send := resume(parkKey{}, 1)
	b.Unpark()
	m.Nack()
	single := next(t, out)
	assert.Equal(t, b.Messages()[1].UUID, single.UUID, "the second alone is the bundle's")
	single.Ack()
	eventually(t, "the first is in hand", func() bool { return s.Subscriptions()[0].InFlight == 1 })
	send()
	again, _, brings := resumed(t, out)
	assert.Equal(t, map[string]any{b.Messages()[0].UUID: 1}, brings)
	again.Ack()
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
	require.NoError(t, s.Close())
	_, open := <-out
	assert.False(t, open, "nothing came twice")
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
	resume(parkKey{}, 1)()
	_, open := <-out
	assert.False(t, open)
	assert.Equal(t, int64(2), w.pending())
	assert.Equal(t, int64(2), w.events.get("handed back"))
}

// TestResumedTogether: what is resumed before a send comes as one bundle, each entry with its own value and Delivery. What
// that bundle leaves open comes by itself and has its value still.
func TestResumedTogether(t *testing.T) {
	w, s, out, b, m := bundled(t, 6)
	p := publisher(t, w, "to")
	var resumes []func(key, value any) func()
	for i := range 5 {
		resumes = append(resumes, b.Park(i))
	}
	require.Nil(t, b.Answer(nil))
	m.Ack()
	next(t, out).Ack() // the sixth, which was left out
	want := map[string]any{}
	var send func()
	for i, resume := range resumes {
		want[b.Messages()[i].UUID] = i
		send = resume(parkKey{}, i)
	}
	send()
	send() // there is nothing more
	again, together, brings := resumed(t, out)
	assert.Equal(t, want, brings)
	q := together.Messages()
	require.NoError(t, p.Publish("out", together.Answer([]*message.Message{answerTo(q[0], "to"), answerTo(q[1], "to"), nil, answerTo(q[3], "to")})...))
	again.Ack()
	for range 2 {
		single := next(t, out)
		require.Nil(t, stream.BundleFrom(single.Context()))
		assert.Equal(t, want[single.UUID], single.Context().Value(parkKey{}))
		assert.Contains(t, []string{q[2].UUID, q[4].UUID}, single.UUID)
		single.Ack()
	}
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 && s.Subscriptions()[0].InFlight == 0 })
	assert.Equal(t, int64(3), w.admin.XLen(w.ctx, "out").Val())
}

// TestResumedNacked: after a nack of their bundle they come by themselves, with their values.
func TestResumedNacked(t *testing.T) {
	w, _, out, b, m := bundled(t, 2)
	resumes := []func(key, value any) func(){b.Park(0), b.Park(1)}
	require.Nil(t, b.Answer(nil))
	m.Ack()
	resumes[0](parkKey{}, "value")
	resumes[1](parkKey{}, "value")()
	again, _, _ := resumed(t, out)
	again.Nack()
	for range 2 {
		single := next(t, out)
		assert.Equal(t, 1, stream.DeliveryFrom(single.Context()).Nacks())
		assert.Equal(t, "value", single.Context().Value(parkKey{}))
		single.Ack()
	}
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
}

// TestResumedDrains: what is resumed when the subscription ends is handed back, whether it is still in the queue, on its
// way to a receiver that does not take it, or with a handler; and none of it is delivered any more.
func TestResumedDrains(t *testing.T) {
	w, s, out, b, m := bundled(t, 4)
	var resumes []func(key, value any) func()
	for i := range 4 {
		resumes = append(resumes, b.Park(i))
	}
	require.Nil(t, b.Answer(nil))
	m.Ack()
	resumes[0](parkKey{}, "with a handler")()
	handled, _, _ := resumed(t, out)
	resumes[1](parkKey{}, "on its way")()
	send := resumes[2](parkKey{}, "in the queue")
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-handled.Context().Done()
	handled.Nack()
	require.NoError(t, <-closed)
	send()
	resumes[3](parkKey{}, "too late")()
	_, open := <-out
	assert.False(t, open)
	assert.Equal(t, int64(4), w.pending())
	assert.Equal(t, int64(4), w.events.get("handed back"))
}

// TestResumeMeetsDrain: resuming, sending and draining at the same time; every entry is acknowledged or handed back, once.
func TestResumeMeetsDrain(t *testing.T) {
	for range 4 {
		const entries = 64
		w, s, out, b, m := bundled(t, entries)
		resumes := make([]func(key, value any) func(), entries)
		for i := range resumes {
			resumes[i] = b.Park(i)
		}
		require.Nil(t, b.Answer(nil))
		m.Ack()
		var all sync.WaitGroup
		for part := range slices.Chunk(resumes, entries/4) {
			all.Go(func() {
				for i, resume := range part {
					if send := resume(parkKey{}, 1); i%3 == 0 {
						send()
					}
				}
				part[0](parkKey{}, 2)()
			})
		}
		acked := make(chan int, 1)
		go func() {
			n := 0
			for m := range out {
				n += len(stream.BundleFrom(m.Context()).Messages())
				m.Ack()
			}
			acked <- n
		}()
		require.NoError(t, s.Close())
		all.Wait()
		assert.Equal(t, int64(entries), int64(<-acked)+w.events.get("handed back"))
		assert.Equal(t, w.events.get("handed back"), w.pending())
	}
}
