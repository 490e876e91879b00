package entry

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// ErrFields is wrapped by every error about malformed Fields.
var ErrFields = errors.New("malformed fields")

// Fields are the fields of an entry in the encoding in which Redis sends them: a RESP array of bulk
// strings, name and value in turn ("*2\r\n$7\r\nplan_id\r\n$4\r\na4f3\r\n"). A name may stand more than
// once and the order is kept. The encoding is the payload of every message that carries a flat entry, so
// that an entry goes from the socket to the handler without being taken apart.
type Fields []byte

// Make encodes names and values in turn. It panics on an odd number of strings.
func Make(pairs ...string) Fields {
	if len(pairs)%2 != 0 {
		panic("entry: odd number of names and values")
	}
	size := 16
	for _, s := range pairs {
		size += len(s) + 8
	}
	f := AppendHeader(make([]byte, 0, size), len(pairs)/2)
	for _, s := range pairs {
		f = AppendString(f, s)
	}
	return f
}

// AppendHeader begins Fields with n pairs; 2n calls of AppendString must follow.
func AppendHeader(dst []byte, n int) []byte {
	dst = append(dst, '*')
	dst = strconv.AppendInt(dst, int64(2*n), 10)
	return append(dst, '\r', '\n')
}

// AppendString appends one name or value.
func AppendString[S string | []byte](dst []byte, s S) []byte {
	switch n := len(s); { // most are short, and there are many
	case n < 10:
		dst = append(dst, '$', byte('0'+n), '\r', '\n')
	case n < 100:
		dst = append(dst, '$', byte('0'+n/10), byte('0'+n%10), '\r', '\n')
	default:
		dst = append(dst, '$')
		dst = strconv.AppendInt(dst, int64(n), 10)
		dst = append(dst, '\r', '\n')
	}
	dst = append(dst, s...)
	return append(dst, '\r', '\n')
}

// Len is the number of pairs that the header announces; malformed Fields have 0.
func (f Fields) Len() int {
	n, _, err := header(f)
	if err != nil {
		return 0
	}
	return n
}

// Check reports whether f is complete and well formed. What Redis sent always is.
func (f Fields) Check() error {
	n, rest, err := header(f)
	if err != nil {
		return err
	}
	for i := range 2 * n {
		if _, rest, err = bulk(rest); err != nil {
			return fmt.Errorf("string %d of %d: %w", i+1, 2*n, err)
		}
	}
	if len(rest) != 0 {
		return fmt.Errorf("%w: %d bytes after the last value", ErrFields, len(rest))
	}
	return nil
}

// Cut takes complete Fields off the front of b.
func Cut(b []byte) (f Fields, rest []byte, err error) {
	n, rest, err := header(b)
	for range 2 * n {
		if err != nil {
			break
		}
		_, rest, err = bulk(rest)
	}
	if err != nil {
		return nil, nil, err
	}
	size := len(b) - len(rest)
	return Fields(b[:size:size]), rest, nil
}

// All yields name and value in turn, both parts of f and not copies of it. Malformed Fields end the
// sequence where they cease to be readable; use Check where that matters.
func (f Fields) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		n, rest, err := header(f)
		if err != nil {
			return
		}
		var name, value []byte
		for range n {
			if name, rest, err = bulk(rest); err != nil {
				return
			}
			if value, rest, err = bulk(rest); err != nil {
				return
			}
			if !yield(name, value) {
				return
			}
		}
	}
}

// Strings yields what All does, as parts of one copy of f: for who keeps most of them.
func (f Fields) Strings() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		n, rest, err := header(f)
		if err != nil {
			return
		}
		text := string(f)
		next := func() (s string, ok bool) {
			part, left, err := bulk(rest)
			if err != nil {
				return "", false
			}
			rest = left
			end := len(f) - len(left) - len("\r\n")
			return text[end-len(part) : end], true
		}
		for range n {
			name, ok := next()
			value, complete := "", false
			if ok {
				value, complete = next()
			}
			if !complete || !yield(name, value) {
				return
			}
		}
	}
}

// Get is the value of a name. Where it stands more than once the last one counts, as it does for every
// client that reads an entry into a map.
func (f Fields) Get(name string) (value string, ok bool) {
	for n, v := range f.All() {
		if string(n) == name {
			value, ok = string(v), true
		}
	}
	return value, ok
}

// Values are all the names and values in turn, copied.
func (f Fields) Values() []string {
	out := make([]string, 0, 2*min(f.Len(), len(f)/10))
	for n, v := range f.All() {
		out = append(out, string(n), string(v))
	}
	return out
}

func header(b []byte) (pairs int, rest []byte, err error) {
	n, rest, err := length(b, '*')
	if err != nil {
		return 0, nil, err
	}
	if n%2 != 0 {
		return 0, nil, fmt.Errorf("%w: a name without a value", ErrFields)
	}
	return n / 2, rest, nil
}

func bulk(b []byte) (s, rest []byte, err error) {
	if len(b) > 4 && b[0] == '$' && b[2] == '\r' { // one digit: most strings
		n := int(b[1] - '0')
		if n < 10 && b[3] == '\n' && len(b) >= n+6 && b[n+4] == '\r' && b[n+5] == '\n' {
			return b[4 : n+4 : n+4], b[n+6:], nil
		}
	}
	n, rest, err := length(b, '$')
	if err != nil {
		return nil, nil, err
	}
	if len(rest) < n+2 || rest[n] != '\r' || rest[n+1] != '\n' {
		return nil, nil, fmt.Errorf("%w: a string of %d bytes is cut short", ErrFields, n)
	}
	return rest[:n:n], rest[n+2:], nil
}

// length reads a type byte, decimal digits and CRLF.
func length(b []byte, kind byte) (n int, rest []byte, err error) {
	if len(b) == 0 || b[0] != kind {
		return 0, nil, fmt.Errorf("%w: %q expected", ErrFields, kind)
	}
	i := 1
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		if i > 10 { // a string of Redis has at most 512 MB
			return 0, nil, fmt.Errorf("%w: length too large", ErrFields)
		}
		n = n*10 + int(b[i]-'0')
	}
	if i == 1 || len(b) < i+2 || b[i] != '\r' || b[i+1] != '\n' {
		return 0, nil, fmt.Errorf("%w: no length after %q", ErrFields, kind)
	}
	return n, b[i+2:], nil
}
