package webtest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
)

// front is a reverse proxy as people put one before the page: under a path of its own, and whoever is behind it changes.
type front struct {
	server *httptest.Server
	addr   atomic.Pointer[string]
}

func newFront(t *testing.T, addr string) *front {
	t.Helper()
	f := &front{}
	f.to(addr)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: *f.addr.Load()})
			r.Out.Host = r.Out.URL.Host
		},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	f.server = httptest.NewServer(http.StripPrefix("/ops/heat", proxy))
	t.Cleanup(func() {
		f.server.CloseClientConnections()
		f.server.Close()
	})
	return f
}

func (f *front) to(addr string) { f.addr.Store(&addr) }

func (f *front) url() string { return f.server.URL + "/ops/heat/" }
