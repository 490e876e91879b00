package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/web"
)

func TestForeignNamesAreRefused(t *testing.T) {
	t.Parallel()
	handler := web.OnlyHosts([]string{"Heat.example.com", "observer"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	for host, ours := range map[string]bool{
		"localhost": true, "LOCALHOST:8043": true, "localhost.:8043": true, "heat.localhost:8043": true,
		"127.0.0.1": true, "127.0.0.1:8043": true, "10.1.2.3:8043": true, "[::1]:8043": true, "[::1]": true, "[fe80::1%25eth0]:8043": true,
		"":                 true, // HTTP/1.0, which no browser speaks
		"heat.example.com": true, "HEAT.example.com.:443": true, "observer:8043": true,

		"evil.example": false, "evil.example:8043": false, "localhost.evil.example": false, "notlocalhost:8043": false,
		"127.0.0.1.evil.example": false, "127.0.0.1.nip.io:8043": false, "heat.example.com.evil.example": false, "sub.heat.example.com": false,
		"2130706433:8043": false, "0x7f.1": false, "a:b:c": false, "[localhost": true, "evil.example:": false, " ": false,
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
		r.Host = host
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if ours {
			require.Equal(t, http.StatusNoContent, w.Code, "%q", host)
			continue
		}
		require.Equal(t, http.StatusMisdirectedRequest, w.Code, "%q", host)
		require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		require.Contains(t, w.Body.String(), "P28_HTTP_HOSTS")
	}

	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", http.NoBody)
	r.Host = "<script>" + strings.Repeat("x", 10_000)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	require.Less(t, w.Body.Len(), 1000, "what comes is not sent back at length")
	require.NotContains(t, w.Body.String(), "<")
	require.True(t, json.Valid(w.Body.Bytes()))
}
