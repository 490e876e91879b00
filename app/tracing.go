package app

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"heatobserver/tracing"
)

// startTracing returns nil where the environment does not ask for traces.
func startTracing(ctx context.Context, consumer string, log *slog.Logger) (*tracing.Tracer, error) {
	id := tracing.Identity{Instance: consumer + "-" + process}
	if build, ok := debug.ReadBuildInfo(); ok {
		id.Version = build.Main.Version
	}
	tracer, err := tracing.Start(ctx, id, log)
	if err != nil {
		return nil, &ConfigError{err}
	}
	if tracer != nil {
		log.InfoContext(ctx, "plans are traced, as the OTEL_ variables of the environment say")
	}
	return tracer, nil
}

// endTracing sends what is left. Spans that do not arrive are no failure of the observer.
func endTracing(tracer *tracing.Tracer, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := tracer.Shutdown(ctx); err != nil {
		log.WarnContext(ctx, "the last traces are lost", "err", err)
	}
	return nil
}
