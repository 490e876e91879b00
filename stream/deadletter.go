package stream

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"heatobserver/entry"
)

// MaxRaw bounds the fields kept in a dead letter, in bytes of JSON.
const MaxRaw = 64 << 10

// maxDeadError bounds the error text of a dead letter, in bytes.
const maxDeadError = 1000

// rawBase64 begins a field name that stands in base64.
const rawBase64 = "b64:"

// park writes an entry to the dead-letter stream and acknowledges it, in one script.
func (s *subscription) park(ctx context.Context, d *Delivery, reason string, cause error, failures int) error {
	id := d.entry.ID.String()
	shown := d.Entry()
	mark := s.cfg.KeyPrefix + "dead:" + s.cfg.Group + ":" + id
	if s.redrive { // an entry of the other stream may have the same ID
		mark = s.cfg.KeyPrefix + "dead:" + s.cfg.Group + ":redrive:" + id
	}
	run := func() (string, error) {
		return deadScript.Run(context.WithoutCancel(ctx), s.client, []string{s.stream, s.cfg.DeadStream, s.totals(), mark},
			s.cfg.Group, s.cfg.Consumer, id, s.cfg.DeadMaxLen, s.cfg.DeadTTL.Milliseconds(),
			reason, clean(cause.Error()), failures, RawJSON(shown.Fields), shown.Stream, shown.ID.String()).Text()
	}
	if s.partition != nil && s.partition.Apart {
		added := false
		run = func() (string, error) {
			return s.parkInSteps(context.WithoutCancel(ctx), mark, id, &added, []any{
				"reason", reason, "error", clean(cause.Error()), "stream", shown.Stream, "group", s.cfg.Group,
				"entry_id", shown.ID.String(), "failures", failures,
			}, RawJSON(shown.Fields))
		}
	}
	lost := false // the reply of an attempt that may have worked
	return s.untilDone(ctx, &s.parks, func() error {
		result, err := run()
		if err != nil {
			lost = lost || !isReply(err)
			return fmt.Errorf("park entry %s of %s: %w", id, s.stream, err)
		}
		if d.finish() && (result == "W" || result == "D" && lost) {
			s.cfg.Events.DeadLettered(s.stream, s.cfg.Group, reason)
		}
		return nil
	})
}

// clean makes an error text fit for a field: valid UTF-8 of bounded length without control characters.
func clean(text string) string {
	out := make([]byte, 0, min(len(text), maxDeadError))
	for _, r := range text {
		if len(out) >= maxDeadError-4 {
			return string(append(out, "…"...))
		}
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			r = ' '
		}
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}

// RawJSON is one JSON object of all fields, in their order, for people and for redriving. A name that stands more than
// once is kept as often as it stands. A value that is not UTF-8 becomes {"b64": …}; a name that is not, or that could be
// taken for one, its base64 behind "b64:". The first value that does not fit into MaxRaw is cut, {"cut": its beginning in
// base64, "bytes": its length}, and the fields behind it are only counted, as "_left_out". ParseRaw is the reverse.
func RawJSON(fields entry.Fields) string {
	const marks = 128 // room for the marks of what was cut
	out := []byte{'{'}
	full, leftOut := false, 0
	for name, value := range fields.All() {
		if full {
			leftOut++
			continue
		}
		start := len(out)
		if len(name)+len(value) <= MaxRaw { // what is longer, by megabytes perhaps, is not even tried
			if out = appendValue(appendName(out, name), value); len(out)+marks <= MaxRaw {
				continue
			}
		}
		full = true
		if len(name) > MaxRaw {
			out = out[:start]
			leftOut++
			continue
		}
		room := MaxRaw - marks - start - len(appendName(nil, name))
		if out = out[:start]; room < 4 {
			leftOut++
			continue
		}
		out = append(appendName(out, name), `{"cut":"`...)
		out = base64.StdEncoding.AppendEncode(out, value[:min(len(value), room/4*3)])
		out = append(out, `","bytes":`...)
		out = append(strconv.AppendInt(out, int64(len(value)), 10), '}')
	}
	if leftOut > 0 {
		out = strconv.AppendInt(appendName(out, []byte("_left_out")), int64(leftOut), 10)
	}
	return string(append(out, '}'))
}

func appendName(out, name []byte) []byte {
	if len(out) > 1 {
		out = append(out, ',')
	}
	if !utf8.Valid(name) || bytes.HasPrefix(name, []byte(rawBase64)) {
		name = append([]byte(rawBase64), base64.StdEncoding.EncodeToString(name)...)
	}
	return append(append(out, jsonString(name)...), ':')
}

func appendValue(out, value []byte) []byte {
	if utf8.Valid(value) {
		return append(out, jsonString(value)...)
	}
	out = append(out, `{"b64":"`...)
	out = base64.StdEncoding.AppendEncode(out, value)
	return append(out, `"}`...)
}

func jsonString(s []byte) []byte {
	b, err := json.Marshal(string(s))
	if err != nil { // a string always has a JSON form
		panic(err)
	}
	return b
}
