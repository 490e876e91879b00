package stream_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAnswerGivenUp: an answer that could not be written until the subscription ends is an error, so that nobody acks the entry
// without it.
func TestAnswerGivenUp(t *testing.T) {
	w := newWorld(t)
	s, out := w.subscribe(nil, w.config("a"))
	pub := w.publisher(nil)
	require.NoError(t, w.admin.Set(w.ctx, "out", "no stream", 0).Err())
	w.add(1)
	m := next(t, out)
	published := make(chan error, 1)
	go func() { published <- pub.Publish("out", answer(m)) }()
	eventually(t, "it fails", func() bool { return w.events.get("failed commit") > 0 })
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	err := <-published
	m.Nack()
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "WRONGTYPE")
	require.NoError(t, <-closed)
	require.EqualValues(t, 1, w.pending())
}
