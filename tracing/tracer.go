package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"
)

// Identity is what a trace says of the process that it comes from. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have the
// last word.
type Identity struct {
	Version  string
	Instance string // the consumer name
}

// Tracer makes the spans of one process. A nil Tracer makes none. It is safe for concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer

	mu     sync.Mutex
	parked map[*plan]struct{} // waiting; who is handed its message takes it out
}

// Start returns nil where the environment names no OTLP endpoint, or switches traces off. An error is for the operator to
// mend. The caller ends a Tracer with Shutdown.
func Start(ctx context.Context, id Identity, log *slog.Logger) (*Tracer, error) {
	on, err := wanted()
	if err != nil || !on {
		return nil, err
	}
	exporter, err := newExporter(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up the OTLP exporter: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithAttributes(semconv.ServiceName("heat-observer"), semconv.ServiceVersion(id.Version), semconv.ServiceInstanceID(id.Instance)),
		resource.WithFromEnv(),
	)
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	reportTo(log)
	return newTracer(sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about))), nil
}

func newTracer(provider *sdk.TracerProvider) *Tracer {
	return &Tracer{provider: provider, tracer: provider.Tracer("heatobserver/tracing"), parked: map[*plan]struct{}{}}
}

// reportTo has what goes wrong in the SDK logged. Its handler is one for the whole process; a collector that is away fails
// every few seconds, so the log shows one now and then.
func reportTo(log *slog.Logger) {
	often := rate.Sometimes{First: 1, Interval: time.Minute}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		often.Do(func() { log.Warn("traces are lost; observing goes on", "err", err) })
	}))
}

// Shutdown sends what is left, until ctx ends. What still waits has been handed to other workers by then.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	left := t.parked
	t.parked = map[*plan]struct{}{}
	t.mu.Unlock()
	for p := range left {
		p.end(handedBack)
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("send the last spans: %w", err)
	}
	return nil
}

func (t *Tracer) park(p *plan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parked[p] = struct{}{}
}

func (t *Tracer) unpark(p *plan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.parked, p)
}
