package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"heatobserver/entry"
	"heatobserver/event"
)

var (
	plan = event.Plan{ID: planID, PlanID: "a4f3b8c2d1e5f6a7", Symbol: "BTCUSDT", Decision: "EXECUTE"}
	made = time.UnixMilli(1_700_000_000_999)
)

func heat(t testing.TB) event.Heat {
	h, err := hot.Heat()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// cases are one observation of every kind that the contract knows, as a wait ends in it.
func cases(t testing.TB) []event.Observation {
	after := func(ms int) event.Verdict {
		return event.Verdict{At: planID.Time(), Waited: time.Duration(ms)*time.Millisecond + 900*time.Microsecond}
	}
	verdict := func(v event.Verdict, reason event.Reason, noticed event.Noticed) event.Verdict {
		v.Reason, v.Noticed = reason, noticed
		if reason == event.OK {
			v.Heat = heat(t)
		}
		return v
	}
	failed := verdict(after(130), event.RedisError, event.Sweep)
	failed.Err = errors.New("look up heat: dial tcp 10.0.0.5:6379: connect: connection refused")
	unread := verdict(after(5), event.ParseError, event.AtOnce)
	unread.Err = errors.New(`decode heat: heat_score is not a finite decimal number: "hot\n"`)
	late := verdict(after(2750), event.OK, event.AtOnce)
	late.AfterDeadline = true
	undecided := plan
	undecided.Decision = ""
	return []event.Observation{
		event.Observe(plan, event.Early, verdict(after(2), event.OK, event.AtOnce), made),
		event.Observe(undecided, event.Early, verdict(after(2), event.Missing, event.AtOnce), made),
		event.Observe(plan, event.Late, verdict(after(104), event.OK, event.Notification), made),
		event.Observe(plan, event.Late, late, made),
		event.Observe(plan, event.Late, verdict(after(2000), event.Timeout, event.Deadline), made),
		event.Observe(plan, event.Late, failed, made),
		event.Observe(plan, event.Early, unread, made),
	}
}

// TestObservationGolden holds the wire form byte for byte: other services read it.
func TestObservationGolden(t *testing.T) {
	const file = "testdata/observations.golden"
	var out bytes.Buffer
	for _, o := range cases(t) {
		fmt.Fprintf(&out, "# %s %s\n%s", o.Point, o.Reason, o.AppendFields(nil, 400))
	}
	if *update {
		if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("the wire form has changed (-want +got):\n%s", diff)
	}
}

func TestObservationWireForm(t *testing.T) {
	for _, o := range cases(t) {
		fields := o.AppendFields(nil, 400)
		if err := fields.Check(); err != nil {
			t.Fatalf("%s %s: %v", o.Point, o.Reason, err)
		}
		var names []string
		for name := range fields.All() {
			names = append(names, string(name))
		}
		if diff := cmp.Diff(event.ObservationFields[:], names); diff != "" {
			t.Errorf("%s %s: names differ (-want +got):\n%s", o.Point, o.Reason, diff)
		}
		point, reason, ok := event.PeekObservation(fields)
		if !ok || point != o.Point || reason != o.Reason {
			t.Errorf("peeked %v %v %v, want %v %v", point, reason, ok, o.Point, o.Reason)
		}
		if got := event.PeekAfterDeadline(fields); got != o.AfterDeadline {
			t.Errorf("%s %s: peeked after_deadline %v", o.Point, o.Reason, got)
		}
		got, err := event.DecodeObservation(fields)
		if err != nil {
			t.Errorf("%s %s: %v", o.Point, o.Reason, err)
		}
		if diff := cmp.Diff(o, got); diff != "" {
			t.Errorf("%s %s: decoded it differs (-want +got):\n%s", o.Point, o.Reason, diff)
		}
	}
}

func TestDebugJSON(t *testing.T) {
	observations := cases(t)
	tests := []struct {
		name  string
		o     event.Observation
		limit int
		want  string
	}{
		{"found", observations[0], 400, `{"in_action":"FULL_CLOSE","out_action":"PARTIAL_CLOSE_50","mode":"shadow","apply_decision":"EXECUTE","source_id":"1700000000000-7","wait_ms":2,"noticed":"at_once"}`},
		{"found, without in_action", observations[0], 160, `{"out_action":"PARTIAL_CLOSE_50","mode":"shadow","apply_decision":"EXECUTE","source_id":"1700000000000-7","wait_ms":2,"noticed":"at_once"}`},
		{"found after the deadline, without three", observations[3], 117 + 43, `{"mode":"shadow","apply_decision":"EXECUTE","source_id":"1700000000000-7","wait_ms":2750,"noticed":"at_once","after_deadline":true}`},
		{"not found", observations[1], 400, `{"apply_decision":"","source_id":"1700000000000-7","wait_ms":2,"noticed":"at_once"}`},
		{"error", observations[6], 400, `{"apply_decision":"EXECUTE","error":"decode heat: heat_score is not a finite decimal number: \"hot\\n\"","source_id":"1700000000000-7","wait_ms":5,"noticed":"at_once"}`},
		{"error, cut before an escape", observations[6], 160, `{"error":"decode heat: heat_score is not a finite decimal number: \"hot\\n\"","source_id":"1700000000000-7","wait_ms":5,"noticed":"at_once"}`},
		{"a limit below the smallest", observations[1], 1, `{"apply_decision":"","source_id":"1700000000000-7","wait_ms":2,"noticed":"at_once"}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, _ := test.o.AppendFields(nil, test.limit).Get("debug_json")
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// TestDebugJSONDropsNoMoreThanItMust walks the limit down: what fits exactly stays, and one character less costs one key.
func TestDebugJSONDropsNoMoreThanItMust(t *testing.T) {
	o := cases(t)[0]
	o.Decision = strings.Repeat("d", 200)
	at := func(limit int) string {
		got, _ := o.AppendFields(nil, limit).Get("debug_json")
		return got
	}
	limit := len(at(1000))
	for _, dropped := range []string{"in_action", "out_action", "mode", "apply_decision"} {
		if got := at(limit); len(got) != limit || !strings.Contains(got, dropped) {
			t.Errorf("limit %d: %s", limit, got)
		}
		got := at(limit - 1)
		if strings.Contains(got, dropped) {
			t.Errorf("limit %d: %s", limit-1, got)
		}
		limit = len(got)
	}

	failed := cases(t)[5]
	failed.Error = strings.Repeat("e", 500)
	if got, _ := failed.AppendFields(nil, 400).Get("debug_json"); utf8.RuneCountInString(got) != 400 {
		t.Errorf("%d characters where 400 fit: %s", utf8.RuneCountInString(got), got)
	}
}

// TestDebugJSONFits proves that ours are never dropped at the smallest limit, whatever the values.
func TestDebugJSONFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringN(0, 300, -1), rapid.StringOfN(rapid.RuneFrom([]rune{'"', '\\', '\n', 'a', '\u2028', '€', '😀'}), 50, 300, -1))
		o := event.Observation{
			PlanID: "p", Symbol: "s", Decision: text.Draw(t, "decision"),
			Point:         rapid.SampledFrom(event.Points[:]).Draw(t, "point"),
			Reason:        rapid.SampledFrom(event.Reasons[:]).Draw(t, "reason"),
			Heat:          event.Heat{InAction: text.Draw(t, "in"), OutAction: text.Draw(t, "out"), Mode: text.Draw(t, "mode")},
			Error:         text.Draw(t, "error"),
			SourceID:      rapid.SampledFrom([]entry.ID{{}, planID, entry.MaxID}).Draw(t, "id"),
			WaitMs:        rapid.SampledFrom([]int64{0, 2000, math.MaxInt64}).Draw(t, "wait"),
			Noticed:       event.Notification,
			AfterDeadline: rapid.Bool().Draw(t, "after"),
		}
		limit := rapid.OneOf(rapid.Just(event.MinDebugChars), rapid.IntRange(0, 2000)).Draw(t, "limit")
		got, _ := o.AppendFields(nil, limit).Get("debug_json")
		n := utf8.RuneCountInString(got)
		if n > max(limit, event.MinDebugChars) {
			t.Fatalf("%d characters, limit %d: %s", n, limit, got)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' }) {
			t.Fatalf("a line break in %q", got)
		}
		var members map[string]any
		if err := json.Unmarshal([]byte(got), &members); err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		for _, name := range []string{"source_id", "wait_ms", "noticed"} {
			if _, ok := members[name]; !ok {
				t.Fatalf("no %s in %s", name, got)
			}
		}
		if _, ok := members["after_deadline"]; ok != o.AfterDeadline {
			t.Fatalf("after_deadline is %v in %s", ok, got)
		}
		errText, hasError := members["error"].(string)
		if hasError != (o.Reason == event.RedisError || o.Reason == event.ParseError) {
			t.Fatalf("error is %v in %s", hasError, got)
		}
		kept, cut := strings.CutSuffix(errText, "…")
		if hasError && errText != o.Error && (!cut || !strings.HasPrefix(o.Error, kept)) {
			t.Fatalf("error %q is no beginning of %q", errText, o.Error)
		}
		const longest = 6 // what a character takes at most
		if hasError && errText != o.Error && n <= max(limit, event.MinDebugChars)-longest {
			t.Fatalf("cut to %d characters, limit %d, though one more would have fitted: %s", n, limit, got)
		}
		// Keys are dropped from the first to the last.
		order := []string{"in_action", "out_action", "mode", "apply_decision"}
		if o.Reason != event.OK {
			order = order[3:]
		}
		for i, name := range order {
			if _, ok := members[name]; ok {
				for _, later := range order[i:] {
					if _, ok := members[later]; !ok {
						t.Fatalf("%s is dropped, %s is not: %s", later, name, got)
					}
				}
				break
			}
		}
	})
}

func TestErrorTextCarriesNoSecret(t *testing.T) {
	for _, text := range []string{
		"dial redis://default:hunter2@10.0.0.5:6379/0: connection refused",
		"parse rediss://default:hunter2/@/@10.0.0.5: invalid port",
		"ERR unknown command `HELLO`, with args beginning with: `3` `AUTH` `default` `hunter2` ",
		"ERR unknown command 'AUTH', with args beginning with:\n'hunter2' ",
	} {
		v := event.Verdict{Reason: event.RedisError, Err: errors.New(text)}
		if got := event.Observe(plan, event.Late, v, made).Error; strings.Contains(got, "hunter2") || !strings.Contains(got, "***") {
			t.Errorf("%q became %q", text, got)
		}
	}
	v := event.Verdict{Reason: event.ParseError, Err: errors.New("a\r\nb\x00c\xffd\u2028" + strings.Repeat("€", 10_000))}
	got := event.Observe(plan, event.Late, v, made).Error
	if !strings.HasPrefix(got, "a  b c\uFFFDd €") || len(got) > 1100 || !utf8.ValidString(got) {
		t.Errorf("got %.40q… of %d bytes", got, len(got))
	}
}

func TestDecodeObservationOfOthers(t *testing.T) {
	python := []string{
		"ts_epoch", "1700000000", "plan_id", "p", "symbol", "s", "apply_component", "apply",
		"obs_point", "publish_plan_post", "heat_found", "1", "heat_level", "hot", "heat_reason", "ok",
		"debug_json", `{"in_action":"FULL_CLOSE","mode":["shad`,
	}
	want := event.Observation{TsEpoch: 1_700_000_000, PlanID: "p", Symbol: "s", Point: event.Late, Reason: event.OK, Heat: event.Heat{Level: "hot"}}
	got, err := event.DecodeObservation(entry.Make(python...))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	wrong := map[string][]string{
		"no plan_id":      {"plan_id", ""},
		"time":            {"ts_epoch", "1700000000.5"},
		"obs_point":       {"obs_point", "somewhere"},
		"heat_reason":     {"heat_reason", "because"},
		"heat_found":      {"heat_found", "yes"},
		"found, but why":  {"heat_reason", "missing"},
		"ok, but missing": {"heat_found", "0"},
		"neither 0 nor 1": {"heat_reason", "missing", "heat_found", "2"},
	}
	for name, pair := range wrong {
		if got, err := event.DecodeObservation(entry.Make(append(python, pair...)...)); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
	if _, err := event.DecodeObservation(entry.Make(python...)[:60]); err == nil {
		t.Error("broken fields are accepted")
	}
	for _, fields := range []entry.Fields{nil, entry.Make("obs_point", "publish_plan_post"), entry.Make("heat_reason", "ok"), entry.Make("obs_point", "x", "heat_reason", "ok"), entry.Make("obs_point", "publish_plan_post", "heat_reason", "x")} {
		if point, reason, ok := event.PeekObservation(fields); ok {
			t.Errorf("%q: peeked %v %v", fields, point, reason)
		}
	}
}

func TestObservationUUID(t *testing.T) {
	if got := event.ObservationUUID(event.Late, "a4f3"); got != "publish_plan_post:a4f3" {
		t.Error(got)
	}
	o := event.Observation{Point: event.Early, PlanID: "a4f3"}
	if got := o.UUID(); got != "create_apply_plan:a4f3" {
		t.Error(got)
	}
}

func FuzzDecodeObservation(f *testing.F) {
	for _, o := range cases(f) {
		f.Add([]byte(o.AppendFields(nil, 400)))
	}
	f.Fuzz(func(t *testing.T, fields []byte) {
		event.PeekObservation(fields)
		o, err := event.DecodeObservation(fields)
		if err != nil {
			return
		}
		if !utf8.ValidString(o.Heat.OutAction) || !utf8.ValidString(o.Decision) {
			return // stands in debug_json too, which has to replace what is not UTF-8
		}
		wire := o.AppendFields(nil, 1<<30)
		again, err := event.DecodeObservation(wire)
		if diff := cmp.Diff(o, again); err != nil || diff != "" {
			t.Fatalf("%v (-first +second):\n%s", err, diff)
		}
		if point, reason, ok := event.PeekObservation(wire); !ok || point != o.Point || reason != o.Reason {
			t.Fatalf("peeked %v %v %v at %+v", point, reason, ok, o)
		}
		if got := event.PeekAfterDeadline(wire); got != o.AfterDeadline {
			t.Fatalf("peeked after_deadline %v at %+v", got, o)
		}
	})
}

func BenchmarkObserveAndEncode(b *testing.B) {
	v := event.Verdict{Reason: event.OK, Heat: heat(b), Waited: 104 * time.Millisecond, Noticed: event.Notification}
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		o := event.Observe(plan, event.Late, v, made)
		buf = o.AppendFields(buf[:0], 400)
	}
	b.SetBytes(int64(len(buf)))
}

func BenchmarkPeekObservation(b *testing.B) {
	o := cases(b)[2]
	fields := o.AppendFields(nil, 400)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := event.PeekObservation(fields); !ok {
			b.Fatal("not peeked")
		}
	}
}

func BenchmarkDecodeObservation(b *testing.B) {
	o := cases(b)[2]
	fields := o.AppendFields(nil, 400)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.DecodeObservation(fields); err != nil {
			b.Fatal(err)
		}
	}
}

func TestPeekObservationAllocatesNothing(t *testing.T) {
	o := cases(t)[2]
	fields := o.AppendFields(nil, 400)
	if n := testing.AllocsPerRun(100, func() { event.PeekObservation(fields); event.PeekAfterDeadline(fields) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	buf := make([]byte, 0, 1024)
	if n := testing.AllocsPerRun(100, func() { buf = o.AppendFields(buf[:0], 400) }); n != 0 {
		t.Errorf("encoding into a buffer that is large enough: %v allocations", n)
	}
}
