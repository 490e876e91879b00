// Package entry holds the shape of one entry of a Redis stream: its ID and its fields, as Redis itself
// writes them. It never knows a connection or a plan, so that the transport (package stream) and the
// observation core (package event) share one notion of both without importing each other.
package entry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ErrID is wrapped by every error of ParseID.
var ErrID = errors.New("invalid entry ID")

// ID is the ID of a stream entry: the milliseconds of the Redis server's clock and a sequence number
// within them. IDs order as two numbers, never as strings ("9-0" < "10-0").
type ID struct {
	Ms  uint64
	Seq uint64
}

// MaxID is the largest ID that a stream can hold.
var MaxID = ID{Ms: math.MaxUint64, Seq: math.MaxUint64}

// ParseID reads "ms-seq", or "ms" which stands for "ms-0", as Redis does for an ID given without a
// sequence. The special IDs "-", "+", "$", ">" and "*" are no entry IDs and are refused.
func ParseID(s string) (ID, error) {
	msPart, seqPart, hasSeq := strings.Cut(s, "-")
	ms, err := parseUint(msPart)
	if err != nil {
		return ID{}, fmt.Errorf("%w %q: milliseconds: %w", ErrID, shorten(s), err)
	}
	if !hasSeq {
		return ID{Ms: ms}, nil
	}
	seq, err := parseUint(seqPart)
	if err != nil {
		return ID{}, fmt.Errorf("%w %q: sequence: %w", ErrID, shorten(s), err)
	}
	return ID{Ms: ms, Seq: seq}, nil
}

// parseUint accepts decimal digits only: strconv alone would take a sign.
func parseUint(s string) (uint64, error) {
	if s == "" || s[0] < '0' || s[0] > '9' {
		return 0, errors.New("not a number")
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, errors.Unwrap(err)
	}
	return n, nil
}

func shorten(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// IDAt is the smallest ID that an entry added at t can have.
func IDAt(t time.Time) ID {
	return ID{Ms: uint64(max(0, t.UnixMilli()))}
}

// String is the ID as Redis writes it, "ms-seq".
func (id ID) String() string {
	return string(id.Append(make([]byte, 0, 41)))
}

// Append appends the ID as Redis writes it to dst.
func (id ID) Append(dst []byte) []byte {
	dst = strconv.AppendUint(dst, id.Ms, 10)
	dst = append(dst, '-')
	return strconv.AppendUint(dst, id.Seq, 10)
}

// Compare is negative when id is older than other, 0 when they are equal, positive when it is newer.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.Ms, other.Ms), cmp.Compare(id.Seq, other.Seq))
}

// Time is the moment of the Redis server's clock at which the entry was added, to the millisecond.
// Milliseconds beyond what time can hold (an explicit ID) are cut to the largest that it can.
func (id ID) Time() time.Time {
	return time.UnixMilli(int64(min(id.Ms, math.MaxInt64/1_000_000)))
}

// Next is the smallest ID above id; MaxID has none and returns itself.
func (id ID) Next() ID {
	switch {
	case id.Seq < math.MaxUint64:
		return ID{id.Ms, id.Seq + 1}
	case id.Ms < math.MaxUint64:
		return ID{id.Ms + 1, 0}
	}
	return id
}

// Prev is the largest ID below id; the zero ID has none and returns itself.
func (id ID) Prev() ID {
	switch {
	case id.Seq > 0:
		return ID{id.Ms, id.Seq - 1}
	case id.Ms > 0:
		return ID{id.Ms - 1, math.MaxUint64}
	}
	return id
}

type idKey struct{}

// WithID returns a context that carries the ID of the entry that is being handled. The transport does so
// for every message; IDFrom reads it.
func WithID(ctx context.Context, id ID) context.Context {
	return context.WithValue(ctx, ContextKey, &id)
}

// ContextKey is the context key under which a *ID is found. The transport's own context answers to it
// without an allocation; everybody else uses WithID and IDFrom.
var ContextKey any = idKey{}

// IDFrom is the ID of the entry that ctx belongs to; ok is false where there is none.
func IDFrom(ctx context.Context) (id ID, ok bool) {
	if p, found := ctx.Value(ContextKey).(*ID); found {
		return *p, true
	}
	return ID{}, false
}
