package stream_test

import (
	"errors"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/stream"
)

// bundled subscribes with bundles for all entries, to n entries that are there already.
func bundled(t *testing.T, n int) (w *world, s *stream.Subscriber, out <-chan *message.Message, b *stream.Bundle, m *message.Message) {
	w = newWorld(t)
	w.group()
	w.add(n)
	cfg := w.config("me")
	cfg.Bundles = true
	s, out = w.subscribe(nil, cfg)
	m = next(t, out)
	b = stream.BundleFrom(m.Context())
	require.NotNil(t, b, "entries of one read come as a bundle")
	require.Len(t, b.Messages(), n)
	return w, s, out, b, m
}

func publisher(t *testing.T, w *world, fields ...string) *stream.Publisher {
	p, err := stream.NewPublisher(w.admin, stream.PublisherConfig{KeyPrefix: "own:", Fields: fields, Batch: 4, Events: w.events})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// answerTo is an answer with one field.
func answerTo(m *message.Message, name string) *message.Message {
	a := &message.Message{UUID: "answer-" + m.UUID, Payload: message.Payload(entry.Make(name, m.UUID))}
	a.SetContext(m.Context())
	return a
}

// TestBundleAnswers: what is answered is committed in batches, what is left out comes again by itself, and nothing else.
func TestBundleAnswers(t *testing.T) {
	w, _, out, b, m := bundled(t, 10)
	p := publisher(t, w, "to")
	answers := make([]*message.Message, 10)
	for i, q := range b.Messages() {
		id, ok := entry.IDFrom(q.Context())
		require.True(t, ok)
		require.Equal(t, q.UUID, id.String())
		require.NotNil(t, stream.DeliveryFrom(q.Context()))
		if i != 3 && i != 7 {
			answers[i] = answerTo(q, "to")
		}
	}
	require.NoError(t, p.Publish("out", b.Answer(answers)...))
	assert.Equal(t, int64(2), w.pending(), "the answered ones are acknowledged")
	assert.Equal(t, int64(8), w.events.get("written"))
	m.Ack()
	again := map[string]bool{}
	for range 2 {
		single := next(t, out)
		require.Nil(t, stream.BundleFrom(single.Context()))
		require.NoError(t, single.Context().Err(), "nothing has ended it")
		require.Zero(t, stream.DeliveryFrom(single.Context()).Nacks(), "it has not failed")
		again[single.UUID] = true
		single.Ack()
	}
	assert.Equal(t, map[string]bool{b.Messages()[3].UUID: true, b.Messages()[7].UUID: true}, again)
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
	assert.Equal(t, int64(8), w.admin.XLen(w.ctx, "out").Val())
}

// TestBundleWithoutAnswers: a handler that answers nothing and acks has handled all of it.
func TestBundleWithoutAnswers(t *testing.T) {
	w, s, _, _, m := bundled(t, 5)
	m.Ack()
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
	eventually(t, "none is in hand", func() bool { return s.Subscriptions()[0].InFlight == 0 })
	require.NoError(t, s.Close())
	assert.Zero(t, w.commands("publish"), "nothing is handed back")
}

// TestBundleSettledMeanwhile: what a handler left out and then settled itself does not come again.
func TestBundleSettledMeanwhile(t *testing.T) {
	w, _, out, b, m := bundled(t, 2)
	p := publisher(t, w, "to")
	require.NoError(t, p.Publish("out", b.Answer([]*message.Message{answerTo(b.Messages()[0], "to")})...))
	require.NoError(t, stream.DeliveryFrom(b.Messages()[1].Context()).Drop(w.ctx))
	m.Ack()
	id := w.add(1)[0]
	m = next(t, out)
	b = stream.BundleFrom(m.Context())
	require.NotNil(t, b, "the next is the new one")
	require.Equal(t, id, b.Messages()[0].UUID)
	m.Ack()
}

// TestBundlesLeaveRedrivenOut: an entry that is sent back comes by itself, as its original.
func TestBundlesLeaveRedrivenOut(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("me")
	cfg.Bundles, cfg.Redrive = true, "redrive"
	_, out := w.subscribe(nil, cfg)
	require.NoError(t, w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: "redrive", Values: []string{
		"redrive_group", testGroup, "redrive_stream", testStream, "redrive_id", "5-1", "a", "b",
	}}).Err())
	m := next(t, out)
	require.Nil(t, stream.BundleFrom(m.Context()))
	d := stream.DeliveryFrom(m.Context())
	require.True(t, d.Redriven())
	require.Equal(t, stream.Entry{Stream: testStream, ID: entry.ID{Ms: 5, Seq: 1}, Fields: entry.Make("a", "b")}, d.Entry())
	id, _ := entry.IDFrom(m.Context())
	require.Equal(t, d.Entry().ID, id)
	m.Ack()
}

// TestBundleNacked: after a nack each entry comes by itself, but what was settled does not.
func TestBundleNacked(t *testing.T) {
	w, _, out, b, m := bundled(t, 4)
	require.NoError(t, stream.DeliveryFrom(b.Messages()[1].Context()).Drop(w.ctx))
	m.Nack()
	got := &seen{}
	for range 3 {
		single := next(t, out)
		require.Nil(t, stream.BundleFrom(single.Context()))
		assert.Equal(t, 1, stream.DeliveryFrom(single.Context()).Nacks())
		got.add(single)
		single.Ack()
	}
	eventually(t, "all are acknowledged", func() bool { return w.pending() == 0 })
	assert.Equal(t, 3, got.len())
}

// TestBundleRefused: an answer that the script would mix up stops the bundle before anything is written.
func TestBundleRefused(t *testing.T) {
	w, _, _, b, m := bundled(t, 3)
	p := publisher(t, w, "to")
	q := b.Messages()
	err := p.Publish("out", b.Answer([]*message.Message{answerTo(q[0], "to"), answerTo(q[1], "from"), answerTo(q[2], "to")})...)
	require.ErrorContains(t, err, `field 1 is "from" instead of "to"`)
	assert.Zero(t, w.admin.XLen(w.ctx, "out").Val())
	assert.Equal(t, int64(3), w.pending())
	m.Ack()
}

// TestBundleDrains: what a handler has in hand when the subscription ends is handed back, and its context ends.
func TestBundleDrains(t *testing.T) {
	w, s, out, b, m := bundled(t, 6)
	p := publisher(t, w, "to")
	require.NoError(t, p.Publish("out", b.Answer([]*message.Message{answerTo(b.Messages()[0], "to")})...))
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-m.Context().Done()
	eventually(t, "the contexts of its messages end", func() bool { return b.Messages()[5].Context().Err() != nil })
	m.Ack()
	require.NoError(t, <-closed)
	_, open := <-out
	assert.False(t, open)
	assert.Equal(t, int64(5), w.pending())
	eventually(t, "they are handed back", func() bool { return w.events.get("handed back") == 5 })
}

// TestBundleOutlivesFailingRedis: answers are kept until Redis takes them.
func TestBundleOutlivesFailingRedis(t *testing.T) {
	w, _, _, b, m := bundled(t, 9)
	p := publisher(t, w, "to")
	require.NoError(t, w.admin.Set(w.ctx, "out", "no stream", 0).Err())
	var answers []*message.Message
	for _, q := range b.Messages() {
		answers = append(answers, answerTo(q, "to"))
	}
	published := make(chan error, 1)
	go func() { published <- p.Publish("out", b.Answer(answers)...) }()
	eventually(t, "commits fail", func() bool { return w.events.get("failed commit") > 1 })
	select {
	case err := <-published:
		require.Fail(t, "it was given up", "%v", err)
	default:
	}
	require.NoError(t, w.admin.Del(w.ctx, "out").Err())
	require.NoError(t, <-published)
	m.Ack()
	assert.Equal(t, int64(9), w.events.get("written"))
	assert.Zero(t, w.pending())
}

// TestPublishBundleAfterClose: a closed publisher says so and hangs nobody.
func TestPublishBundleAfterClose(t *testing.T) {
	w, _, _, b, m := bundled(t, 2)
	p := publisher(t, w, "to")
	require.NoError(t, p.Close())
	err := p.Publish("out", b.Answer([]*message.Message{answerTo(b.Messages()[0], "to")})...)
	require.True(t, errors.Is(err, stream.ErrClosed), "%v", err)
	m.Nack()
}
