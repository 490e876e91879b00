package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// TestTLS observes through TLS with an authority of its own, a client certificate and a password, all of them from files,
// and looks for the secrets in everything that is printed and served.
func TestTLS(t *testing.T) {
	t.Parallel()
	const secret = "a-p4ssword-that-is-nowhere"
	server := redistest.Start(t, redistest.WithTLS(), redistest.WithPassword(secret))
	ca, cert, key := server.TLSFiles()
	password := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(password, []byte(secret+"\n"), 0o600))
	_, port, _ := strings.Cut(server.Addr(), ":")
	environ := append([]string{
		"REDIS_HOST=127.0.0.1", "REDIS_PORT=" + port, "REDIS_PASSWORD_FILE=" + password,
		"REDIS_TLS_CA_FILE=" + ca, "REDIS_TLS_CERT_FILE=" + cert, "REDIS_TLS_KEY_FILE=" + key,
		"P28_HTTP_ADDR=127.0.0.1:0", "P28_BLOCK_MS=50", "P28_LOG_LEVEL=debug", "P28_LOG_FORMAT=text",
	}, usual...)

	observer := launch(t, environ, "run")
	addr := observer.addr()
	rdb := server.Client()
	require.NoError(t, rdb.HSet(t.Context(), "quantum:harvest:heat:by_plan:p", "heat_level", "hot").Err())
	require.NoError(t, rdb.Do(t.Context(), "XADD", "quantum:stream:apply.plan", "*", "plan_id", "p", "symbol", "S").Err())
	eventually(t, "both observations", func() error {
		if n := rdb.XLen(t.Context(), "quantum:stream:apply.heat.observed").Val(); n != 2 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	eventually(t, "announcements through TLS", func() error {
		if _, body := get(t, "http://"+addr+"/metrics"); !strings.Contains(body, "heat_observer_notifications_healthy 1") {
			return fmt.Errorf("none:\n%s", observer.logs)
		}
		return nil
	})
	shown := map[string]string{}
	for _, path := range []string{"/metrics", "/livez", "/readyz"} {
		_, shown[path] = get(t, "http://"+addr+path)
	}
	for _, args := range [][]string{{"config"}, {"config", "--json"}, {"status"}, {"group", "show"}, {"deadletter", "list"}} {
		code, stdout, stderr := processor(t, environ, args...)
		require.Zero(t, code, "%s: %s%s", args, stdout, stderr)
		shown[strings.Join(args, " ")] = stdout + stderr
	}
	observer.end()
	shown["log"] = observer.logs.String()
	keyText, err := os.ReadFile(key)
	require.NoError(t, err)
	for where, text := range shown {
		require.NotContains(t, text, secret, where)
		for line := range strings.Lines(string(keyText)) {
			require.NotContains(t, text, strings.TrimSpace(line), where)
		}
	}

	// The same as one URL, which has the password in it; a password that is wrong appears in no error either.
	foreignCA, _, _ := redistest.Start(t, redistest.WithTLS()).TLSFiles()
	rediss := func(password string) string {
		u := url.URL{Scheme: "rediss", Host: server.Addr(), Path: "/0", User: url.UserPassword("default", password)}
		return u.String()
	}
	own := []string{"REDIS_TLS_CA_FILE=" + ca, "REDIS_TLS_CERT_FILE=" + cert, "REDIS_TLS_KEY_FILE=" + key}
	for _, tc := range []struct {
		name    string
		environ []string
		code    int
		stderr  string
	}{
		{"good", append([]string{"REDIS_URL=" + rediss(secret)}, own...), 0, ""},
		{"wrong password", append([]string{"REDIS_URL=" + rediss("wr0ng-"+secret)}, own...), 2, "WRONGPASS"},
		{"authority unknown", []string{"REDIS_URL=" + rediss(secret)}, 2, "unknown authority"},
		{"authority of another", append([]string{"REDIS_URL=" + rediss(secret), "REDIS_TLS_CA_FILE=" + foreignCA}, own[1:]...), 2, "unknown authority"},
		{"no client certificate", append([]string{"REDIS_URL=" + rediss(secret)}, own[0]), 2, "should it want a client certificate, give REDIS_TLS_CERT and REDIS_TLS_KEY"},
		{"certificate without its key", append([]string{"REDIS_URL=" + rediss(secret)}, own[:2]...), 78, "REDIS_TLS_KEY"},
		{"no TLS", []string{"REDIS_URL=redis://:" + secret + "@" + server.Addr()}, 2, "should it speak TLS only, give REDIS_TLS_CA or a rediss:// URL"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := processor(t, append(tc.environ, usual...), "status")
			require.Equal(t, tc.code, code, stderr)
			require.Contains(t, stderr, tc.stderr)
			require.NotContains(t, stdout+stderr, secret)
		})
	}
}
