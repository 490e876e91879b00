package stream

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// Entry is one entry of a stream as Redis sent it.
type Entry struct {
	Stream string
	ID     entry.ID
	// Fields is nil for an entry that has been deleted or trimmed while it was pending.
	Fields entry.Fields
}

// errReply is wrapped by every error about a reply that is not what the command answers.
var errReply = errors.New("unexpected reply")

// reply reads a RESP reply in place. go-redis decodes entries into maps, which loses the order and the
// repetition of fields and costs a third of the client's CPU; entries are cut out of the reply instead.
type reply struct{ rest []byte }

// replyError is an error reply of Redis. go-redis hands raw replies over without looking for one.
type replyError string

func (e replyError) Error() string { return string(e) }
func (e replyError) RedisError()   {}

var _ redis.Error = replyError("")

// rawError is the error that a raw reply stands for, or nil.
func rawError(raw []byte) error {
	if len(raw) == 0 || raw[0] != '-' && raw[0] != '!' {
		return nil
	}
	r := reply{raw}
	_, _, err := r.line()
	return err
}

// line returns the type byte and the rest of the next line.
func (r *reply) line() (kind byte, text []byte, err error) {
	i := bytes.IndexByte(r.rest, '\n')
	if i < 2 {
		return 0, nil, fmt.Errorf("%w: cut short", errReply)
	}
	kind, text = r.rest[0], r.rest[1:i-1]
	r.rest = r.rest[i+1:]
	switch kind {
	case '-':
		return 0, nil, replyError(text)
	case '!': // RESP3: a length, then the text
		text, _, _ := bytes.Cut(r.rest, []byte("\r\n"))
		return 0, nil, replyError(text)
	}
	return kind, text, nil
}

// array reads the header of an array, or of a map of RESP3, which counts double. A nil is -1.
func (r *reply) array() (n int, err error) {
	kind, text, err := r.line()
	if err != nil {
		return 0, err
	}
	if kind == '_' {
		return -1, nil
	}
	if n, err = strconv.Atoi(string(text)); err != nil {
		return 0, fmt.Errorf("%w: length %q", errReply, text)
	}
	switch kind {
	case '*':
		return n, nil
	case '%':
		return 2 * n, nil
	}
	return 0, fmt.Errorf("%w: array expected, not %q", errReply, kind)
}

// str reads a string or a number.
func (r *reply) str() ([]byte, error) {
	kind, text, err := r.line()
	if err != nil {
		return nil, err
	}
	switch kind {
	case '+', ':':
		return text, nil
	case '_':
		return nil, nil
	case '$':
		n, err := strconv.Atoi(string(text))
		if n < 0 && err == nil {
			return nil, nil
		}
		if err != nil || n > len(r.rest)-2 || string(r.rest[n:n+2]) != "\r\n" {
			return nil, fmt.Errorf("%w: string of length %q", errReply, text)
		}
		s := r.rest[:n:n]
		r.rest = r.rest[n+2:]
		return s, nil
	}
	return nil, fmt.Errorf("%w: string expected, not %q", errReply, kind)
}

func (r *reply) id() (entry.ID, error) {
	s, err := r.str()
	if err != nil {
		return entry.ID{}, err
	}
	return entry.ParseID(string(s))
}

// fields cuts out an array of names and values as it is. A nil, and a broken one, is none.
func (r *reply) fields() (entry.Fields, error) {
	if f, rest, err := entry.Cut(r.rest); err == nil { // nearly always; the rest of the function says what is wrong
		r.rest = rest
		return f, nil
	}
	start := r.rest
	n, err := r.array()
	if err != nil || n < 0 {
		return nil, err
	}
	if start[0] != '*' || n%2 != 0 {
		return nil, fmt.Errorf("%w: %d names and values", errReply, n)
	}
	for range n {
		if len(r.rest) > 0 && r.rest[0] != '$' {
			return nil, fmt.Errorf("%w: field of type %q", errReply, r.rest[0])
		}
		if s, err := r.str(); err != nil || s == nil {
			return nil, cmp.Or(err, errReply)
		}
	}
	size := len(start) - len(r.rest)
	return entry.Fields(start[:size:size]), nil
}

// minEntry is the size of the shortest entry in a reply, *2 $3 0-1 *0, so that a wrong length reserves no memory.
const minEntry = 4 + 9 + 4

// entries reads a list of [id, fields].
func (r *reply) entries(stream string) ([]Entry, error) { return r.entriesInto(nil, stream) }

// entriesInto is entries with room for the list.
func (r *reply) entriesInto(list []Entry, stream string) ([]Entry, error) {
	n, err := r.array()
	if err != nil || n <= 0 {
		return nil, err
	}
	list = slices.Grow(list, min(n, len(r.rest)/minEntry))
	for range n {
		switch size, err := r.array(); {
		case err != nil:
			return nil, err
		case size < 0: // XCLAIM of Redis 6 answers nil for a deleted entry
			continue
		case size != 2:
			return nil, fmt.Errorf("%w: entry of %d parts", errReply, size)
		}
		id, err := r.id()
		if err != nil {
			return nil, err
		}
		fields, err := r.fields()
		if err != nil {
			return nil, err
		}
		list = append(list, Entry{Stream: stream, ID: id, Fields: fields})
	}
	return list, nil
}

// parseRead reads the reply of XREADGROUP on one stream; a nil reply is an empty list.
func parseRead(raw []byte, stream string) ([]Entry, error) {
	r := reply{raw}
	n, err := r.array()
	if err != nil || n <= 0 {
		return nil, err
	}
	if raw[0] == '*' { // RESP2: [[stream, entries]]; RESP3: {stream: entries}
		if _, err := r.array(); err != nil {
			return nil, err
		}
	}
	if _, err := r.str(); err != nil {
		return nil, err
	}
	return r.entries(stream)
}

func (r *reply) int() (int64, error) {
	s, err := r.str()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(s), 10, 64)
}
