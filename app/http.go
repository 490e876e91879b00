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
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"heatobserver/config"
	"heatobserver/web"
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
// Nothing here changes anything. Metrics and health are counts, and are asked for by whatever name a scraper knows;
// what shows plans and memory is answered under names of our own alone.
func newHandler(registry *prometheus.Registry, live, ready healthCheck, cfg config.HTTP, page http.Handler) http.Handler {
	mux, ours := http.NewServeMux(), http.NewServeMux()
	mux.Handle("/", web.OnlyHosts(ownHosts(cfg), ours))
	ours.Handle("/", page)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 8, Timeout: 8 * time.Second,
	}))
	mux.Handle("GET /livez", healthHandler(live))
	mux.Handle("GET /readyz", healthHandler(ready))
	if cfg.Pprof {
		ours.HandleFunc("GET /debug/pprof/", pprof.Index)
		ours.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		ours.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
		ours.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		ours.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	}
	return mux
}

// ownHosts are the names of this server: what is configured, where it listens, and what the machine calls itself.
func ownHosts(cfg config.HTTP) []string {
	names := slices.Clone(cfg.Hosts)
	if host, _, err := net.SplitHostPort(cfg.Addr); err == nil && host != "" {
		names = append(names, host)
	}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	return names
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
