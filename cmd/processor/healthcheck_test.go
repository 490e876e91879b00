package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	answers := map[string]string{"/livez": `{"ok":true}`, "/readyz": `{"ok":false,"wrong":["draining","Redis does not answer"]}`}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := answers[r.URL.Path]
		if !strings.Contains(answer, "true") {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	strange := httptest.NewServer(http.NotFoundHandler())
	defer strange.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()

	for _, tc := range []struct {
		name, addr string
		args       []string
		want       int
		out        string
	}{
		{"it lives", server.URL, nil, 0, "ok"},
		{"it is not ready", server.URL, []string{"--ready"}, 1, "draining; Redis does not answer"},
		{"another program has the port", strange.URL, nil, 2, "404"},
		{"nobody answers", gone.URL, nil, 2, "refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := strings.TrimPrefix(tc.addr, "http://")
			code, stdout, stderr := processor(t, nil, append([]string{"healthcheck", "--http-addr", addr}, tc.args...)...)
			if code != tc.want || !strings.Contains(stdout+stderr, tc.out) {
				t.Errorf("code %d, want %d; stdout %q, stderr %q, want %q in it", code, tc.want, stdout, stderr, tc.out)
			}
		})
	}
}

func TestReachable(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		":8043": "localhost:8043", "0.0.0.0:8043": "localhost:8043", "[::]:1": "localhost:1",
		"127.0.0.1:8043": "127.0.0.1:8043", "[::1]:2": "[::1]:2", "observer:3": "observer:3",
	} {
		if got := reachable(addr); got != want {
			t.Errorf("reachable(%q) = %q, want %q", addr, got, want)
		}
	}
}
