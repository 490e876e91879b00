package event

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"heatobserver/entry"
)

// MinDebugChars is the smallest limit of debug_json, in characters: what is never dropped fits into it with
// the largest entry ID and the longest wait, and leaves some room for an error.
const MinDebugChars = 160

// The keys of debug_json that are dropped when it is too long, from the first to the last. The error is cut
// after them, and what is ours is never dropped.
const (
	dropInAction = 1 + iota
	dropOutAction
	dropMode
	dropDecision
)

// afterDeadline ends debug_json. No value in it can look like that: it would have its quotes escaped.
const afterDeadline = `,"after_deadline":true}`

// appendDebug appends debug_json: a JSON object of at most limit characters.
func (o *Observation) appendDebug(dst []byte, limit int) []byte {
	limit = max(limit, MinDebugChars)
	start, text := len(dst), o.Error
	for drop := 0; ; drop++ {
		dst = o.appendDebugObject(dst[:start], drop, text)
		over := utf8.RuneCount(dst[start:]) - limit
		if over <= 0 || drop > dropDecision {
			return dst
		}
		if drop == dropDecision { // only the error is left: once more, with a shorter one
			text = cutJSON(text, jsonChars(text)-over)
		}
	}
}

// appendDebugObject appends debug_json without the keys up to and including drop.
func (o *Observation) appendDebugObject(dst []byte, drop int, errText string) []byte {
	dst = append(dst, '{')
	if o.Found() {
		if drop < dropInAction {
			dst = appendMember(dst, `"in_action":`, o.Heat.InAction)
		}
		if drop < dropOutAction {
			dst = appendMember(dst, `"out_action":`, o.Heat.OutAction)
		}
		if drop < dropMode {
			dst = appendMember(dst, `"mode":`, o.Heat.Mode)
		}
	}
	if drop < dropDecision {
		dst = appendMember(dst, `"apply_decision":`, o.Decision)
	}
	if o.Reason == RedisError || o.Reason == ParseError {
		dst = appendMember(dst, `"error":`, errText)
	}
	dst = append(dst, `"source_id":"`...)
	dst = o.SourceID.Append(dst)
	dst = append(dst, `","wait_ms":`...)
	dst = strconv.AppendInt(dst, o.WaitMs, 10)
	dst = append(dst, `,"noticed":"`...)
	dst = append(dst, o.Noticed.String()...)
	dst = append(dst, '"')
	if o.AfterDeadline {
		return append(dst, afterDeadline...)
	}
	return append(dst, '}')
}

// appendMember appends a key, given with its quotes and colon, a string and a comma.
func appendMember(dst []byte, key, value string) []byte {
	return append(appendJSONString(append(dst, key...), value), ',')
}

// appendJSONString appends s as a JSON string. What is not UTF-8 becomes U+FFFD; control characters and
// U+2028 and U+2029, which end a line for some readers, are escaped.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	done := 0
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		dst = append(dst, s[done:i]...)
		dst = appendJSONRune(dst, r)
		i += size
		done = i
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

// appendJSONRune appends one character of a JSON string, escaped when it has to be.
func appendJSONRune(dst []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	switch {
	case r == '"' || r == '\\':
		return append(dst, '\\', byte(r))
	case breaksLine(r):
		return append(dst, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
	}
	return utf8.AppendRune(dst, r)
}

// jsonChars is how many characters s takes in JSON, without the quotes.
func jsonChars(s string) (chars int) {
	for _, r := range s {
		chars += runeChars(r)
	}
	return chars
}

func runeChars(r rune) int {
	switch {
	case r == '"' || r == '\\':
		return 2
	case breaksLine(r):
		return 6
	}
	return 1
}

// cutJSON cuts s between two characters so that it takes at most chars of them in JSON, the last being "…".
func cutJSON(s string, chars int) string {
	if chars < 1 {
		return ""
	}
	for i, r := range s {
		if chars -= runeChars(r); chars < 1 {
			return s[:i] + "…"
		}
	}
	return s
}

// readDebug fills in what stands in debug_json alone. Each value is taken by itself, so that one of a foreign
// type costs no other.
func (o *Observation) readDebug(text string) {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &members) != nil {
		return
	}
	if o.Found() {
		o.Heat.InAction = member[string](members, "in_action")
		o.Heat.Mode = member[string](members, "mode")
	}
	if o.Reason == RedisError || o.Reason == ParseError {
		o.Error = member[string](members, "error")
	}
	o.WaitMs = member[int64](members, "wait_ms")
	o.AfterDeadline = member[bool](members, "after_deadline")
	o.Noticed = parseNoticed(member[string](members, "noticed"))
	if id, err := entry.ParseID(member[string](members, "source_id")); err == nil {
		o.SourceID = id
	}
}

// member is the value of a key, zero when it is absent or of another type.
func member[T any](members map[string]json.RawMessage, key string) T {
	var value, zero T
	if json.Unmarshal(members[key], &value) != nil {
		return zero
	}
	return value
}

// parseNoticed is the cause with this name in the wire contract, AtOnce for any other.
func parseNoticed(name string) Noticed {
	for i, known := range noticedNames {
		if name == known {
			return Noticed(i)
		}
	}
	return AtOnce
}
