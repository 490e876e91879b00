// Command invoices writes an invoice for every order, once. It is a complete program on package stream and nothing else of
// the heat observer: copy it to begin one of your own.
//
//	go run ./examples/invoices &
//	redis-cli XADD shop:orders '*' order A-17 item lamp quantity 2 cents 1995
//	redis-cli XRANGE shop:invoices - +
//
// Start it as often as you like: all processes share the orders. Kill any of them: another one takes its orders over five
// seconds later, and an order that had its invoice does not get a second one. An order that nobody can read is parked in
// shop:dead, with the reason, and holds up no other.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/stream"
)

const (
	orders   = "shop:orders"
	invoices = "shop:invoices"
	dead     = "shop:dead"
	keys     = "shop:invoicing:" // begins the keys of our own: cursor, totals, what was answered
)

func main() {
	addr := flag.String("redis", "localhost:6379", "address of Redis")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	client := redis.NewClient(&redis.Options{Addr: *addr})
	err := errors.Join(run(ctx, client, slog.New(slog.NewTextHandler(os.Stderr, nil))), client.Close())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "invoices:", err)
		os.Exit(1)
	}
}

// run invoices orders until ctx ends. Then orders in hand are finished or handed to other processes.
func run(ctx context.Context, client redis.UniversalClient, log *slog.Logger) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	subscriber, err := stream.NewSubscriber(client, stream.SubscriberConfig{
		Group: "invoicing",
		// One name, one process: else nobody could tell a process from one that was thought dead.
		Consumer:   fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano()),
		Start:      "0", // orders from before the first start want their invoice too
		KeyPrefix:  keys,
		DeadStream: dead,
		Logger:     log,
	})
	if err != nil {
		return err
	}
	publisher, err := stream.NewPublisher(client, stream.PublisherConfig{KeyPrefix: keys, Logger: log})
	if err != nil {
		return errors.Join(err, subscriber.Close())
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NewSlogLogger(log))
	if err != nil {
		return errors.Join(err, publisher.Close(), subscriber.Close())
	}
	router.AddHandler("invoicing", orders, subscriber, invoices, publisher, invoice)
	return router.Run(ctx) // closes publisher and subscriber, and leaves the client to us
}

// invoice is one order's way to its invoice. An error sends it through here again, a little later.
func invoice(order *message.Message) ([]*message.Message, error) {
	fields := entry.Fields(order.Payload)
	number, _ := fields.Get("order")
	total, err := total(fields)
	if number == "" {
		err = errors.New("no order number")
	}
	if err != nil { // no attempt will ever succeed
		return nil, stream.DeliveryFrom(order.Context()).DeadLetter(order.Context(), "bad_order", err, 0)
	}
	// The ID is that of the question: an order that comes twice, or again after a crash, has had its answer.
	answer := message.NewMessage("invoice:"+number, message.Payload(entry.Make(
		"order", number,
		"cents", strconv.FormatInt(total, 10),
	)))
	answer.SetContext(order.Context()) // invoice and acknowledgement are one step, or none
	return []*message.Message{answer}, nil
}

// total is what an order costs, in cents.
func total(order entry.Fields) (int64, error) {
	product := int64(1)
	for _, name := range []string{"quantity", "cents"} {
		value, _ := order.Get(name)
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%s is %.40q: want a whole number", name, value)
		}
		product *= n
	}
	return product, nil
}
