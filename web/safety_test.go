package web_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/web"
)

func TestEveryAnswerHasItsPolicy(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	for path, want := range map[string]int{
		"/": 200, "/assets/index.html": 200, "/api/v1/summary": 200, "/api/v1/openapi.yaml": 200, "/nothing": 404, "/assets/": 404,
		"/assets/nothing.js": 404, "/assets/..%2fpage.go": 404, "/api/v1/series?minutes=x": 400,
	} {
		status, header, _ := s.ask(path)
		require.Equal(t, want, status, path)
		policy := header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'", path)
		require.Contains(t, policy, "script-src 'self';", path)
		require.NotContains(t, policy, "unsafe", path)
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"), path)
		require.Empty(t, header.Get("Access-Control-Allow-Origin"), path)
	}
	_, header, page := s.ask("/")
	require.Equal(t, "text/html; charset=utf-8", header.Get("Content-Type"))
	require.NotRegexp(t, `(?i)<script>|<style|\sstyle=|\son[a-z]+=|javascript:|https?://`, page, "nothing inline, nothing from elsewhere")
}

// TestNothingChanges sends what would change something to every path and finds Redis as it was.
func TestNothingChanges(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	history(s, s.now())
	s.do("XADD", deadStream, "1-1", "reason", "bad_field")
	paths := []string{
		"/", "/assets/index.html", "/api/v1/summary", "/api/v1/series", "/api/v1/waits", "/api/v1/flow", "/api/v1/workers", "/api/v1/observations",
		"/api/v1/plans?plan_id=p1", "/api/v1/deadletters", "/api/v1/deadletters/1-1", "/api/v1/what-if", "/api/v1/events", "/api/v1/openapi.yaml", "/nothing",
	}
	s.do("CONFIG", "RESETSTAT")
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "BREW"} {
		for _, path := range paths {
			req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader("{}"))
			require.NoError(t, err)
			resp, err := s.client.Do(req)
			require.NoError(t, err)
			require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, "%s %s", method, path)
			require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
			require.NoError(t, resp.Body.Close())
		}
	}
	for _, path := range paths {
		if path == "/api/v1/events" {
			continue
		}
		s.ask(path)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.url+path, http.NoBody)
		require.NoError(t, err)
		resp, err := s.client.Do(req)
		require.NoError(t, err)
		require.Less(t, resp.StatusCode, 500, path)
		require.NoError(t, resp.Body.Close())
	}
	stats, err := s.rdb.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	reads := map[string]bool{
		"info": true, "config|resetstat": true, "hello": true, "client|setinfo": true, "client|maint_notifications": true, "ping": true, "time": true, "get": true, "hgetall": true, "type": true,
		"pttl": true, "xlen": true, "xrange": true, "xrevrange": true, "xpending": true, "xinfo|stream": true, "xinfo|groups": true, "xinfo|consumers": true,
	}
	for line := range strings.Lines(stats) {
		if name, found := strings.CutPrefix(line, "cmdstat_"); found {
			name, _, _ = strings.Cut(name, ":")
			require.True(t, reads[name], "the page sent %s", name)
		}
	}
	require.Contains(t, stats, "cmdstat_xrevrange")
}

func TestAssetsAreAskedForOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	_, header, _ := s.ask("/")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("If-None-Match", header.Get("ETag"))
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusNotModified, resp.StatusCode)
}

func TestLargeAnswersAreCompressed(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	history(s, s.now())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/observations", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
	unpacked, err := gzip.NewReader(resp.Body)
	require.NoError(t, err)
	body, err := io.ReadAll(unpacked)
	require.NoError(t, err)
	var v web.Observations
	require.NoError(t, json.Unmarshal(body, &v))
	require.Equal(t, 15, v.Matching)
}
