package event_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"heatobserver/entry"
	"heatobserver/event"
)

var planID = entry.ID{Ms: 1_700_000_000_000, Seq: 7}

// asWritten is a plan as the Python apply layer writes it.
var asWritten = []string{
	"plan_id", "a4f3b8c2d1e5f6a7", "symbol", "BTCUSDT", "action", "PARTIAL_CLOSE_50", "kill_score", "0.42",
	"k_regime_flip", "0", "k_sigma_spike", "0.1", "k_ts_drop", "0.0", "k_age_penalty", "0.2",
	"new_sl_proposed", "", "R_net", "1.5", "decision", "EXECUTE", "reason_codes", "", "steps", `[{"step":"close"}]`,
	"qty", "0.5", "side", "SELL", "source", "apply", "price", "50000", "reduceOnly", "true", "timestamp", "1700000000",
}

func TestDecodePlan(t *testing.T) {
	const maxID = 200
	fields := func(pairs ...string) string { return string(entry.Make(pairs...)) }
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprint("f", i), "")
	}
	many = append(many, "plan_id", "p", "symbol", "s")

	tests := []struct {
		name    string
		payload string
		want    event.Plan
		reason  event.DeadReason
		field   string
	}{
		{name: "as the apply layer writes it", payload: fields(asWritten...), want: event.Plan{PlanID: "a4f3b8c2d1e5f6a7", Symbol: "BTCUSDT", Decision: "EXECUTE"}},
		{name: "shortest", payload: fields("plan_id", "p", "symbol", "s"), want: event.Plan{PlanID: "p", Symbol: "s"}},
		{name: "any order, unknown fields", payload: fields("x", "\xff", "symbol", "s", "obs_point", "heat_found", "plan_id", "p"), want: event.Plan{PlanID: "p", Symbol: "s"}},
		{name: "last of a name counts", payload: fields("plan_id", "old", "symbol", "s", "plan_id", "new"), want: event.Plan{PlanID: "new", Symbol: "s"}},
		{name: "not ASCII", payload: fields("plan_id", "plän", "symbol", "币安人生USDT"), want: event.Plan{PlanID: "plän", Symbol: "币安人生USDT"}},
		{name: "longest plan_id", payload: fields("plan_id", strings.Repeat("p", maxID), "symbol", "s"), want: event.Plan{PlanID: strings.Repeat("p", maxID), Symbol: "s"}},
		{name: "any decision", payload: fields("plan_id", "p", "symbol", "s", "decision", "MAYBE"), want: event.Plan{PlanID: "p", Symbol: "s", Decision: "MAYBE"}},
		{name: "decision with a line break", payload: fields("plan_id", "p", "symbol", "s", "decision", "a\nb"), want: event.Plan{PlanID: "p", Symbol: "s", Decision: "UNKNOWN"}},
		{name: "decision not UTF-8", payload: fields("plan_id", "p", "symbol", "s", "decision", "\xff"), want: event.Plan{PlanID: "p", Symbol: "s", Decision: "UNKNOWN"}},
		{name: "decision that lies", payload: fields("plan_id", "p", "symbol", "s", "decision", "Heat_Found"), want: event.Plan{PlanID: "p", Symbol: "s", Decision: "UNKNOWN"}},
		{name: "decision too long", payload: fields("plan_id", "p", "symbol", "s", "decision", strings.Repeat("d", maxID+1)), want: event.Plan{PlanID: "p", Symbol: "s", Decision: "UNKNOWN"}},

		{name: "a usual decision", payload: fields("plan_id", "p", "symbol", "s", "decision", "SKIP"), want: event.Plan{PlanID: "p", Symbol: "s", Decision: "SKIP"}},
		{name: "another", payload: fields("plan_id", "p", "symbol", "s", "decision", "BLOCKED"), want: event.Plan{PlanID: "p", Symbol: "s", Decision: "BLOCKED"}},
		{name: "none known", payload: fields("plan_id", "p", "symbol", "s", "decision", "UNKNOWN"), want: event.Plan{PlanID: "p", Symbol: "s", Decision: "UNKNOWN"}},
		{name: "as many fields as may be", payload: fields(many[len(many)-2*event.MaxPlanFields:]...), want: event.Plan{PlanID: "p", Symbol: "s"}},
		{name: "as many bytes as may be", payload: `{"plan_id":"p","symbol":"s"}` + strings.Repeat(" ", event.MaxPlanBytes-28), want: event.Plan{PlanID: "p", Symbol: "s"}},

		{name: "no plan_id", payload: fields("symbol", "s"), reason: event.NoPlanID, field: "plan_id"},
		{name: "empty plan_id", payload: fields("plan_id", "", "symbol", "s"), reason: event.NoPlanID, field: "plan_id"},
		{name: "plan_id in another case", payload: fields("PLAN_ID", "p", "symbol", "s"), reason: event.NoPlanID, field: "plan_id"},
		{name: "no fields", payload: "*0\r\n", reason: event.NoPlanID, field: "plan_id"},
		{name: "no symbol", payload: fields("plan_id", "p"), reason: event.NoSymbol, field: "symbol"},
		{name: "empty symbol", payload: fields("plan_id", "p", "symbol", ""), reason: event.NoSymbol, field: "symbol"},
		{name: "plan_id too long", payload: fields("plan_id", strings.Repeat("p", maxID+1), "symbol", "s"), reason: event.BadField, field: "plan_id"},
		{name: "plan_id not UTF-8", payload: fields("plan_id", "p\xff", "symbol", "s"), reason: event.BadField, field: "plan_id"},
		{name: "plan_id with a tab", payload: fields("plan_id", "p\tq", "symbol", "s"), reason: event.BadField, field: "plan_id"},
		{name: "plan_id with NUL", payload: fields("plan_id", "p\x00", "symbol", "s"), reason: event.BadField, field: "plan_id"},
		{name: "plan_id with DEL", payload: fields("plan_id", "p\x7f", "symbol", "s"), reason: event.BadField, field: "plan_id"},
		{name: "plan_id with a C1 control", payload: fields("plan_id", "p\u0085q", "symbol", "s"), reason: event.BadField, field: "plan_id"},
		{name: "symbol with a line separator", payload: fields("plan_id", "p", "symbol", "s\u2028"), reason: event.BadField, field: "symbol"},
		{name: "plan_id that lies", payload: fields("plan_id", "OBS_point", "symbol", "s"), reason: event.BadField, field: "plan_id"},
		{name: "symbol that lies", payload: fields("plan_id", "p", "symbol", "heat_FOUND"), reason: event.BadField, field: "symbol"},
		{name: "1 MB plan_id", payload: fields("plan_id", strings.Repeat("p", 1<<20), "symbol", "s"), reason: event.TooLarge},
		{name: "1 MB in a field that nobody reads", payload: fields("plan_id", "p", "symbol", "s", "steps", strings.Repeat("x", 1_000_000)), reason: event.TooLarge},
		{name: "10,000 fields", payload: fields(many...), reason: event.TooLarge},
		{name: "envelope that the transport could not read", payload: fields("_watermill_message_uuid", "u", "metadata", "?", "payload", "{}", "plan_id", "p", "symbol", "s"), reason: event.BadEnvelope, field: "_watermill_message_uuid"},
		{name: "empty payload", payload: "", reason: event.BadEnvelope},
		{name: "plain text", payload: "plan", reason: event.BadEnvelope},
		{name: "fields without a number of them", payload: "*many\r\n", reason: event.BadEnvelope},
		{name: "fields cut short", payload: fields("plan_id", "p", "symbol", "s")[:40], reason: event.BadEnvelope},

		{name: "JSON", payload: `{"symbol":"s","plan_id":"p","decision":"SKIP","kill_score":0.5,"reduceOnly":true,"steps":[{}]}`, want: event.Plan{PlanID: "p", Symbol: "s", Decision: "SKIP"}},
		{name: "JSON after white space", payload: " \r\n\t{\"plan_id\":\"p\",\"symbol\":\"s\"}\n", want: event.Plan{PlanID: "p", Symbol: "s"}},
		{name: "JSON, last of a name counts", payload: `{"plan_id":"old","symbol":"s","plan_id":"new"}`, want: event.Plan{PlanID: "new", Symbol: "s"}},
		{name: "JSON with escapes", payload: `{"plan_id":"\u0070\"\ud83d\ude00","symbol":"s"}`, want: event.Plan{PlanID: "p\"😀", Symbol: "s"}},
		{name: "JSON, decision null", payload: `{"plan_id":"p","symbol":"s","decision":null}`, want: event.Plan{PlanID: "p", Symbol: "s"}},
		{name: "JSON, decision of another type", payload: `{"plan_id":"p","symbol":"s","decision":7}`, want: event.Plan{PlanID: "p", Symbol: "s", Decision: "UNKNOWN"}},
		{name: "JSON, plan_id a number", payload: `{"plan_id":1e3,"symbol":"s"}`, reason: event.BadField, field: "plan_id"},
		{name: "JSON, symbol an object", payload: `{"plan_id":"p","symbol":{}}`, reason: event.BadField, field: "symbol"},
		{name: "JSON, plan_id null", payload: `{"plan_id":null,"symbol":"s"}`, reason: event.NoPlanID, field: "plan_id"},
		{name: "JSON, plan_id in another case", payload: `{"PLAN_ID":"p","symbol":"s"}`, reason: event.NoPlanID, field: "plan_id"},
		{name: "JSON, half a surrogate pair", payload: `{"plan_id":"\ud800","symbol":"s"}`, reason: event.BadField, field: "plan_id"},
		{name: "JSON, second half alone", payload: `{"plan_id":"a\\\uDE00","symbol":"s"}`, reason: event.BadField, field: "plan_id"},
		{name: "JSON, first half twice", payload: `{"plan_id":"\ud83d\ud83d\ude00","symbol":"s"}`, reason: event.BadField, field: "plan_id"},
		{name: "JSON, first half before a letter", payload: `{"plan_id":"\ud83dx\ude00","symbol":"s"}`, reason: event.BadField, field: "plan_id"},
		{name: "JSON with an escaped control", payload: `{"plan_id":"a\nb","symbol":"s"}`, reason: event.BadField, field: "plan_id"},
		{name: "JSON not UTF-8", payload: "{\"plan_id\":\"p\xff\",\"symbol\":\"s\"}", reason: event.BadEnvelope},
		{name: "JSON cut short", payload: `{"plan_id":"p","symbol":"s"`, reason: event.BadEnvelope},
		{name: "JSON and more", payload: `{"plan_id":"p","symbol":"s"}{}`, reason: event.BadEnvelope},
		{name: "JSON list", payload: `["plan_id","p"]`, reason: event.BadEnvelope},
		{name: "JSON nested beyond reason", payload: `{"a":` + strings.Repeat("[", 100_000), reason: event.BadEnvelope},
		{name: "JSON of as many fields as may be", payload: `{"plan_id":"p","symbol":"s"` + manyMembers(event.MaxPlanFields-2) + `}`, want: event.Plan{PlanID: "p", Symbol: "s"}},
		{name: "JSON of 10,000 fields", payload: `{"plan_id":"p"` + manyMembers(10_000) + `}`, reason: event.TooLarge},
		{name: "JSON of 1 MB", payload: `{"plan_id":"` + strings.Repeat("p", 1<<20) + `"}`, reason: event.TooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := event.DecodePlan(planID, []byte(test.payload))
			if test.reason == "" {
				test.want.ID = planID
				if err != nil || got != test.want {
					t.Fatalf("got %+v, %v; want %+v", got, err, test.want)
				}
				return
			}
			var bad *event.MalformedError
			if !errors.As(err, &bad) {
				t.Fatalf("got %+v, %v; want a MalformedError", got, err)
			}
			if bad.Reason != test.reason || bad.Field != test.field || bad.DeadLetterReason() != string(test.reason) {
				t.Errorf("got reason %q, field %q; want %q, %q", bad.Reason, bad.Field, test.reason, test.field)
			}
			if text := err.Error(); len(text) > 300 || !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n\x00") {
				t.Errorf("error text of %d bytes is unfit for an operator: %q", len(text), text)
			}
		})
	}
}

// TestMalformedNamesTheValue: an operator mends what the error shows, and sees that a long value is not all there.
func TestMalformedNamesTheValue(t *testing.T) {
	for n, shown := range map[int]string{3: `"pp\t"`, 40: `"` + strings.Repeat("p", 39) + `\t"`, 41: `"` + strings.Repeat("p", 40) + `"…`} {
		_, err := event.DecodePlan(planID, entry.Make("plan_id", strings.Repeat("p", n-1)+"\t", "symbol", "s"))
		if err == nil || !strings.HasSuffix(err.Error(), ": "+shown) {
			t.Errorf("%d bytes: got %v, want it to end in %s", n, err, shown)
		}
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"f%d":0`, i)
	}
	return b.String()
}

func TestPublished(t *testing.T) {
	published := planID.Time()
	tests := []struct {
		name         string
		readAt, want time.Time
	}{
		{"read later", published.Add(time.Second), published},
		{"read at once", published, published},
		{"ID in the future", published.Add(-time.Hour), published.Add(-time.Hour)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := (event.Plan{ID: planID}).Published(test.readAt); !got.Equal(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func FuzzDecodePlan(f *testing.F) {
	f.Add([]byte(entry.Make(asWritten...)))
	f.Add([]byte(`{"plan_id":"\ud83d\ude00","symbol":"s","decision":null}`))
	f.Add([]byte("*2\r\n$7\r\nplan_id\r\n$99999999999\r\n"))
	f.Add([]byte(`{"plan_id":"\`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		plan, err := event.DecodePlan(planID, payload)
		if err != nil {
			var bad *event.MalformedError
			if !errors.As(err, &bad) || bad.Reason == "" || bad.Reason == event.HandlerFailed {
				t.Fatalf("no reason for a dead letter in %v", err)
			}
			return
		}
		again, err := event.DecodePlan(planID, entry.Make("plan_id", plan.PlanID, "symbol", plan.Symbol, "decision", plan.Decision))
		if err != nil || again != plan {
			t.Fatalf("read %+v, then %+v, %v", plan, again, err)
		}
	})
}

func BenchmarkDecodePlan(b *testing.B) {
	payload := entry.Make(asWritten...)
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		if _, err := event.DecodePlan(planID, payload); err != nil {
			b.Fatal(err)
		}
	}
}
