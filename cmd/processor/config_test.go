package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"heatobserver/config"
)

// mixed is an environment and a command line with a value from every source but a file.
var (
	mixed     = append([]string{"REDIS_URL=redis://observer:hunter2@redis:6380/1", "P28_THROTTLE_BURST=5", "BINANCE_KEY=hunter2", "GOMEMLIMIT=off", "P28_LATE_OBS_POL_MS=5"}, usual...)
	mixedArgs = []string{"config", "--late-obs-poll-ms", "50", "--pprof", "--late-obs-enabled=NO", "--redis-password=hunter2"}
)

func TestConfigTable(t *testing.T) {
	code, stdout, stderr := processor(t, mixed, mixedArgs...)
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	golden(t, "config.txt", stdout)
	golden(t, "config.stderr.txt", stderr)
}

// TestConfigShowsTheLimit: what nobody has set follows the container, of which these tests may have one as well.
func TestConfigShowsTheLimit(t *testing.T) {
	values := func(source string) []config.Value {
		return []config.Value{
			{Setting: config.Setting{Name: "GOGC"}, Text: "200", Source: config.SourceDefault},
			{Setting: config.Setting{Name: "GOMEMLIMIT"}, Text: "-", Source: source},
		}
	}
	for _, c := range []struct {
		source     string
		limit      int64
		text, from string
	}{
		{config.SourceDefault, 1 << 20, "1048576", "container"},
		{config.SourceDefault, 0, "-", config.SourceDefault},
		{"environment", 1 << 20, "-", "environment"},
	} {
		got := values(c.source)
		showLimit(got, c.limit)
		if got[0].Source != config.SourceDefault || got[1].Text != c.text || got[1].Source != c.from {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}

func TestConfigJSON(t *testing.T) {
	code, stdout, _ := processor(t, mixed, append(mixedArgs, "--json", "--drain-timeout-sec", "0")...)
	if code != 78 {
		t.Errorf("exit code %d", code)
	}
	if !json.Valid([]byte(stdout)) {
		t.Error("no JSON")
	}
	golden(t, "config.json", stdout)
}

func TestConfigStrict(t *testing.T) {
	code, _, stderr := processor(t, mixed, append(mixedArgs, "--strict")...)
	if code != 78 || strings.Contains(stderr, "warning:") || !strings.Contains(stderr, "error: P28_LATE_OBS_POL_MS (environment): is no setting") {
		t.Errorf("exit code %d, standard error:\n%s", code, stderr)
	}
	if code, _, stderr := processor(t, usual, "config", "--strict"); code != 0 || stderr != "" {
		t.Errorf("nothing to warn about: exit code %d, standard error:\n%s", code, stderr)
	}
}

func TestConfigSaysAllErrors(t *testing.T) {
	code, stdout, stderr := processor(t, nil, "config", "--late-obs-poll-ms=fast", "--group-late=p28_early")
	if code != 78 {
		t.Errorf("exit code %d", code)
	}
	for _, name := range []string{"P28_HEAT_LOOKUP_PREFIX", "P28_LATE_OBS_POLL_MS", "P28_GROUP_LATE"} {
		if !strings.Contains(stderr, "error: "+name) {
			t.Errorf("no error about %s", name)
		}
	}
	if n := strings.Count(stderr, "\n"); n != 3 {
		t.Errorf("%d lines, want 3:\n%s", n, stderr)
	}
	if !strings.Contains(stdout, "fast") {
		t.Error("the table lacks the wrong value")
	}
}

func TestConfigFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apply-layer.env")
	text := "# shared\nBINANCE_KEY=hunter2\nP28_HEAT_LOOKUP_PREFIX=\"quantum:harvest:heat:by_plan:\"\nP28_CONSUMER=worker-7\nP28_LATE_OBS_POLL_MS=70\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := processor(t, nil, "config", "--env-file", path)
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, standard error %q", code, stderr)
	}
	if !strings.Contains(stdout, path+":5") || strings.Contains(stdout, "hunter2") {
		t.Errorf("the table lacks the line, or shows what is not ours:\n%s", stdout)
	}
}
