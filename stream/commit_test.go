package stream_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/stream"
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

// TestAnswersToTwoTopics: of answers that come at once, each goes to the topic that it was published to, whole.
func TestAnswersToTwoTopics(t *testing.T) {
	for _, fields := range [][]string{nil, {"answers"}} {
		t.Run(fmt.Sprint(fields), func(t *testing.T) {
			const n = 60
			w := newWorld(t)
			_, out := w.subscribe(nil, w.config("a"))
			pub, err := stream.NewPublisher(w.admin, stream.PublisherConfig{Fields: fields, KeyPrefix: "own:", Lanes: 1, Events: w.events})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, pub.Close()) })
			topics := []string{"out", "other"}
			w.add(n)
			want := map[string][]string{}
			var published sync.WaitGroup
			for i := range n {
				m, topic := next(t, out), topics[i%2]
				want[topic] = append(want[topic], m.UUID)
				published.Go(func() {
					if err := pub.Publish(topic, answer(m)); err != nil {
						t.Error(err)
					}
					m.Ack()
				})
			}
			published.Wait()
			for _, topic := range topics {
				var got []string
				for _, e := range w.admin.XRange(w.ctx, topic, "-", "+").Val() {
					require.Len(t, e.Values, 1)
					got = append(got, e.Values["answers"].(string))
				}
				require.ElementsMatch(t, want[topic], got)
			}
			require.Zero(t, w.events.get("failed"))
			require.EqualValues(t, n, w.events.get("answers in scripts"))
			if fields == nil {
				require.EqualValues(t, n, w.events.get("scripts"), "one each")
			}
		})
	}
}

// TestAnsweredBySomebodyElse: what another has answered and settled, our first attempt finds fenced, not unknown.
func TestAnsweredBySomebodyElse(t *testing.T) {
	w := newWorld(t)
	_, out := w.subscribe(nil, w.config("a"))
	pub := w.publisher(nil)
	id := w.add(1)[0]
	m := next(t, out)
	require.NoError(t, w.admin.XAck(w.ctx, testStream, testGroup, id).Err())
	require.NoError(t, w.admin.Set(w.ctx, "own:answered:"+answer(m).UUID, "1", 0).Err())
	require.NoError(t, pub.Publish("out", answer(m)))
	m.Ack()
	require.EqualValues(t, 1, w.events.get("fenced"))
	require.Zero(t, w.events.get("unknown"))
}
