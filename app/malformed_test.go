package app_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// malformed is an entry that can never be observed.
type malformed struct {
	name   string
	reason string
	pairs  []string
}

// malformedKinds are entries of every kind that the wire contract refuses.
func malformedKinds() []malformed {
	const good, symbol = "a4f3b8c2d1e5f6a7", "BTCUSDT"
	many := []string{"plan_id", good, "symbol", symbol}
	for i := range 10_000 {
		many = append(many, "field"+strconv.Itoa(i), "x")
	}
	envelope := func(metadata, payload string) []string {
		return []string{"_watermill_message_uuid", "u", "metadata", metadata, "payload", payload}
	}
	const noMetadata = "\xc0" // nil, in msgpack
	return []malformed{
		{"no plan_id", "no_plan_id", []string{"symbol", symbol}},
		{"empty plan_id", "no_plan_id", []string{"plan_id", "", "symbol", symbol}},
		{"foreign entry", "no_plan_id", []string{"hello", "world"}},
		{"field names in other case", "no_plan_id", []string{"PLAN_ID", good, "Symbol", symbol}},
		{"no symbol", "no_symbol", []string{"plan_id", good}},
		{"empty symbol", "no_symbol", []string{"plan_id", good, "symbol", ""}},
		{"binary plan_id", "bad_field", []string{"plan_id", "\xff\xfe\x00\x01", "symbol", symbol}},
		{"control character in plan_id", "bad_field", []string{"plan_id", "a\nobs_point\nb", "symbol", symbol}},
		{"escape in symbol", "bad_field", []string{"plan_id", good, "symbol", "BTC\x1b[31m"}},
		{"line separator in symbol", "bad_field", []string{"plan_id", good, "symbol", "BTC\u2028USDT"}},
		{"long symbol", "bad_field", []string{"plan_id", good, "symbol", strings.Repeat("S", 201)}},
		{"heat_found as symbol", "bad_field", []string{"plan_id", good, "symbol", "heat_found"}},
		{"obs_point as plan_id", "bad_field", []string{"plan_id", "Obs_Point", "symbol", symbol}},
		{"1 MB value", "too_large", []string{"plan_id", good, "symbol", symbol, "steps", strings.Repeat("x", 1<<20)}},
		{"1 MB plan_id", "too_large", []string{"plan_id", strings.Repeat("x", 1<<20), "symbol", symbol}},
		{"10,000 fields", "too_large", many},
		{"envelope without metadata or plan", "no_plan_id", []string{"_watermill_message_uuid", "u", "payload", "{}"}},
		{"envelope without payload", "bad_envelope", []string{"_watermill_message_uuid", "u", "plan_id", good, "symbol", symbol}},
		{"envelope with broken metadata", "bad_envelope", envelope("\xdf\xff\xff\xff\xff", "{}")},
		{"envelope with a payload that is no JSON", "bad_envelope", envelope(noMetadata, "plan")},
		{"envelope with a list", "bad_envelope", envelope(noMetadata, `[{"plan_id":"a"}]`)},
		{"envelope without a plan", "no_plan_id", envelope(noMetadata, `{"symbol":"S"}`)},
		{"envelope without a symbol", "no_symbol", envelope(noMetadata, `{"plan_id":"a"}`)},
		{"envelope with a number as plan_id", "bad_field", envelope(noMetadata, `{"plan_id":7,"symbol":"S"}`)},
		{"envelope with half a surrogate pair", "bad_field", envelope(noMetadata, `{"plan_id":"\ud800","symbol":"S"}`)},
	}
}

// maxRaw bounds the raw field of a dead letter, in bytes.
const maxRaw = 64 << 10

// requireRaw checks that the raw field of a dead letter holds the fields of its entry: all of them, or as many as fit.
func requireRaw(t testing.TB, pairs []string, raw string) {
	t.Helper()
	require.LessOrEqual(t, len(raw), maxRaw)
	var members map[string]any
	require.NoError(t, json.Unmarshal([]byte(raw), &members), "raw %.200s", raw)
	leftOut, cut := 0, 0
	if n, ok := members["_left_out"]; ok {
		leftOut = int(n.(float64))
		delete(members, "_left_out")
	}
	for i := 0; i < 2*len(members); i += 2 { // the first fields are those that are kept
		name, want := pairs[i], pairs[i+1]
		switch got := members[name].(type) {
		case string:
			require.Equal(t, want, got, name)
		case map[string]any:
			if text, ok := got["b64"].(string); ok {
				b, err := base64.StdEncoding.DecodeString(text)
				require.NoError(t, err)
				require.Equal(t, want, string(b), name)
				continue
			}
			cut++
			b, err := base64.StdEncoding.DecodeString(fmt.Sprint(got["cut"]))
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(want, string(b)) && len(b) < len(want), name)
			require.InDelta(t, len(want), got["bytes"], 0)
		default:
			t.Fatalf("field %s is missing from raw %.200s", name, raw)
		}
	}
	require.Equal(t, len(pairs)/2, len(members)+leftOut)
	if len(strings.Join(pairs, "")) < maxRaw/8 {
		require.Zero(t, leftOut+cut, "small entries are kept whole")
	}
}
