package operate

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"heatobserver/entry"
)

// Position is a place in a stream as an operator writes it.
type Position struct {
	text string
	id   entry.ID
	ago  time.Duration
	kind positionKind
}

type positionKind int

const (
	atID positionKind = iota
	atAgo
	atEnd
)

// End is the end of the stream at the moment when it is reached.
var End = Position{text: "$", kind: atEnd}

// timeLayouts are those in which a time can be given; without an offset it is UTC.
var timeLayouts = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

// ParsePosition reads where a group is to read on:
//
//	1700000000000-0           behind this entry, as XGROUP SETID takes it; 0 is the beginning of the stream
//	-24h                      with the entries of the last 24 hours, by the server's clock
//	2026-11-24T08:00:00Z      with the entries from this time on
//	$                         behind the last entry
func ParsePosition(text string) (Position, error) {
	p := Position{text: text}
	if text == "$" {
		return End, nil
	}
	if ago, is, err := parseAgo(text); is {
		p.ago, p.kind = ago, atAgo
		if err != nil {
			err = fmt.Errorf("read position %q: %w", text, err)
		}
		return p, err
	}
	if t, ok := parseTime(text); ok {
		p.id = entry.IDAt(t).Prev()
		return p, nil
	}
	id, err := entry.ParseID(text)
	if err != nil {
		return p, fmt.Errorf("read position %q: it is neither an entry ID, nor a time as 2026-11-24T08:00:00Z, nor -24h, nor $", text)
	}
	p.id = id
	return p, nil
}

// String is the position as it was written.
func (p Position) String() string { return p.text }

// after is the ID behind which the group reads on.
func (p Position) after(now time.Time, last entry.ID) entry.ID {
	switch p.kind {
	case atAgo:
		return entry.IDAt(now.Add(-p.ago)).Prev()
	case atEnd:
		return last
	}
	return p.id
}

// ParseTime reads a moment: -24h before now, or a time as 2026-11-24T08:00:00Z.
func ParseTime(text string, now time.Time) (time.Time, error) {
	ago, is, err := parseAgo(text)
	if is && err == nil {
		return now.Add(-ago), nil
	}
	if t, ok := parseTime(text); ok {
		return t, nil
	}
	return time.Time{}, fmt.Errorf("read time %q: it is neither a time as 2026-11-24T08:00:00Z nor -24h", text)
}

func parseAgo(text string) (ago time.Duration, is bool, err error) {
	text, is = strings.CutPrefix(text, "-")
	if !is {
		return 0, false, nil
	}
	if ago, err = time.ParseDuration(text); err != nil || ago < 0 || strings.HasPrefix(text, "+") {
		return 0, true, errors.New("a time ago is written -24h or -90m")
	}
	return ago, true, nil
}

func parseTime(text string) (time.Time, bool) {
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// ParseIDs reads entry IDs.
func ParseIDs(texts []string) ([]entry.ID, error) {
	ids := make([]entry.ID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = entry.ParseID(text); err != nil {
			return nil, err
		}
	}
	return ids, nil
}
