package stream

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// deaf is a Redis that says "written" to every script, so that what is measured is ours alone.
type deaf struct{}

func (deaf) DialHook(next redis.DialHook) redis.DialHook { return next }
func (deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (deaf) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		keys, _ := cmd.Args()[2].(int)
		states := make([]any, keys-3)
		for i := range states {
			states[i] = "W"
		}
		cmd.(*redis.Cmd).SetVal(states) //nolint:forcetypeassert // EVALSHA is one
		return nil
	}
}

var _ redis.Hook = deaf{}

const benchBatch = 128

// benchReply is what XREADGROUP answers with a batch of plans.
func benchReply() []byte {
	fields := make([]string, 0, 38)
	for i := range 19 {
		fields = append(fields, fmt.Sprintf("field_name_%d", i), "a value of common length")
	}
	plan := entry.Make(fields...)
	reply := fmt.Appendf(nil, "*1\r\n*2\r\n$2\r\nin\r\n*%d\r\n", benchBatch)
	for i := range benchBatch {
		reply = append(entry.AppendString(append(reply, "*2\r\n"...), fmt.Sprintf("1700000000000-%d", i)), plan...)
	}
	return reply
}

// BenchmarkParseRead: ns/op and allocs/op are those of 128 entries.
func BenchmarkParseRead(b *testing.B) {
	reply := benchReply()
	b.ReportAllocs()
	b.SetBytes(int64(len(reply)))
	for b.Loop() {
		if entries, err := parseRead(reply, "in"); err != nil || len(entries) != benchBatch {
			b.Fatal(err)
		}
	}
}

// BenchmarkCommit: from 128 entries taken into hand to their answers committed, as one bundle; all that is done for them
// beside Redis and the handler.
func BenchmarkCommit(b *testing.B) {
	client := redis.NewClient(&redis.Options{Dialer: func(context.Context, string, string) (net.Conn, error) {
		return nil, net.ErrClosed
	}})
	client.AddHook(deaf{})
	b.Cleanup(func() { _ = client.Close() })
	log := slog.New(slog.DiscardHandler)
	s, err := NewSubscriber(client, SubscriberConfig{Group: "g", Consumer: "c", MaxInFlight: 1024, Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	names := make([]string, 15)
	values := make([]string, 0, 30)
	for i := range names {
		names[i] = fmt.Sprintf("field_%d", i)
		values = append(values, names[i], "some value")
	}
	p, err := NewPublisher(client, PublisherConfig{Fields: names, Logger: log})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close() })
	sub := newSubscription(b.Context(), s, "in")
	entries, err := parseRead(benchReply(), "in")
	if err != nil {
		b.Fatal(err)
	}
	payload := message.Payload(entry.Make(values...))
	b.ReportAllocs()
	for b.Loop() {
		deliveries := sub.take(entries, nil)
		bundle := &Bundle{sub: sub, deliveries: deliveries, messages: make([]*message.Message, len(deliveries))}
		answers := make([]*message.Message, len(deliveries))
		for i, d := range deliveries {
			bundle.messages[i] = d.bundled(Either{})
			answers[i] = &message.Message{UUID: "create_apply_plan:a4f3b8c2d1e5f6a7", Payload: payload}
			answers[i].SetContext(bundle.messages[i].Context())
		}
		if err := p.Publish("out", bundle.Answer(answers)...); err != nil {
			b.Fatal(err)
		}
	}
	if n := len(sub.held); n > 0 {
		b.Fatalf("%d entries are still in hand", n)
	}
}
