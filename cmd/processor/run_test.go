package main

import (
	"net"
	"strings"
	"testing"

	"heatobserver/internal/redistest"
)

func TestRunRefusesWhatTheOperatorMustMend(t *testing.T) {
	var lc net.ListenConfig
	taken, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	server := redistest.Start(t)
	for _, tc := range []struct {
		name    string
		environ []string
		args    []string
		stderr  []string
	}{
		{"no prefix", nil, nil, []string{"P28_HEAT_LOOKUP_PREFIX", "quantum:harvest:heat:by_plan:"}},
		{"port taken", usual, []string{"--http-addr", taken.Addr().String()}, []string{"P28_HTTP_ADDR", taken.Addr().String()}},
		{"several things at once", usual, []string{"--late-obs-poll-ms", "x", "--dedupe-ttl-sec", "-1"},
			[]string{"P28_LATE_OBS_POLL_MS", "P28_DEDUPE_TTL_SEC"}},
		{"a misspelt name beside an error", append([]string{"P28_LATE_OBS_POL_MS=3", "P28_DEDUPE_TTL_SEC=0"}, usual...), nil,
			[]string{"P28_DEDUPE_TTL_SEC", "P28_LATE_OBS_POLL_MS"}},
		{"a cluster where only some names share a hash tag", usual,
			[]string{"--redis-cluster", "a:1,b:2", "--http-addr", "127.0.0.1:0", "--plan-stream", "{quantum}:apply.plan"}, []string{"P28_HEAT_OBS_STREAM", "{quantum}", "share a slot"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			environ := append([]string{"REDIS_URL=" + server.URL()}, tc.environ...)
			if strings.Contains(strings.Join(tc.args, " "), "cluster") {
				environ = tc.environ
			}
			code, stdout, stderr := processor(t, environ, append([]string{"run"}, tc.args...)...)
			if code != 78 || stdout != "" {
				t.Errorf("exit code %d, stdout %q", code, stdout)
			}
			for _, part := range tc.stderr {
				if !strings.Contains(stderr, part) {
					t.Errorf("%q is not said:\n%s", part, stderr)
				}
			}
		})
	}
}
