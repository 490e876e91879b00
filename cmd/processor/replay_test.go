package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

const (
	plansName     = "quantum:stream:apply.plan"
	decisionsName = "quantum:stream:harvest.heat.decision"
	observedName  = "quantum:stream:apply.heat.observed"
)

// at is an entry ID so many milliseconds after the beginning of the recorded history.
func at(ms int) string { return strconv.Itoa(1_700_000_000_000+ms) + "-*" }

// record writes a small history of which every observation is known, with what an observer recorded of it: one
// observation is missing, one doubled, and one a timeout though the heat was there in time.
func (w *world) record() {
	w.t.Helper()
	plan := func(ms int, id, symbol string) {
		w.do("XADD", plansName, at(ms), "plan_id", id, "symbol", symbol, "decision", "EXECUTE")
	}
	decision := func(ms int, id, score string) {
		w.do("XADD", decisionsName, at(ms), "ts_epoch", "1700000000", "plan_id", id, "symbol", "S", "heat_level", "hot",
			"heat_score", score, "heat_action", "NONE", "out_action", "SELL", "in_action", "BUY", "mode", "shadow", "debug_json", "{}")
	}
	observed := func(ms int, point, id, found, reason string, source, wait int) {
		w.do("XADD", observedName, at(ms), "ts_epoch", "1700000000", "plan_id", id, "symbol", "BTCUSDT", "apply_component", "apply",
			"obs_point", point, "heat_found", found, "heat_reason", reason, "debug_json",
			`{"source_id":"`+strings.Replace(at(source), "*", "0", 1)+`","wait_ms":`+strconv.Itoa(wait)+`}`)
	}
	const early, late = "create_apply_plan", "publish_plan_post"
	decision(0, "before", "0.1")
	plan(1000, "in-time", "BTCUSDT")
	plan(1010, "too-late", "ETHUSDT")
	plan(1020, "never", "ETHUSDT")
	plan(1030, "before", "<b>&USDT")
	plan(1040, "unreadable", "BTCUSDT")
	w.do("XADD", plansName, at(1050), "plan_id", "without-symbol")
	w.do("XADD", plansName, at(1060), "_watermill_message_uuid", "u", "metadata", "\x80", "payload", `{"plan_id":"enveloped","symbol":"BTCUSDT"}`)
	plan(1070, "overlooked", "BTCUSDT")
	decision(1120, "in-time", "0.5")
	decision(1140, "unreadable", "hot")
	decision(1160, "enveloped", "0.75")
	w.do("XADD", decisionsName, at(1170), "symbol", "S")
	plan(1500, "in-time", "BTCUSDT") // again
	decision(2270, "overlooked", "0.9")
	decision(3500, "too-late", "0.5")
	plan(61_000, "later", "BTCUSDT")
	decision(61_250, "later", "0.5")

	for i, id := range []string{"in-time", "too-late", "never"} {
		observed(1001+i*10, early, id, "0", "missing", 1000+i*10, 0)
	}
	observed(1031, early, "before", "1", "ok", 1030, 0)
	observed(1031, late, "before", "1", "ok", 1030, 0)
	observed(1041, early, "unreadable", "0", "missing", 1040, 0)
	observed(1061, early, "enveloped", "0", "missing", 1060, 0)
	observed(1071, early, "overlooked", "0", "missing", 1070, 0)
	observed(1121, late, "in-time", "1", "ok", 1000, 121)
	observed(1125, late, "in-time", "1", "ok", 1000, 121) // doubled
	observed(1162, late, "enveloped", "1", "ok", 1060, 101)
	observed(1241, late, "unreadable", "0", "parse_error", 1040, 200)
	observed(3011, late, "too-late", "0", "timeout", 1010, 2000)
	// Nothing late of "never".
	observed(3071, late, "overlooked", "0", "timeout", 1070, 2000)
	observed(61_001, early, "later", "0", "missing", 61_000, 0)
	observed(61_252, late, "later", "1", "ok", 61_000, 251)
	observed(80_000, late, "trimmed", "1", "ok", 79_900, 100) // its plan is gone; the history ends here
}

// archived is an archive of the history in Redis.
func (w *world) archived() string {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "archive")
	w.does(0, "archive", "--dir", dir, "--once")
	return dir
}

// state is all that commands which only read must leave as it is.
func (w *world) state() string {
	w.t.Helper()
	dump, err := w.rdb.Do(w.t.Context(), "DEBUG", "DIGEST").Text()
	require.NoError(w.t, err)
	return dump
}

func newRecorded(t *testing.T) *world {
	server := redistest.Start(t, redistest.WithConfig("enable-debug-command", "yes"))
	w := &world{t: t, rdb: server.Client(), environ: append([]string{"REDIS_URL=" + server.URL()}, usual...)}
	w.record()
	return w
}

func TestReplay(t *testing.T) {
	w := newRecorded(t)
	before := w.state()
	dir, file := w.archived(), filepath.Join(t.TempDir(), "observed.jsonl")
	for name, args := range map[string][]string{
		"replay.txt":       {"replay"},
		"replay.json":      {"replay", "--json", "--from", "-", "--to", "+", "--read-delay", "5ms", "--bridge-delay", "3ms"},
		"replay-part.json": {"replay", "--json", "--from", "1700000001020-0", "--to", "2023-11-14T22:13:21.030Z"},
	} {
		stdout, stderr := w.does(0, args...)
		require.Empty(t, stderr)
		golden(t, name, stdout)
		fromArchive, _ := w.does(0, append(args, "--archive", dir)...)
		require.Equal(t, stdout, fromArchive, "the same bytes from an archive")
	}
	_, stderr := w.does(0, "replay", "--gogc", "150", "--gomemlimit", "64GiB", "--log-level", "debug", "--log-format", "text")
	require.Regexp(t, `gogc=150 gomemlimit=68719476736\b`, stderr, "what the help offers is heeded")
	page := filepath.Join(t.TempDir(), "page.html")
	plain, _ := w.does(0, "replay")
	withPage, _ := w.does(0, "replay", "--html", page)
	require.Equal(t, plain, withPage)
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	golden(t, "replay.html", string(html))
	require.Contains(t, string(html), "&lt;b&gt;&amp;USDT", "nothing of an entry becomes markup")
	w.does(1, "replay", "--html", "/nowhere/page.html")

	w.does(0, "replay", "--observations", file)
	fromStreams, err := os.ReadFile(file)
	require.NoError(t, err)
	golden(t, "replay-observations.jsonl", string(fromStreams))
	w.does(0, "replay", "--observations", file, "--archive", dir)
	fromArchive, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(fromStreams), string(fromArchive))
	require.Equal(t, before, w.state(), "replay only reads")
}

// TestReplayIntoStream: the entries are those of --observations, with the time of each in its ID, and never in a live
// stream.
func TestReplayIntoStream(t *testing.T) {
	t.Parallel()
	w := newRecorded(t)
	before := w.state()
	for _, live := range []string{
		observedName, plansName, decisionsName, "quantum:stream:apply.heat.dead", "quantum:stream:apply.heat.redrive",
		"quantum:p28:cursor:p28_late", "quantum:dedupe:p28:x", "quantum:harvest:heat:by_plan:x",
	} {
		_, stderr := w.does(2, "replay", "--to-stream", live)
		require.Contains(t, stderr, "live")
		// Neither is it when the configuration has another name in its place.
		w.does(2, "replay", "--heat-obs-stream", "lab:mine", "--plan-stream", "lab:plans", "--to-stream", live)
	}
	w.does(2, "replay", "--heat-obs-stream", "lab:mine", "--to-stream", "lab:mine")
	w.does(2, "replay", "--plan-streams", plansName+":{k}*2", "--to-stream", observedName+":{1}")
	require.Equal(t, before, w.state())

	file := filepath.Join(t.TempDir(), "observed.jsonl")
	w.does(0, "replay", "--to-stream", "lab:observed", "--observations", file, "--speed", "1000000x")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	entries := w.rdb.XRange(t.Context(), "lab:observed", "-", "+").Val()
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	require.Len(t, entries, len(lines))
	for i, e := range entries {
		want := map[string]any{}
		require.NoError(t, json.Unmarshal([]byte(lines[i]), &want))
		published, _ := strconv.ParseInt(strings.TrimSuffix(want["entry_id"].(string), "-0"), 10, 64)
		require.Equal(t, strconv.FormatInt(published+int64(want["wait_ms"].(float64)), 10), e.ID[:13])
		delete(want, "entry_id")
		delete(want, "wait_ms")
		require.Equal(t, want, e.Values)
	}
	_, stderr := w.does(2, "replay", "--to-stream", "lab:observed")
	require.Contains(t, stderr, "take a new name")
	w.do("SET", "lab:text", "1")
	w.does(2, "replay", "--to-stream", "lab:text")
}

func TestReplayThatCannotBe(t *testing.T) {
	w := newRecorded(t)
	for _, args := range [][]string{
		{"--from", "yesterday"}, {"--from", "2-0", "--to", "1-0"}, {"--speed", "5"}, {"--speed", "-1x"}, {"--read-delay", "-1s"},
		{"--bridge-delay", "-1s"}, {"--archive", t.TempDir()}, {"--archive", "/nowhere"}, {"--observations", "/nowhere/file"},
	} {
		w.does(2, append([]string{"replay"}, args...)...)
	}
	away := &world{t: t, environ: append([]string{"REDIS_URL=redis://127.0.0.1:1"}, usual...)}
	away.does(2, "replay")
	(&world{t: t, environ: []string{"REDIS_PORT=one"}}).does(78, "replay")

	// What is good before the damage is shown.
	dir := w.archived()
	away.does(2, "archive", "import", dir, "--plans", "lab:plans")
	files, err := filepath.Glob(filepath.Join(dir, "plans-*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	content, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(files[0], append(content, content[:len(content)-5]...), 0o600)) // a torn frame
	stdout, stderr := w.does(1, "replay", "--archive", dir)
	require.Contains(t, stderr, files[0]+":")
	require.Contains(t, stdout, "could not be read to its end")
	require.Contains(t, stdout, "publish_plan_post")
}

// TestReplayAudit: of the recorded history one observation is missing, one doubled, and one disagrees.
func TestReplayAudit(t *testing.T) {
	t.Parallel()
	w := newRecorded(t)
	before, dir := w.state(), w.archived()
	for name, args := range map[string][]string{"audit.txt": nil, "audit.json": {"--json"}} {
		stdout, stderr := w.does(1, append([]string{"replay", "audit"}, args...)...)
		require.Contains(t, stderr, "1 observations are missing and 1 doubled")
		golden(t, name, stdout)
		fromArchive, _ := w.does(1, append([]string{"replay", "audit", "--archive", dir}, args...)...)
		require.Equal(t, stdout, fromArchive)
	}
	// Where both are outside of the range nothing is wrong.
	w.does(0, "replay", "audit", "--from", "1700000001021", "--json")
	require.Equal(t, before, w.state())

	// What replay itself writes agrees in everything.
	w.does(0, "replay", "--to-stream", "lab:observed")
	stdout, _ := w.does(0, "replay", "audit", "--heat-obs-stream", "lab:observed", "--json")
	var audit auditJSON
	require.NoError(t, json.Unmarshal([]byte(stdout), &audit))
	require.EqualValues(t, 16, audit.Agree)
	require.Zero(t, audit.Disagree+audit.Within+audit.Unprovable)

	w.does(2, "replay", "audit", "--tolerance", "-1s")
	w.does(2, "replay", "audit", "--archive", "/nowhere")
}

func TestReplayWhatIf(t *testing.T) {
	t.Parallel()
	w := newRecorded(t)
	before, dir := w.state(), w.archived()
	for name, args := range map[string][]string{
		"what-if.txt":           {"--max-wait", "100ms,1s,2s,3s", "--inflight", "2,0", "--on-saturation", "skip", "--target", "60%"},
		"what-if.json":          {"--max-wait", "500ms", "--poll", "100ms", "--inflight", "3", "--longest", "1s", "--json"},
		"what-if-estimate.json": {"--max-wait", "100ms,500ms,5s", "--estimate", "--target", "0.5", "--json"},
		"what-if-estimate.txt":  {"--max-wait", "500ms,100ms,5s", "--estimate"},
	} {
		args = append([]string{"replay", "what-if"}, args...)
		stdout, stderr := w.does(0, args...)
		require.Empty(t, stderr)
		golden(t, name, stdout)
		fromArchive, _ := w.does(0, append(args, "--archive", dir)...)
		require.Equal(t, stdout, fromArchive)
	}
	require.Equal(t, before, w.state())
	for _, args := range [][]string{
		{"--target", "2"}, {"--target", "0%"}, {"--max-wait", "0s"}, {"--max-wait", "soon"}, {"--inflight", "-1"}, {"--on-saturation", "x"},
		{"--longest", "1h"}, {"--max-wait", "30m"}, {"--poll", "0s"}, {"--archive", "/nowhere"},
	} {
		w.does(2, append([]string{"replay", "what-if"}, args...)...)
	}

	// A curve without a plan that was found in time is an empty one.
	for _, args := range [][]string{{"--from", "1700000001020", "--to", "1700000001020"}, {"--from", "1700000003000", "--to", "1700000004000", "--estimate"}} {
		stdout, _ := w.does(0, append([]string{"replay", "what-if", "--json"}, args...)...)
		var out whatIfJSON
		require.NoError(t, json.Unmarshal([]byte(stdout), &out))
		require.Positive(t, out.Decided)
		require.Contains(t, stdout, `"curve": []`)
	}

	// Without decisions it is an estimate, and without observations nothing.
	w.do("XTRIM", decisionsName, "MAXLEN", 0)
	stdout, _ := w.does(0, "replay", "what-if")
	require.Contains(t, stdout, "ESTIMATE")
	w.do("XTRIM", observedName, "MAXLEN", 0)
	w.does(2, "replay", "what-if")
}

// TestAdvise: of the observations that found heat in time one took 251 ms from plan to entry, the longest.
func TestAdvise(t *testing.T) {
	w := newRecorded(t)
	before := w.state()
	for name, args := range map[string][]string{"advise.txt": {"--target", "60%"}, "advise.json": {"--target", "60%", "--json"}} {
		stdout, stderr := w.does(0, append([]string{"advise"}, args...)...)
		require.Empty(t, stderr)
		golden(t, name, stdout)
	}
	stdout, stderr := w.does(1, "advise")
	require.Contains(t, stderr, "reaches 99 %")
	require.Regexp(t, `(?m)^P28A3_TRUTH p99_ms=\d+ max_ms=\d+ samples=\d+ negative_outliers=\d+ headroom_x=\d+\.\d max_wait_ms=2000$`, stdout)
	require.Equal(t, before, w.state())
	w.do("XTRIM", decisionsName, "MAXLEN", 0)
	stdout, _ = w.does(0, "advise", "--target", "60%")
	require.Contains(t, stdout, "basis=estimate")
	w.do("XTRIM", observedName, "MAXLEN", 0)
	stdout, _ = w.does(1, "advise")
	require.Contains(t, stdout, "P28A3_TRUTH p99_ms=unknown max_ms=unknown samples=0 ")
	w.does(2, "advise", "--margin", "0.5")
}

func TestReplaySpeed(t *testing.T) {
	for text, want := range map[string]float64{"instant": 0, "original": 1, "10x": 10, "0.5x": 0.5} {
		var s replaySpeed
		require.NoError(t, s.UnmarshalText([]byte(text)))
		require.InDelta(t, want, float64(s), 0)
	}
	for _, text := range []string{"", "x", "10", "0x", "-1x", "NaNx", "+Infx"} {
		require.Error(t, new(replaySpeed).UnmarshalText([]byte(text)), "%q", text)
	}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		o := output{ctx: t.Context(), speed: 10}
		for _, at := range []int64{5000, 5000, 9000, 15_000} {
			require.NoError(t, o.pace(at))
		}
		require.Equal(t, time.Second, time.Since(began))
	})
}
