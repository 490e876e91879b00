package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// envelopeWriter writes plans as a Go producer with Watermill's own Redis transport does. Its Publisher sends one
// entry in a round trip. It is never closed, because that would close the client.
type envelopeWriter struct {
	publisher *redisstream.Publisher
	config    LoadConfig
}

func newEnvelopeWriter(client redis.UniversalClient, config LoadConfig) (*envelopeWriter, error) {
	publisher, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client, DefaultMaxlen: config.MaxLen}, nil)
	if err != nil {
		return nil, err
	}
	return &envelopeWriter{publisher, config}, nil
}

func (w *envelopeWriter) write(ctx context.Context, numbers []uint64) (written int, err error) {
	for _, n := range numbers {
		pairs := PlanPairs(w.config.Seed, n, time.Now())
		fields := make(map[string]string, len(pairs)/2)
		for i := 0; i < len(pairs); i += 2 {
			fields[pairs[i]] = pairs[i+1]
		}
		payload, err := json.Marshal(fields)
		if err != nil {
			return written, fmt.Errorf("write plans: %w", err)
		}
		m := message.NewMessage(fields["plan_id"], payload)
		m.SetContext(ctx)
		if err := w.publisher.Publish(streamOf(w.config.Streams, w.config.Seed, n), m); err != nil {
			return written, fmt.Errorf("write plans: %w", err)
		}
		written++
	}
	return written, nil
}

// sourceOf is the field source of an entry of the plan stream, in an envelope or not.
func sourceOf(values map[string]any) any {
	payload, isText := values["payload"].(string)
	if _, enveloped := values["_watermill_message_uuid"]; !enveloped || !isText {
		return values["source"]
	}
	var plan struct {
		Source string `json:"source"`
	}
	if json.Unmarshal([]byte(payload), &plan) != nil {
		return nil
	}
	return plan.Source
}
