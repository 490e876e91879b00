package replay

import (
	"context"
	"errors"
	"fmt"
	"io"

	"heatobserver/entry"
)

// cursor walks over one stream of a history, an entry at a time.
type cursor struct {
	kind  Kind
	r     Reader
	from  entry.ID // what is missing before it does not matter
	batch []Entry
	last  entry.ID
	err   error // why there is no more: io.EOF or what went wrong
	n     int64
}

// open begins to read r. Gaps before from, in the margin, are read over: what they hide is said to be unknown already.
func open(ctx context.Context, source Source, kind Kind, r Range, from entry.ID) (*cursor, error) {
	reader, err := source.Open(ctx, kind, r)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", kind, err)
	}
	return &cursor{kind: kind, r: reader, from: from}, nil
}

// peek is the next entry, nil when there is none. It holds until the following peek behind a next.
func (c *cursor) peek() *Entry {
	for len(c.batch) == 0 {
		if c.err != nil {
			return nil
		}
		c.batch, c.err = c.r.Next()
		var gap *GapError
		if c.err != nil && errors.As(c.err, &gap) && gap.Before != zeroID && gap.Before.Compare(c.from) <= 0 {
			c.err = nil
		}
	}
	e := &c.batch[0]
	if c.n > 0 && e.ID.Compare(c.last) < 0 { // partitions may have the same ID
		c.batch, c.err = nil, fmt.Errorf("entry ID %s stands behind %s: out of order", e.ID, c.last)
		return nil
	}
	return e
}

func (c *cursor) next() {
	c.last = c.batch[0].ID
	c.n++
	c.batch = c.batch[1:]
}

// failure is what ended the stream early, nil at its proper end and while what came with an error is not yet taken.
func (c *cursor) failure() error {
	if len(c.batch) > 0 || c.err == nil || errors.Is(c.err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read %s: %w", c.kind, c.err)
}
