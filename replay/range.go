package replay

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"heatobserver/entry"
)

// ErrRange is wrapped by every error of ParseRange.
var ErrRange = errors.New("invalid range")

// Range is a range of entry IDs, both ends included. The zero Range holds the ID 0-0 alone, which no entry has.
type Range struct {
	From entry.ID
	To   entry.ID
}

// Everything is the whole of a stream.
var Everything = Range{To: entry.MaxID}

// ParseRange reads the two ends of a range. Each is an entry ID ("1700000000000-0"; milliseconds alone stand for the
// first entry of them as the beginning and for the last as the end, as in Redis), "-" (the first entry), "+" (the last
// entry), a time as in RFC 3339 ("2026-11-24T08:00:00Z"), or a duration before now ("-24h", "-1h30m"). An empty text is
// "-" as the beginning and "+" as the end. Now is the time of the Redis server.
func ParseRange(from, to string, now time.Time) (Range, error) {
	first, err := parseBound(from, now, false)
	if err != nil {
		return Range{}, fmt.Errorf("%w: from: %w", ErrRange, err)
	}
	last, err := parseBound(to, now, true)
	if err != nil {
		return Range{}, fmt.Errorf("%w: to: %w", ErrRange, err)
	}
	if first.Compare(last) > 0 {
		return Range{}, fmt.Errorf("%w: it ends (%s) before it begins (%s)", ErrRange, last, first)
	}
	return Range{From: first, To: last}, nil
}

func parseBound(s string, now time.Time, last bool) (entry.ID, error) {
	switch {
	case s == "-", s == "" && !last:
		return entry.ID{}, nil
	case s == "+", s == "" && last:
		return entry.MaxID, nil
	case strings.HasPrefix(s, "-"):
		ago, err := time.ParseDuration(s)
		if err != nil {
			return entry.ID{}, fmt.Errorf("%.40q is no duration like -24h or -1h30m", s)
		}
		return boundAt(now.Add(ago), last), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return boundAt(t, last), nil
	}
	id, err := entry.ParseID(s)
	if err != nil {
		return entry.ID{}, fmt.Errorf("%.40q is no entry ID, -, +, time like 2026-11-24T08:00:00Z, or duration before now like -24h", s)
	}
	if last && !strings.Contains(s, "-") {
		id.Seq = math.MaxUint64
	}
	return id, nil
}

func boundAt(t time.Time, last bool) entry.ID {
	id := entry.IDAt(t)
	if last {
		id.Seq = math.MaxUint64
	}
	return id
}

// Contains reports whether id lies within the range.
func (r Range) Contains(id entry.ID) bool { return id.Compare(r.From) >= 0 && id.Compare(r.To) <= 0 }

// Widen is the range with before more at its beginning and after more at its end.
func (r Range) Widen(before, after time.Duration) Range {
	from, to := r.From, r.To
	if cut := uint64(before.Milliseconds()); cut < from.Ms {
		from = entry.ID{Ms: from.Ms - cut}
	} else {
		from = entry.ID{}
	}
	if more := uint64(after.Milliseconds()); to.Ms <= math.MaxUint64-more {
		to = entry.ID{Ms: to.Ms + more, Seq: math.MaxUint64}
	} else {
		to = entry.MaxID
	}
	return Range{From: from, To: to}
}
