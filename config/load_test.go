package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minimal is the least environment with which the processor starts.
var minimal = []string{"P28_HEAT_LOOKUP_PREFIX=" + usualLookupPrefix}

func environ(pairs ...string) []string { return append(append([]string{}, minimal...), pairs...) }

func load(t *testing.T, src Sources) (Config, Report) {
	t.Helper()
	src.Hostname = "worker-7"
	cfg, report, err := Load(src)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return cfg, report
}

// whole has cmp look into fields that are not exported.
var whole = cmp.Exporter(func(reflect.Type) bool { return true })

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaults(t *testing.T) {
	cfg, report := load(t, Sources{Environ: minimal})
	want := Config{
		HeatLookupPrefix: "quantum:harvest:heat:by_plan:",
		enabled:          true,
		Streams: Streams{
			Plan: "quantum:stream:apply.plan", Decision: "quantum:stream:harvest.heat.decision",
			Observed: "quantum:stream:apply.heat.observed", Dead: "quantum:stream:apply.heat.dead",
			Redrive: "quantum:stream:apply.heat.redrive", ObservedMaxLen: 10_000, DeadMaxLen: 100_000,
		},
		Groups: Groups{Early: "p28_early", Late: "p28_late", Start: "auto", Consumer: "worker-7"},
		Read:   Read{Batch: 256, Block: 900 * time.Millisecond, ClaimMinIdle: 5 * time.Second, MaxFailures: 5},
		Early:  Early{MaxInflight: 2048},
		Late: Late{
			enabled: true, MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond, MaxWorkers: 4, MaxInflight: 200,
			MaxRedisErrors: 2, OnSaturation: "queue", Notify: "auto", SweepFactor: 10, Watch: 30 * time.Second,
		},
		Output: Output{
			DedupeTTL: 10 * time.Minute, DedupePrefix: "quantum:dedupe:p28:", KeyPrefix: "quantum:p28:",
			MaxDebugChars: 400, CommitBatch: 128,
		},
		Redis:        Redis{host: "localhost", port: 6379},
		HTTP:         HTTP{Addr: "127.0.0.1:8043"},
		Log:          Log{Level: "info", Format: "auto"},
		Runtime:      Runtime{GCPercent: 200},
		DrainTimeout: 10 * time.Second,
	}
	if diff := cmp.Diff(want, cfg, whole); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	if len(report.Warnings) != 0 {
		t.Errorf("warnings: %v", report.Warnings)
	}
}

func TestPrecedence(t *testing.T) {
	file := writeFile(t, "P28_LATE_OBS_POLL_MS=10\nP28_LATE_OBS_MAX_WORKERS=11\nP28_DEDUPE_TTL_SEC=1200\nREDIS_URL=redis://elsewhere\n")
	cfg, report := load(t, Sources{
		EnvFile: file,
		Environ: environ("P28_LATE_OBS_POLL_MS=20", "P28_LATE_OBS_MAX_WORKERS=21", "REDIS_URL="),
		Flags:   map[string]string{"P28_LATE_OBS_POLL_MS": "30"},
	})
	for _, tc := range []struct{ name, text, source string }{
		{"P28_LATE_OBS_POLL_MS", "30", "flag --late-obs-poll-ms"},
		{"P28_LATE_OBS_MAX_WORKERS", "21", "environment"},
		{"P28_DEDUPE_TTL_SEC", "1200", file + ":3"},
		{"P28_OBS_MAXLEN", "10000", "default"},
		{"REDIS_URL", "", "environment"}, // an empty value takes away what a weaker source said
	} {
		v := valueOf(t, report, tc.name)
		if v.Text != tc.text || v.Source != tc.source {
			t.Errorf("%s is %q from %s, want %q from %s", tc.name, v.Text, v.Source, tc.text, tc.source)
		}
	}
	if cfg.Late.Poll != 30*time.Millisecond || cfg.Redis.Server().Addr != "localhost:6379" {
		t.Errorf("poll %v, server %+v", cfg.Late.Poll, cfg.Redis.Server())
	}
}

func valueOf(t *testing.T, report Report, name string) Value {
	t.Helper()
	for _, v := range report.Values {
		if v.Setting.Name == name {
			return v
		}
	}
	t.Fatalf("no value of %s in the report", name)
	return Value{}
}

func TestBooleans(t *testing.T) {
	for text, want := range map[string]bool{
		"true": true, "1": true, "yes": true, "on": true, "TRUE": true, "Yes": true, " on ": true,
		"false": false, "0": false, "no": false, "off": false, "OFF": false,
	} {
		cfg, report := load(t, Sources{Environ: environ("P28_LATE_OBS_ENABLED=" + text)})
		if cfg.Late.enabled != want {
			t.Errorf("%q is %v", text, cfg.Late.enabled)
		}
		if got := valueOf(t, report, "P28_LATE_OBS_ENABLED").Text; got != map[bool]string{true: "true", false: "false"}[want] {
			t.Errorf("%q is shown as %q", text, got)
		}
	}
	for _, text := range []string{"", "y", "2", "enabled", "truefalse"} {
		if _, _, err := Load(Sources{Environ: environ("P28_LATE_OBS_ENABLED=" + text)}); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestSwitches(t *testing.T) {
	for _, tc := range []struct {
		obs, lateObs string
		early, late  bool
	}{
		{"true", "true", true, true},
		{"true", "false", true, false},
		{"false", "true", false, false},
	} {
		cfg, _ := load(t, Sources{Environ: environ("P28_HEAT_OBS_ENABLED="+tc.obs, "P28_LATE_OBS_ENABLED="+tc.lateObs)})
		if cfg.EarlyEnabled() != tc.early || cfg.LateEnabled() != tc.late {
			t.Errorf("%+v: early %v, late %v", tc, cfg.EarlyEnabled(), cfg.LateEnabled())
		}
	}
}

func TestEveryErrorAtOnce(t *testing.T) {
	_, report, err := Load(Sources{Environ: []string{
		"P28_LATE_OBS_POLL_MS=fast", "P28_MAX_DEBUG_CHARS=159", "P28_LATE_OBS_NOTIFY=maybe",
		"REDIS_PASSWORD=hunter2", "REDIS_URL=ftp://user:hunter2@host", "P28_PLAN_STREAM=with space",
	}})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"P28_HEAT_LOOKUP_PREFIX: is missing: it has no default, because a wrong value looks like heat that never comes; its usual value is quantum:harvest:heat:by_plan:",
		`P28_LATE_OBS_POLL_MS="fast" (environment): is not a whole number; allowed: 1 to 60000 ms`,
		`P28_MAX_DEBUG_CHARS="159" (environment): is out of range; allowed: 160 to 65536 characters`,
		`P28_LATE_OBS_NOTIFY="maybe" (environment): is none of the words allowed: auto, off`,
		`REDIS_URL="***" (environment): must begin with redis:// or rediss://`,
		`P28_PLAN_STREAM="with space" (environment): has spaces or control characters`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if t.Failed() {
		t.Logf("error:\n%v", err)
	}
	if len(report.Values) != len(Settings()) {
		t.Errorf("%d values in the report, want %d", len(report.Values), len(Settings()))
	}
}
