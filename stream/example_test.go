package stream_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/internal/embedded"
	"heatobserver/stream"
)

// A consumer of your own: it greets everybody whose name stands in a stream, and nobody twice. With Watermill's router in
// place of the loop it is examples/invoices.
func Example() {
	server, err := embedded.Start() // your Redis
	check(err)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	for _, name := range []string{"Ada", "Grace", "Ada"} {
		check(client.XAdd(ctx, &redis.XAddArgs{Stream: "names", Values: []string{"name", name}}).Err())
	}

	subscriber, err := stream.NewSubscriber(client, stream.SubscriberConfig{
		Group: "greeters", Consumer: "greeter-1", Start: "0", Logger: slog.New(slog.DiscardHandler),
	})
	check(err)
	publisher, err := stream.NewPublisher(client, stream.PublisherConfig{})
	check(err)
	messages, err := subscriber.Subscribe(ctx, "names")
	check(err)
	for range 3 {
		question := <-messages
		name, _ := entry.Fields(question.Payload).Get("name")
		answer := message.NewMessage("greeting:"+name, message.Payload(entry.Make("text", "Good morning, "+name)))
		answer.SetContext(question.Context()) // the answer and the acknowledgement are one step
		check(publisher.Publish("greetings", answer))
		question.Ack()
	}
	check(subscriber.Close())
	check(publisher.Close())

	for _, greeting := range client.XRange(ctx, "greetings", "-", "+").Val() {
		fmt.Println(greeting.Values["text"])
	}
	cancel()
	check(client.Close())
	check(server.Close())
	// Output:
	// Good morning, Ada
	// Good morning, Grace
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
