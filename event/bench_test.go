package event_test

import (
	"testing"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
)

// What one plan costs without Redis; make bench-compare holds it against the committed baseline.

var benchFields = entry.Make(
	"plan_id", "a4f3b8c2d1e5f6a7", "symbol", "BTCUSDT", "action", "FULL_CLOSE_PROPOSED", "kill_score", "0.7312",
	"k_regime_flip", "0.1204", "k_sigma_spike", "0.3310", "k_ts_drop", "0.0091", "k_age_penalty", "0.2222",
	"new_sl_proposed", "48211.25", "R_net", "1.204", "decision", "EXECUTE", "reason_codes", "kill_score_warning",
	"steps", `[{"step":"close","side":"SELL","qty":0.250}]`, "qty", "0.250", "side", "SELL", "source", "apply_layer",
	"price", "49195.15", "reduceOnly", "true", "timestamp", "1700000000")

var benchHeat = event.Heat{
	TsEpoch: "1700000000", Level: "hot", Score: "0.8765", Action: "DOWNGRADE_FULL_TO_PARTIAL", InAction: "FULL_CLOSE_PROPOSED",
	OutAction: "PARTIAL_CLOSE_PROPOSED", RecommendedPartial: "0.25", Mode: "shadow",
}

var benchID = entry.ID{Ms: 1_700_000_000_123, Seq: 4}

func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := event.DecodePlan(benchID, benchFields); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkObserve(b *testing.B) {
	plan, err := event.DecodePlan(benchID, benchFields)
	if err != nil {
		b.Fatal(err)
	}
	now := benchID.Time().Add(3 * time.Millisecond)
	look := event.Look{Began: now, At: now, Kind: event.Found, Heat: benchHeat}
	b.ReportAllocs()
	for b.Loop() {
		wait := event.NewWait(event.Early, plan.Published(now), event.Rules{MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond})
		verdict, over := wait.Add(look, event.AtOnce)
		if !over {
			b.Fatal("the wait goes on")
		}
		if o := event.Observe(plan, event.Early, verdict, now); !o.Found() {
			b.Fatal("not found")
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	o := event.Observation{TsEpoch: 1_700_000_000, PlanID: "a4f3b8c2d1e5f6a7", Symbol: "BTCUSDT", Point: event.Early, Reason: event.OK,
		Heat: benchHeat, Decision: "EXECUTE", SourceID: benchID, WaitMs: 3}
	b.ReportAllocs()
	for b.Loop() {
		if f := o.AppendFields(make([]byte, 0, 768), 400); len(f) == 0 {
			b.Fatal("nothing")
		}
	}
}
