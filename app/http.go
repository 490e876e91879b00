package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// listen opens the address for metrics and health. A taken port is the operator's to mend.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, &ConfigError{fmt.Errorf("listen on %s: another program has the port (8043 is also the apply layer's own); "+
			"set P28_HTTP_ADDR to a free address: %w", addr, err)}
	case err != nil:
		return nil, &ConfigError{fmt.Errorf("listen on P28_HTTP_ADDR %s: %w", addr, err)}
	}
	return l, nil
}

// healthCheck reports what is wrong, or nothing.
type healthCheck func(ctx context.Context) []string

// newHandler serves metrics and health, the profiler where it is asked for, and the status page on all that is left.
// Nothing here changes anything.
func newHandler(registry *prometheus.Registry, live, ready healthCheck, profiler bool, page http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", page)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 8, Timeout: 8 * time.Second,
	}))
	mux.Handle("GET /livez", healthHandler(live))
	mux.Handle("GET /readyz", healthHandler(ready))
	if profiler {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	}
	return mux
}

// healthHandler answers 200 {"ok":true}, or 503 {"ok":false,"wrong":["…"]}.
func healthHandler(check healthCheck) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		wrong := check(ctx)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if len(wrong) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(struct { // the caller has gone
			OK    bool     `json:"ok"`
			Wrong []string `json:"wrong,omitempty"`
		}{len(wrong) == 0, wrong})
	})
}

// newServer has a timeout for everything that a client could draw out.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      60 * time.Second, // a CPU profile takes 30 s
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
