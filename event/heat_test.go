package event_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"heatobserver/entry"
	"heatobserver/event"
)

// hot is a decision as the heat gate writes it.
var hot = event.Decision{
	TsEpoch: "1700000000", Symbol: "BTCUSDT", PlanID: "a4f3b8c2d1e5f6a7", InAction: "FULL_CLOSE",
	OutAction: "PARTIAL_CLOSE_50", Action: "FULL_CLOSE", HeatLevel: "hot", HeatScore: "0.8123",
	HeatAction: "DOWNGRADE_FULL_TO_PARTIAL", RecommendedPartial: "0.5", Reason: "heat_high",
	InputsAgeSec: "3", Mode: "shadow", DebugJSON: `{"v":1}`,
}

func TestDecodeHeat(t *testing.T) {
	want := event.Heat{
		TsEpoch: "1700000000", Level: "hot", Score: "0.8123", Action: "DOWNGRADE_FULL_TO_PARTIAL",
		InAction: "FULL_CLOSE", OutAction: "PARTIAL_CLOSE_50", RecommendedPartial: "0.5", Mode: "shadow",
	}
	got, err := hot.Heat()
	if err != nil || got != want {
		t.Fatalf("got %+v, %v; want %+v", got, err, want)
	}
	if again, err := event.DecodeHeat(got.All()); err != nil || again != got {
		t.Fatalf("decoded again: %+v, %v; want %+v", again, err, got)
	}
	if got, err := event.DecodeHeat(maps.All(map[string]string{"unknown": "\xff"})); err != nil || got != (event.Heat{}) {
		t.Fatalf("a hash with none of our fields: %+v, %v; want the zero Heat", got, err)
	}
}

func TestDecodeHeatNumbers(t *testing.T) {
	good := []string{"", "0", "1", "0.42", "-1", "+3", "1700000000", "1700000000.123", ".5", "5.", "1e-05", "2E3", "1e-999"}
	bad := []string{
		" ", "hot", "nan", "NaN", "inf", "-Infinity", "0x10", "0x1p4", "1_000", "1e999", "1,5", " 1", "1 ",
		"1..2", ".", "-", "e5", "--1", "1e", "٣", "None",
	}
	for _, name := range []string{"heat_score", "ts_epoch"} {
		for _, value := range good {
			if _, err := event.DecodeHeat(maps.All(map[string]string{name: value})); err != nil {
				t.Errorf("%s %q: %v", name, value, err)
			}
		}
		for _, value := range bad {
			if h, err := event.DecodeHeat(maps.All(map[string]string{name: value})); err == nil {
				t.Errorf("%s %q is accepted: %+v", name, value, h)
			} else if !strings.Contains(err.Error(), name) {
				t.Errorf("%s %q: the error does not name the field: %v", name, value, err)
			}
		}
	}
}

func TestDecodeHeatText(t *testing.T) {
	bad := map[string]string{
		"not UTF-8": "\xff", "line break": "a\nb", "NUL": "\x00", "DEL": "\x7f", "C1": "\u009b", "separator": "\u2029",
		"obs_point": "OBS_POINT", "heat_found": "heat_found", "too long": strings.Repeat("x", 1025),
	}
	for _, name := range event.HeatFields {
		for why, value := range bad {
			if _, err := event.DecodeHeat(maps.All(map[string]string{name: value})); err == nil {
				t.Errorf("%s: %s is accepted", name, why)
			} else if text := err.Error(); len(text) > 300 || strings.ContainsAny(text, "\r\n") {
				t.Errorf("%s: error text is unfit for an observation: %q", name, text)
			}
		}
	}
	for _, name := range []string{"heat_level", "heat_action", "in_action", "out_action", "recommended_partial", "mode"} {
		for _, value := range []string{"", "unknown", "heiß", "obs_points", strings.Repeat("x", 1024)} {
			if _, err := event.DecodeHeat(maps.All(map[string]string{name: value})); err != nil {
				t.Errorf("%s: %.20q: %v", name, value, err)
			}
		}
	}
	for _, name := range []string{"reason", "debug_json", "symbol", "plan_id"} { // not copied
		if _, err := event.DecodeHeat(maps.All(map[string]string{name: "a\nb"})); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDecisionWireForm(t *testing.T) {
	fields := hot.Fields()
	want := []string{
		"ts_epoch", "1700000000", "symbol", "BTCUSDT", "plan_id", "a4f3b8c2d1e5f6a7", "in_action", "FULL_CLOSE",
		"out_action", "PARTIAL_CLOSE_50", "action", "FULL_CLOSE", "heat_level", "hot", "heat_score", "0.8123",
		"heat_action", "DOWNGRADE_FULL_TO_PARTIAL", "recommended_partial", "0.5", "reason", "heat_high",
		"inputs_age_sec", "3", "mode", "shadow", "debug_json", `{"v":1}`,
	}
	if diff := cmp.Diff(want, fields.Values()); diff != "" {
		t.Errorf("the 14 fields differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, hot.Pairs()); diff != "" {
		t.Errorf("the 14 pairs differ (-want +got):\n%s", diff)
	}
	wantHash := append(append(append([]string{}, want[:10]...), want[12:22]...), want[24:]...)
	if diff := cmp.Diff(wantHash, hot.HashPairs()); diff != "" {
		t.Errorf("the 12 hash fields differ (-want +got):\n%s", diff)
	}
}

func TestDecodeDecisionErrors(t *testing.T) {
	tests := map[string]entry.Fields{
		"no plan_id":         entry.Make("symbol", "s"),
		"plan_id with break": entry.Make("plan_id", "a\nb"),
		"too large":          entry.Make("plan_id", "p", "debug_json", strings.Repeat("x", 1<<20)),
		"broken":             hot.Fields()[:50],
		"empty":              nil,
	}
	for name, fields := range tests {
		d, err := event.DecodeDecision(planID, fields)
		if err == nil {
			t.Errorf("%s is accepted: %+v", name, d)
			continue
		}
		if _, _, _, peeked := event.PeekDecision(planID, fields); peeked == nil || peeked.Error() != err.Error() {
			t.Errorf("%s: decoded: %v, peeked: %v", name, err, peeked)
		}
	}
	largest := entry.Make("plan_id", "p", "debug_json", strings.Repeat("x", event.MaxPlanBytes-50))
	largest = entry.Make("plan_id", "p", "debug_json", strings.Repeat("x", event.MaxPlanBytes-50+event.MaxPlanBytes-len(largest)))
	if _, err := event.DecodeDecision(planID, largest); err != nil || len(largest) != event.MaxPlanBytes {
		t.Errorf("%d bytes: %v", len(largest), err)
	}
	if _, _, _, err := event.PeekDecision(planID, largest); err != nil {
		t.Errorf("peeked at %d bytes: %v", len(largest), err)
	}
}

func TestDecisionRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var pairs []string
		for _, name := range event.DecisionFields {
			pairs = append(pairs, name, rapid.String().Draw(t, name))
		}
		pairs[5] = rapid.StringMatching(`[a-z0-9]{1,40}`).Draw(t, "plan_id")
		d, err := event.DecodeDecision(planID, entry.Make(pairs...))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pairs, d.Fields().Values()); diff != "" {
			t.Fatalf("encoded again it differs (-want +got):\n%s", diff)
		}
	})
}

func FuzzDecodeDecision(f *testing.F) {
	f.Add([]byte(hot.Fields()))
	f.Add([]byte(entry.Make("plan_id", "p", "heat_score", "much")))
	f.Fuzz(func(t *testing.T, fields []byte) {
		d, err := event.DecodeDecision(planID, fields)
		if entry.Fields(fields).Check() == nil {
			id, heat, malformed, peeked := event.PeekDecision(planID, fields)
			if (err == nil) != (peeked == nil) || err != nil && err.Error() != peeked.Error() {
				t.Fatalf("decoded: %v, peeked: %v", err, peeked)
			}
			if want, bad := d.Heat(); err == nil && (string(id) != d.PlanID || heat.Heat() != want || fmt.Sprint(bad) != fmt.Sprint(malformed)) {
				t.Fatalf("decoded %+v (%v), peeked %s %+v (%v)", d, bad, id, heat.Heat(), malformed)
			}
		}
		if err != nil {
			return
		}
		if again, err := event.DecodeDecision(planID, d.Fields()); err != nil || again != d {
			t.Fatalf("read %+v, then %+v, %v", d, again, err)
		}
		if h, err := d.Heat(); err == nil {
			if again, err := event.DecodeHeat(h.All()); err != nil || again != h {
				t.Fatalf("read heat %+v, then %+v, %v", h, again, err)
			}
		}
	})
}

func BenchmarkDecodeHeat(b *testing.B) {
	hash := map[string]string{}
	for pairs := hot.HashPairs(); len(pairs) > 0; pairs = pairs[2:] {
		hash[pairs[0]] = pairs[1]
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.DecodeHeat(maps.All(hash)); err != nil {
			b.Fatal(err)
		}
	}
}
