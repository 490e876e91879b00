package app

import (
	"errors"
	"io"

	"heatobserver/entry"
	"heatobserver/replay"
)

// merged reads the streams of several partitions as one, in the order of time. Partitions have no order among each other
// within a millisecond and may have the same IDs, so that sequence numbers are counted anew.
type merged struct {
	parts []part
	page  []replay.Entry
	last  entry.ID
}

// part is one of them: what has been read of it and not yet been returned, and why there is no more behind that.
type part struct {
	reader replay.Reader
	rest   []replay.Entry
	err    error
}

var _ replay.Reader = (*merged)(nil)

// Next is part of replay.Reader. A page ends with that of any partition, since what a Reader returned holds only until it
// is asked again.
func (m *merged) Next() ([]replay.Entry, error) {
	for i := range m.parts {
		p := &m.parts[i]
		if len(p.rest) > 0 || errors.Is(p.err, io.EOF) {
			continue
		}
		if err := p.err; err != nil {
			p.err = nil // what is behind a gap may be read on
			return nil, err
		}
		p.rest, p.err = p.reader.Next()
		if len(p.rest) == 0 && p.err != nil && !errors.Is(p.err, io.EOF) {
			err := p.err
			p.err = nil
			return nil, err
		}
	}
	m.page = m.page[:0]
	for {
		p := m.first()
		if p == nil {
			break
		}
		e := p.rest[0]
		p.rest = p.rest[1:]
		e.ID.Seq = 0
		if e.ID.Ms <= m.last.Ms && m.last != (entry.ID{}) {
			e.ID = m.last.Next()
		}
		m.last = e.ID
		m.page = append(m.page, e)
		if len(p.rest) == 0 && !errors.Is(p.err, io.EOF) {
			break
		}
	}
	if len(m.page) == 0 {
		return nil, io.EOF
	}
	return m.page, nil
}

// first is the part whose next entry is the oldest, nil when there is none.
func (m *merged) first() (oldest *part) {
	for i := range m.parts {
		p := &m.parts[i]
		if len(p.rest) > 0 && (oldest == nil || p.rest[0].ID.Compare(oldest.rest[0].ID) < 0) {
			oldest = p
		}
	}
	return oldest
}

// Close is part of replay.Reader.
func (m *merged) Close() error {
	var errs []error
	for _, p := range m.parts {
		errs = append(errs, p.reader.Close())
	}
	return errors.Join(errs...)
}
