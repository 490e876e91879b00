package tracing_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/stream"
	"heatobserver/tracing"
)

const (
	endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT"
	protocol = "OTEL_EXPORTER_OTLP_PROTOCOL"
	sampler  = "OTEL_TRACES_SAMPLER"
	argument = "OTEL_TRACES_SAMPLER_ARG"
)

func TestEnvironment(t *testing.T) {
	const somewhere = "http://localhost:4318"
	cases := []struct {
		name string
		env  map[string]string
		on   bool
		err  string // a part of it; "" means that there is none
	}{
		{"nothing", nil, false, ""},
		{"an endpoint", map[string]string{endpoint: somewhere}, true, ""},
		{"an endpoint for traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": somewhere}, true, ""},
		{"an endpoint for metrics", map[string]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": somewhere}, false, ""},
		{"grpc", map[string]string{endpoint: "https://localhost:4317", protocol: "grpc"}, true, ""},
		{"switched off", map[string]string{endpoint: somewhere, "OTEL_SDK_DISABLED": "true"}, false, ""},
		{"no exporter", map[string]string{endpoint: somewhere, "OTEL_TRACES_EXPORTER": "none"}, false, ""},
		{"a share", map[string]string{endpoint: somewhere, sampler: "parentbased_traceidratio", argument: "0.1"}, true, ""},

		{"another exporter", map[string]string{endpoint: somewhere, "OTEL_TRACES_EXPORTER": "zipkin"}, false, `OTEL_TRACES_EXPORTER="zipkin" is not supported; allowed: otlp, none`},
		{"another protocol", map[string]string{endpoint: somewhere, protocol: "http/json"}, false, `OTEL_EXPORTER_OTLP_PROTOCOL="http/json" is not supported; allowed: http/protobuf, grpc`},
		{"another protocol for traces", map[string]string{endpoint: somewhere, protocol: "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, false,
			`OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/json" is not supported`},
		{"no scheme", map[string]string{endpoint: "user:secret@collector:4318"}, false, "OTEL_EXPORTER_OTLP_ENDPOINT is no endpoint: write http://host:port"},
		{"no sampler", map[string]string{endpoint: somewhere, sampler: "sometimes"}, false, `OTEL_TRACES_SAMPLER="sometimes" is no sampler; allowed: always_on,`},
		{"no share", map[string]string{endpoint: somewhere, sampler: "traceidratio", argument: "10%"}, false, `OTEL_TRACES_SAMPLER_ARG="10%" is no share; allowed: 0 to 1`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			tracer, err := tracing.Start(t.Context(), tracing.Identity{}, slog.New(slog.DiscardHandler))
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				assert.NotContains(t, err.Error(), "secret")
			} else {
				require.NoError(t, err)
			}
			assert.Equal(t, c.on, tracer != nil)
			assert.NoError(t, tracer.Shutdown(t.Context()))
		})
	}
}

// TestOffCostsNothing: what a tracer that is off hands back is what it was given, and no middleware.
func TestOffCostsNothing(t *testing.T) {
	var off *tracing.Tracer
	assert.Empty(t, off.Outermost())
	assert.Empty(t, off.Attempts())
	given := stream.Events(&recorder{})
	assert.Same(t, given, off.Events(given, "out"))
	publisher := message.Publisher(&sink{})
	assert.Same(t, publisher, off.Publisher(publisher))

	msgs := []*message.Message{message.NewMessage("1", nil)}
	park := func(int) func(any, any) func() { return nil }
	answers := make([]*message.Message, 1)
	bundle := off.Bundle(func(context.Context, []*message.Message, func(int) func(any, any) func()) []*message.Message {
		return answers
	})
	ctx := t.Context()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		bundle(ctx, msgs, park)
		off.Events(given, "out").Committed(msgs[0], stream.Written)
		_ = off.Publisher(publisher).Publish("out", msgs...)
	}))
}

type recorder struct{ stream.NoEvents }

type sink struct{}

func (*sink) Publish(string, ...*message.Message) error { return nil }
func (*sink) Close() error                              { return nil }

// eventually waits for a condition.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20 s", strings.TrimSpace(what))
		}
	}
}
