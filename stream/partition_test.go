package stream_test

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/stream"
)

// Answers to the entries of two partitions that are given at the same moment share no script.
func TestAnswersOfPartitionsStayApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.config("a")
	for i := range 2 {
		n := strconv.Itoa(i)
		cfg.Partitions = append(cfg.Partitions, stream.Partition{
			Stream: "in" + n, Answers: "out" + n, DedupePrefix: "dedupe" + n + ":", KeyPrefix: "own" + n + ":", DeadStream: "dead" + n,
		})
	}
	sub := w.subscriber(nil, cfg)
	pub, err := stream.NewPublisher(w.admin, stream.PublisherConfig{Fields: []string{"answers"}, Events: w.events, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pub.Close()) })
	out, err := sub.Subscribe(w.ctx, "any")
	require.NoError(t, err)
	const each = 50
	for i := range 2 * each {
		id := fmt.Sprint(i/2+1, "-", i%2) // so that they alternate
		require.NoError(t, w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: fmt.Sprint("in", i%2), ID: id, Values: []string{"n", "1"}}).Err())
	}
	var messages []*message.Message
	for range 2 * each {
		messages = append(messages, next(t, out))
	}
	w.server.Pause() // so that they meet
	var publishing sync.WaitGroup
	for _, m := range messages {
		publishing.Go(func() {
			if err := pub.Publish("any", answer(m)); err != nil {
				t.Error(err)
			}
			m.Ack()
		})
	}
	w.server.Resume()
	publishing.Wait()
	require.EqualValues(t, 2*each, w.events.get(string(stream.Written)))
	for i := range 2 {
		n := strconv.Itoa(i)
		require.EqualValues(t, each, w.admin.XLen(w.ctx, "out"+n).Val())
		require.Zero(t, w.admin.XPending(w.ctx, "in"+n, testGroup).Val().Count)
		require.Len(t, w.admin.Keys(w.ctx, "dedupe"+n+":*").Val(), each)
	}
}

// Partitions that could be taken for each other, or lack a name, are refused.
func TestPartitionsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := stream.Partition{Stream: "a", KeyPrefix: "own:", DeadStream: "dead", Redrive: "again"}
	other := stream.Partition{Stream: "b", KeyPrefix: "own:", DeadStream: "dead"} // without a redrive stream, as may be two
	third := other
	third.Stream = "c"
	for _, tc := range []struct {
		name   string
		change func(p *stream.Partition)
		want   string
	}{
		{"good", func(*stream.Partition) {}, ""},
		{"the stream of another", func(p *stream.Partition) { p.Stream = "a" }, "two partitions read a"},
		{"the redrive stream of another", func(p *stream.Partition) { p.Redrive = "again" }, "two partitions read again"},
		{"the redrive stream of another as stream", func(p *stream.Partition) { p.Stream = "again" }, "two partitions read again"},
		{"no stream", func(p *stream.Partition) { p.Stream = "" }, `partition "" needs a stream`},
		{"no key prefix", func(p *stream.Partition) { p.KeyPrefix = "" }, `partition "b" needs`},
		{"no stream for dead letters", func(p *stream.Partition) { p.DeadStream = "" }, `partition "b" needs`},
	} {
		changed := other
		tc.change(&changed)
		cfg := w.config("a")
		cfg.Partitions = []stream.Partition{good, changed, third}
		s, err := stream.NewSubscriber(w.admin, cfg)
		if tc.want == "" {
			require.NoError(t, err, tc.name)
			require.NoError(t, s.Close())
			continue
		}
		require.ErrorContains(t, err, tc.want, tc.name)
	}
}
