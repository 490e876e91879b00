package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"heatobserver/event"
)

// runStock observes with watermill-redisstream and the router as they come, one subscription for each handler. It is
// spared the envelope, which is not how plans are written.
func runStock(ctx context.Context, client *redis.Client, subscriptions int) error {
	logger := watermill.NewSlogLogger(slog.New(slog.DiscardHandler))
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, logger)
	if err != nil {
		return fmt.Errorf("create router: %w", err)
	}
	for i := range subscriptions {
		subscriber, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
			Client: client, Unmarshaller: flatCodec{}, ConsumerGroup: earlyGroup, Consumer: "stock-" + strconv.Itoa(i), OldestId: "0",
		}, logger)
		if err != nil {
			return fmt.Errorf("create subscriber: %w", err)
		}
		publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, Marshaller: flatCodec{}}, logger)
		if err != nil {
			return fmt.Errorf("create publisher: %w", err)
		}
		router.AddHandler("early-"+strconv.Itoa(i), planStream, subscriber, observedStream, publisher, stockHandler(client))
	}
	return router.Run(ctx)
}

// stockHandler is the early observer as one writes it for that transport: look up, keep from doubling, answer.
func stockHandler(client *redis.Client) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx := msg.Context()
		p := handPlan{planID: msg.Metadata["plan_id"], symbol: msg.Metadata["symbol"], decision: msg.Metadata["decision"]}
		var err error
		if p.heat, err = client.HGetAll(ctx, heatPrefix+p.planID).Result(); err != nil {
			return nil, fmt.Errorf("look up heat: %w", err)
		}
		first, err := client.SetNX(ctx, dedupePrefix+"create_apply_plan:"+p.planID, "1", dedupeTTL*time.Second).Result()
		if err != nil || !first {
			return nil, err
		}
		found := "0"
		if len(p.heat) > 0 {
			found = "1"
		}
		now := time.Now()
		p.ms = now.UnixMilli() // this transport hides the entry ID
		w := handWritten{}
		answer := message.NewMessage(watermill.NewUUID(), nil)
		answer.Metadata = message.Metadata{
			"ts_epoch": strconv.FormatInt(now.Unix(), 10), "plan_id": p.planID, "symbol": p.symbol, "apply_component": "apply",
			"obs_point": event.Early.String(), "heat_found": found, "heat_ts_epoch": p.heat["ts_epoch"], "heat_level": p.heat["heat_level"],
			"heat_score": p.heat["heat_score"], "heat_action": p.heat["heat_action"], "heat_out_action": p.heat["out_action"],
			"heat_recommended_partial": p.heat["recommended_partial"], "heat_reason": reasonOf(&p), "apply_decision": p.decision,
			"debug_json": w.debugJSON(&p, now),
		}
		return []*message.Message{answer}, nil
	}
}

// flatCodec reads and writes flat fields as metadata.
type flatCodec struct{}

var (
	_ redisstream.Unmarshaller = flatCodec{}
	_ redisstream.Marshaller   = flatCodec{}
)

// Unmarshal makes a message of the fields of an entry.
func (flatCodec) Unmarshal(values map[string]any) (*message.Message, error) {
	msg := message.NewMessage(watermill.NewShortUUID(), nil)
	for name, value := range values {
		msg.Metadata[name], _ = value.(string)
	}
	return msg, nil
}

// Marshal makes an entry of the metadata of a message.
func (flatCodec) Marshal(_ string, msg *message.Message) (map[string]any, error) {
	values := make(map[string]any, len(msg.Metadata))
	for name, value := range msg.Metadata {
		values[name] = value
	}
	return values, nil
}
