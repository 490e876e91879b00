package archive

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"heatobserver/entry"
	"heatobserver/replay"
)

// line is one line of a segment: an entry, a gap, or that a segment continues another.
//
//	{"stream":"quantum:stream:apply.plan","id":"1700000000000-0","fields":["plan_id","a4f3","raw",{"b64":"/w=="}]}
//	{"stream":"quantum:stream:apply.plan","gap":{"after":"1700000000000-0","before":"1700000009000-0"}}
//	{"stream":"quantum:stream:apply.plan","follows":"1700000009000-0"}
//
// Fields are names and values in turn; a string that is not UTF-8 stands as an object with its base64.
type line struct {
	stream  []byte
	id      entry.ID
	fields  entry.Fields
	gap     *hole
	follows *entry.ID // the last entry of the segment before
}

// hole says that entries between two IDs may be missing: the stream had been trimmed past the position of the follower.
// After the zero ID it stands at the beginning of an archive of a stream that had been trimmed before.
type hole struct {
	after  entry.ID
	before entry.ID
}

func (h hole) touches(r replay.Range) bool {
	return h.before.Compare(r.From) > 0 && h.after.Compare(r.To) < 0
}

var errLine = errors.New("malformed line")

const hex = "0123456789abcdef"

func appendEntry(dst []byte, stream string, id entry.ID, fields entry.Fields) []byte {
	dst = append(dst, `{"stream":`...)
	dst = appendText(dst, []byte(stream))
	dst = append(dst, `,"id":"`...)
	dst = id.Append(dst)
	dst = append(dst, `","fields":[`...)
	first := true
	for name, value := range fields.All() {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendText(dst, name)
		dst = append(dst, ',')
		dst = appendText(dst, value)
	}
	return append(dst, "]}\n"...)
}

func appendGap(dst []byte, stream string, g hole) []byte {
	dst = append(dst, `{"stream":`...)
	dst = appendText(dst, []byte(stream))
	dst = append(dst, `,"gap":{"after":"`...)
	dst = g.after.Append(dst)
	dst = append(dst, `","before":"`...)
	dst = g.before.Append(dst)
	return append(dst, "\"}}\n"...)
}

func appendFollows(dst []byte, stream string, id entry.ID) []byte {
	dst = append(dst, `{"stream":`...)
	dst = appendText(dst, []byte(stream))
	dst = append(dst, `,"follows":"`...)
	dst = id.Append(dst)
	return append(dst, "\"}\n"...)
}

func appendText(dst, s []byte) []byte {
	if !utf8.Valid(s) {
		dst = append(dst, `{"b64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, s)
		return append(dst, `"}`...)
	}
	dst = append(dst, '"')
	start := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		if c < ' ' {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, '\\', c)
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// scanner takes lines apart. It reads the layout that appendEntry writes by itself, since encoding/json would take most of
// the time of a replay, and leaves everything else to encoding/json.
type scanner struct {
	scratch []byte
	pairs   []byte
}

// scan appends the fields of one line (without its line break) to dst, of which l.fields is then a part.
func (s *scanner) scan(dst, text []byte) (l line, out []byte, err error) {
	if l, out, ok := s.quick(dst, text); ok {
		return l, out, nil
	}
	return slow(dst, text)
}

func (s *scanner) quick(dst, text []byte) (l line, out []byte, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"stream":"`))
	if !ok {
		return l, dst, false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || !plain(rest[:end]) {
		return l, dst, false
	}
	l.stream = rest[:end]
	if rest, ok = bytes.CutPrefix(rest[end:], []byte(`","id":"`)); !ok {
		return l, dst, false
	}
	if l.id, rest, ok = quickID(rest); !ok {
		return l, dst, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(`","fields":[`)); !ok {
		return l, dst, false
	}
	s.pairs = s.pairs[:0]
	n := 0
	for first := true; ; first = false {
		if len(rest) == 2 && rest[0] == ']' && rest[1] == '}' && (first || n > 0) {
			break
		}
		if !first {
			if len(rest) == 0 || rest[0] != ',' {
				return l, dst, false
			}
			rest = rest[1:]
		}
		if rest, ok = s.text(rest); !ok {
			return l, dst, false
		}
		n++
	}
	if n%2 != 0 {
		return l, dst, false
	}
	start := len(dst)
	dst = entry.AppendHeader(dst, n/2)
	dst = append(dst, s.pairs...)
	l.fields = entry.Fields(dst[start:len(dst):len(dst)])
	return l, dst, true
}

// plain reports whether s is itself in a JSON string.
func plain(s []byte) bool {
	for _, c := range s {
		if c < ' ' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func quickID(b []byte) (id entry.ID, rest []byte, ok bool) {
	var n [2]uint64
	for part := range n {
		i := 0
		for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
			n[part] = n[part]*10 + uint64(b[i]-'0')
		}
		if i == 0 || i > 19 { // a twentieth digit may overflow
			return id, b, false
		}
		b = b[i:]
		if part == 0 {
			if len(b) == 0 || b[0] != '-' {
				return id, b, false
			}
			b = b[1:]
		}
	}
	return entry.ID{Ms: n[0], Seq: n[1]}, b, true
}

// text reads one JSON string and appends it to s.pairs.
func (s *scanner) text(b []byte) (rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return b, false
	}
	b = b[1:]
	end := run(b)
	if end == len(b) {
		return b, false
	}
	value := b[:end]
	if b[end] != '"' {
		if value, end, ok = s.unescape(b); !ok {
			return b, false
		}
	}
	s.pairs = entry.AppendString(s.pairs, value)
	return b[end+1:], true
}

// run is how many bytes at the beginning of b stand for themselves in a JSON string: ASCII but for control characters,
// quotation marks and backslashes. It looks at eight at a time.
func run(b []byte) (n int) {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for ; n+8 <= len(b); n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		quote, slash := w^(ones*'"'), w^(ones*'\\')
		// What borrows from a byte makes a false mark above a true one at most, and the lowest counts.
		if marks := (w | (w-ones*' ')&^w | (quote-ones)&^quote | (slash-ones)&^slash) & high; marks != 0 {
			return n + bits.TrailingZeros64(marks)/8
		}
	}
	for ; n < len(b); n++ {
		if c := b[n]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
	}
	return n
}

func (s *scanner) unescape(b []byte) (value []byte, end int, ok bool) {
	out := s.scratch[:0]
	defer func() { s.scratch = out }()
	for i := 0; i < len(b); i++ {
		n := run(b[i:])
		out = append(out, b[i:i+n]...)
		if i += n; i == len(b) {
			break
		}
		switch c := b[i]; {
		case c == '"':
			return out, i, utf8.Valid(out)
		case c < ' ':
			return nil, 0, false
		case c != '\\':
			out = append(out, c)
		default:
			if i++; i >= len(b) {
				return nil, 0, false
			}
			switch b[i] {
			case '"', '\\', '/':
				out = append(out, b[i])
			case 'n':
				out = append(out, '\n')
			case 'r':
				out = append(out, '\r')
			case 't':
				out = append(out, '\t')
			case 'u': // as we write them; what else there may be is for encoding/json
				if len(b) < i+5 || b[i+1] != '0' || b[i+2] != '0' {
					return nil, 0, false
				}
				n, err := strconv.ParseUint(string(b[i+3:i+5]), 16, 8)
				if err != nil || n >= utf8.RuneSelf {
					return nil, 0, false
				}
				out = append(out, byte(n))
				i += 4
			default:
				return nil, 0, false
			}
		}
	}
	return nil, 0, false
}

// text is a string of a line for encoding/json.
type text []byte

// UnmarshalJSON reads a string, or {"b64": …}.
func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*t = text(s)
		return nil
	}
	var coded struct {
		B64 *[]byte `json:"b64"`
	}
	if err := strict(b, &coded); err != nil {
		return err
	}
	if coded.B64 == nil {
		return errors.New("neither a string nor an object with b64")
	}
	*t = text(*coded.B64)
	return nil
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if len(bytes.TrimSpace(b[d.InputOffset():])) > 0 {
		return errors.New("text after the object")
	}
	return nil
}

func slow(dst, b []byte) (l line, out []byte, err error) {
	if !utf8.Valid(b) {
		return l, dst, fmt.Errorf("%w: not UTF-8", errLine)
	}
	var v struct {
		Stream  *text   `json:"stream"`
		ID      *string `json:"id"`
		Fields  *[]text `json:"fields"`
		Follows *string `json:"follows"`
		Gap     *struct {
			After  string `json:"after"`
			Before string `json:"before"`
		} `json:"gap"`
	}
	if err := strict(b, &v); errors.Is(err, io.EOF) { // which to a reader is the proper end
		return l, dst, fmt.Errorf("%w: it is empty", errLine)
	} else if err != nil {
		return l, dst, fmt.Errorf("%w: %w", errLine, err)
	}
	if v.Stream == nil {
		return l, dst, fmt.Errorf("%w: no stream", errLine)
	}
	l.stream = *v.Stream
	if (v.Gap != nil || v.Follows != nil) && (v.ID != nil || v.Fields != nil) || v.Gap != nil && v.Follows != nil {
		return l, dst, fmt.Errorf("%w: more than one of an entry, a gap and what it follows", errLine)
	}
	if v.Follows != nil {
		id, err := entry.ParseID(*v.Follows)
		if err != nil {
			return l, dst, fmt.Errorf("%w: follows: %w", errLine, err)
		}
		l.follows = &id
		return l, dst, nil
	}
	if v.Gap != nil {
		var g hole
		var bad [2]error
		g.after, bad[0] = entry.ParseID(v.Gap.After)
		g.before, bad[1] = entry.ParseID(v.Gap.Before)
		if err := errors.Join(bad[:]...); err != nil {
			return l, dst, fmt.Errorf("%w: gap: %w", errLine, err)
		}
		l.gap = &g
		return l, dst, nil
	}
	if v.ID == nil || v.Fields == nil {
		return l, dst, fmt.Errorf("%w: no id or no fields", errLine)
	}
	if l.id, err = entry.ParseID(*v.ID); err != nil {
		return l, dst, fmt.Errorf("%w: %w", errLine, err)
	}
	if len(*v.Fields)%2 != 0 {
		return l, dst, fmt.Errorf("%w: a name without a value", errLine)
	}
	start := len(dst)
	dst = entry.AppendHeader(dst, len(*v.Fields)/2)
	for _, t := range *v.Fields {
		dst = entry.AppendString(dst, []byte(t))
	}
	l.fields = entry.Fields(dst[start:len(dst):len(dst)])
	return l, dst, nil
}
