package tracing

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// The variables of OpenTelemetry that decide here. All others (headers, timeouts, certificates, limits, OTEL_SERVICE_NAME,
// OTEL_BSP_…) the SDK reads by itself. Where it would take a wrong value for none and say nothing, it is refused here.
const (
	disabledName = "OTEL_SDK_DISABLED"
	exporterName = "OTEL_TRACES_EXPORTER"
	samplerName  = "OTEL_TRACES_SAMPLER"
	argumentName = "OTEL_TRACES_SAMPLER_ARG"

	endpointName       = "OTEL_EXPORTER_OTLP_ENDPOINT"
	tracesEndpointName = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
	protocolName       = "OTEL_EXPORTER_OTLP_PROTOCOL"
	tracesProtocolName = "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"
)

var samplers = []string{
	"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
}

// wanted reports whether the environment asks for traces, or what is wrong with how it does.
func wanted() (bool, error) {
	if strings.EqualFold(os.Getenv(disabledName), "true") || os.Getenv(exporterName) == "none" {
		return false, nil
	}
	on := false
	for _, name := range []string{endpointName, tracesEndpointName} {
		value := os.Getenv(name)
		if value == "" {
			continue
		}
		on = true
		if u, err := url.Parse(value); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return false, fmt.Errorf("%s is no endpoint: write http://host:port or https://host:port", name) // it may hold a password
		}
	}
	if !on {
		return false, nil
	}
	if value := os.Getenv(exporterName); value != "" && value != "otlp" {
		return false, fmt.Errorf("%s=%q is not supported; allowed: otlp, none", exporterName, value)
	}
	return true, checkSampler()
}

func checkSampler() error {
	name := strings.ToLower(strings.TrimSpace(os.Getenv(samplerName)))
	if name != "" && !slices.Contains(samplers, name) {
		return fmt.Errorf("%s=%q is no sampler; allowed: %s", samplerName, name, strings.Join(samplers, ", "))
	}
	argument := os.Getenv(argumentName)
	if !strings.HasSuffix(name, "traceidratio") || argument == "" {
		return nil
	}
	if share, err := strconv.ParseFloat(argument, 64); err != nil || !(share >= 0 && share <= 1) {
		return fmt.Errorf("%s=%q is no share; allowed: 0 to 1", argumentName, argument)
	}
	return nil
}

// newExporter speaks the protocol that the environment names. It connects when there is something to send.
func newExporter(ctx context.Context) (sdk.SpanExporter, error) {
	name := tracesProtocolName
	if os.Getenv(name) == "" {
		name = protocolName
	}
	switch protocol := os.Getenv(name); protocol {
	case "", "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		return nil, fmt.Errorf("%s=%q is not supported; allowed: http/protobuf, grpc", name, protocol)
	}
}
