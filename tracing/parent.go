package tracing

import (
	"context"
	"encoding/json"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/propagation"

	"heatobserver/entry"
	"heatobserver/event"
)

const parentField = "traceparent"

// mostParent bounds a traceparent, in bytes: version 00 of W3C Trace Context has 55, later ones may have more.
const mostParent = 128

// withParent is ctx with the trace that the plan of a message names, where it names one that is valid.
func withParent(ctx context.Context, msg *message.Message) context.Context {
	value := parentOf(msg)
	if value == "" || len(value) > mostParent {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{parentField: value})
}

// parentOf is the field traceparent of a plan, or "" where there is none.
func parentOf(msg *message.Message) string {
	if len(msg.Payload) > 0 && msg.Payload[0] == '*' {
		var parent []byte
		for name, value := range entry.Fields(msg.Payload).All() {
			if string(name) == parentField {
				parent = value
			}
		}
		return string(parent[:min(len(parent), mostParent+1)])
	}
	if len(msg.Payload) > event.MaxPlanBytes {
		return ""
	}
	var fields map[string]json.RawMessage
	var parent string
	if json.Unmarshal(msg.Payload, &fields) != nil || json.Unmarshal(fields[parentField], &parent) != nil {
		return msg.Metadata.Get(parentField) // where Watermill's own publishers put it
	}
	return parent
}
