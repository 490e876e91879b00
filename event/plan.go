package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"heatobserver/entry"
)

// What one entry of the plan stream may hold at most. The size is asked first: a plan_id of 1 MB is
// TooLarge, one of 300 bytes is BadField, and 1 MB in a field that nobody reads is TooLarge too, because such
// an entry would be copied whole into memory, the archive and the dead letters.
const (
	MaxPlanBytes  = 512 << 10 // all of the payload
	MaxPlanFields = 1000
)

// envelopeField marks an entry that a Watermill producer wrote.
const envelopeField = "_watermill_message_uuid"

// unknownDecision stands for a decision that must not be copied.
const unknownDecision = "UNKNOWN"

// Plan is what the observer needs of one entry of the plan stream.
type Plan struct {
	ID       entry.ID // of the entry that published it; its time is the publish time
	PlanID   string   // 1 to 200 bytes of UTF-8 without control characters
	Symbol   string   // likewise
	Decision string   // "" when absent, "UNKNOWN" when it may not be copied
}

// Published is the publish time of the plan: the time of its entry ID, but never later than readAt, the
// server's time when it was read. An explicit ID in the future must not make anything wait.
func (p Plan) Published(readAt time.Time) time.Time {
	if t := p.ID.Time(); t.Before(readAt) {
		return t
	}
	return readAt
}

// DecodePlan reads the payload of a message from the plan stream: the entry.Fields of a flat entry, or the
// JSON object that a Watermill envelope carries. Fields may come in any order, the last of a name counts, and
// unknown ones are ignored. The payload is not kept.
//
// Every error wraps a *MalformedError: the entry can never be observed and is a dead letter.
func DecodePlan(id entry.ID, payload []byte) (Plan, error) {
	plan, err := decodePlan(payload)
	if err != nil {
		return Plan{}, fmt.Errorf("decode plan of entry %s: %w", id, err)
	}
	plan.ID = id
	return plan, nil
}

func decodePlan(payload []byte) (Plan, error) {
	if len(payload) > MaxPlanBytes {
		return Plan{}, malformed(TooLarge, "", "%d bytes, at most %d are read: shorten the plan's fields", len(payload), MaxPlanBytes)
	}
	switch start := bytes.TrimLeft(payload, " \t\r\n"); {
	case len(start) > 0 && start[0] == '{':
		return decodeJSONPlan(start)
	case len(payload) > 0 && payload[0] == '*':
		return decodeFlatPlan(payload)
	}
	return Plan{}, malformed(BadEnvelope, "", "neither the fields of an entry nor a JSON object")
}

// decodeFlatPlan is the hot path: it walks over the fields in place and allocates only what the plan keeps.
func decodeFlatPlan(fields entry.Fields) (Plan, error) {
	if n := fields.Len(); n > MaxPlanFields {
		return Plan{}, tooManyFields(n)
	}
	var planID, symbol, decision []byte
	seen, enveloped := 0, false
	for name, value := range fields.All() {
		seen++
		switch string(name) {
		case "plan_id":
			planID = value
		case "symbol":
			symbol = value
		case "decision":
			decision = value
		case envelopeField:
			enveloped = true
		}
	}
	if seen == 0 || seen != fields.Len() {
		if err := fields.Check(); err != nil {
			return Plan{}, malformed(BadEnvelope, "", "read its fields: %w", err)
		}
	}
	if enveloped {
		return Plan{}, malformed(BadEnvelope, envelopeField, "a Watermill envelope whose metadata or payload cannot be read: write msgpack metadata and a JSON object")
	}
	return newPlan(text(planID), text(symbol), decisionText(decision))
}

// text copies a value, but no more of it than it takes to refuse it for its length.
func text(value []byte) string {
	return string(value[:min(len(value), maxPlanText+1)])
}

// decisionText is text for a field of which few values are usual: those are not copied.
func decisionText(value []byte) string {
	switch string(value) {
	case "EXECUTE":
		return "EXECUTE"
	case "SKIP":
		return "SKIP"
	case "BLOCKED":
		return "BLOCKED"
	case unknownDecision:
		return unknownDecision
	}
	return text(value)
}

// newPlan applies the rules of the wire contract ("Input").
func newPlan(planID, symbol, decision string) (Plan, error) {
	if planID == "" {
		return Plan{}, malformed(NoPlanID, "plan_id", "no plan_id: every plan needs one that is not empty")
	}
	if symbol == "" {
		return Plan{}, malformed(NoSymbol, "symbol", "no symbol: every plan needs one that is not empty")
	}
	if fault := textFault(planID, maxPlanText); fault != "" {
		return Plan{}, malformed(BadField, "plan_id", "plan_id %s: %s", fault, quote(planID))
	}
	if fault := textFault(symbol, maxPlanText); fault != "" {
		return Plan{}, malformed(BadField, "symbol", "symbol %s: %s", fault, quote(symbol))
	}
	if textFault(decision, maxPlanText) != "" {
		decision = unknownDecision
	}
	return Plan{PlanID: planID, Symbol: symbol, Decision: decision}, nil
}

// decodeJSONPlan reads the payload of an envelope. It goes through a map because encoding/json would
// match the names of a struct in any case ("PLAN_ID"), and a flat entry's are matched exactly.
func decodeJSONPlan(payload []byte) (Plan, error) {
	if !utf8.Valid(payload) { // encoding/json would replace what is broken and say nothing
		return Plan{}, malformed(BadEnvelope, "", "its JSON is not UTF-8")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(payload, &fields); err != nil {
		return Plan{}, malformed(BadEnvelope, "", "read its JSON: %w", err)
	}
	if len(fields) > MaxPlanFields {
		return Plan{}, tooManyFields(len(fields))
	}
	planID, err := jsonText(fields["plan_id"])
	if err != nil {
		return Plan{}, malformed(BadField, "plan_id", "plan_id %w", err)
	}
	symbol, err := jsonText(fields["symbol"])
	if err != nil {
		return Plan{}, malformed(BadField, "symbol", "symbol %w", err)
	}
	decision, err := jsonText(fields["decision"])
	if err != nil {
		decision = unknownDecision
	}
	return newPlan(planID, symbol, decision)
}

func tooManyFields(n int) error {
	return malformed(TooLarge, "", "%d fields, at most %d are read: remove those that no service needs", n, MaxPlanFields)
}

// jsonText is the text of a JSON string; absent and null are "". A number is refused and not printed: 1e3 and
// 1000 would be two plans.
func jsonText(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	if raw[0] != '"' {
		return "", fmt.Errorf("is not a JSON string: %s", quote(string(raw)))
	}
	if halfPair(raw) {
		return "", fmt.Errorf("is not UTF-8: half of a surrogate pair in %s", quote(string(raw)))
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("is not a JSON string: %w", err)
	}
	return s, nil
}

// halfPair reports whether a valid JSON string escapes a surrogate without its other half (`\ud800`). No
// UTF-8 stands for it; encoding/json puts U+FFFD in its place, which would make two different plans one.
func halfPair(raw []byte) bool {
	high := false // the last escape was the first half of a pair
	for len(raw) > 0 {
		if raw[0] != '\\' {
			if high {
				return true
			}
			raw = raw[1:]
			continue
		}
		var kind byte // 'h' first half, 'l' second half, 0 anything else
		size := 2
		if raw[1] == 'u' {
			size = 6
			if raw[2]|0x20 == 'd' {
				switch raw[3] | 0x20 {
				case '8', '9', 'a', 'b':
					kind = 'h'
				case 'c', 'd', 'e', 'f':
					kind = 'l'
				}
			}
		}
		if high != (kind == 'l') {
			return true
		}
		high = kind == 'h'
		raw = raw[size:]
	}
	return high
}
