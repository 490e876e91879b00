package main

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"

	"heatobserver/config"
)

func TestLogger(t *testing.T) {
	for _, tc := range []struct {
		name     string
		log      config.Log
		terminal bool
		json     bool
		debug    bool
	}{
		{"auto elsewhere", config.Log{Level: "info", Format: "auto"}, false, true, false},
		{"auto on a terminal", config.Log{Level: "info", Format: "auto"}, true, false, false},
		{"JSON on a terminal", config.Log{Level: "debug", Format: "json"}, true, true, true},
		{"text elsewhere", config.Log{Level: "debug", Format: "text"}, false, false, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			log := newLogger(&b, tc.log, tc.terminal)
			log.Info("read", "stream", "s")
			if json.Valid(b.Bytes()) != tc.json || !strings.Contains(b.String(), "stream") {
				t.Errorf("logged %q", b.String())
			}
			if !tc.json && !tc.terminal && strings.Contains(b.String(), "\x1b") {
				t.Errorf("colours where no terminal is: %q", b.String())
			}
			b.Reset()
			log.Debug("read")
			if (b.Len() > 0) != tc.debug {
				t.Errorf("debug is logged: %v", b.Len() > 0)
			}
		})
	}
	if isTerminal(new(bytes.Buffer)) {
		t.Error("a buffer is a terminal")
	}
}

func TestStart(t *testing.T) {
	var logged bytes.Buffer
	sys := &system{stderr: &logged, environ: append([]string{"P28_LATE_OBS_POL_MS=5"}, usual...)}
	cfg, log, err := newSettings().start(t.Context(), sys)
	if err != nil || log == nil || cfg.Late.MaxInflight != 200 {
		t.Fatalf("start: %v, %+v", err, cfg.Late)
	}
	if !strings.Contains(logged.String(), `"variable":"P28_LATE_OBS_POL_MS"`) {
		t.Errorf("the warning is not logged: %s", logged.String())
	}
	sys.environ = nil
	if _, _, err := newSettings().start(t.Context(), sys); exitCode(err) != config.ExitConfig {
		t.Errorf("without the required prefix: %v", err)
	}
}

func TestDescribeBuild(t *testing.T) {
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.time", Value: "2026-11-24T04:00:00Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	info.Main.Version = "v1.2.0"
	if got := describeBuild(info); !strings.HasPrefix(got, "processor v1.2.0 (commit 0123456789ab, 2026-11-24T04:00:00Z, modified) go1.") {
		t.Errorf("version %q", got)
	}
	if got := describeBuild(&debug.BuildInfo{}); !strings.HasPrefix(got, "processor (devel) go1.") {
		t.Errorf("version %q", got)
	}
}
