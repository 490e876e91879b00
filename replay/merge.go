package replay

import (
	"errors"
	"io"

	"heatobserver/entry"
)

// MergeReaders reads the partitions of one kind as one, in the order of their IDs. Streams number their entries each for
// itself: of the same ID in several the first reader's comes first. It closes the readers.
func MergeReaders(readers []Reader) Reader {
	if len(readers) == 1 {
		return readers[0]
	}
	m := make(merged, len(readers))
	for i, r := range readers {
		m[i].r = r
	}
	return m
}

// MergeExtents is what partitions of one kind hold together. Where some are trimmed nothing is complete before the latest
// of their beginnings.
func MergeExtents(all []Extent) (e Extent) {
	for _, part := range all {
		earlier := part.First.Compare(e.First) < 0
		switch {
		case part.First == zeroID: // it says nothing
		case e.First == zeroID, part.Trimmed && !e.Trimmed, part.Trimmed == e.Trimmed && earlier != part.Trimmed:
			e.First, e.Trimmed = part.First, part.Trimmed
		}
		if part.Last.Compare(e.Last) > 0 {
			e.Last = part.Last
		}
	}
	return e
}

type merged []partition

// partition is one of what is merged.
type partition struct {
	r    Reader
	rest []Entry
	err  error // behind rest
}

// Next is part of Reader. What it returns is a piece of what one partition's Reader has returned, so that nothing is copied.
func (m merged) Next() ([]Entry, error) {
	var best *partition
	until := entry.MaxID // before the next entry of another
	for i := range m {
		p := &m[i]
		if len(p.rest) == 0 && p.err == nil {
			p.rest, p.err = p.r.Next()
		}
		if len(p.rest) == 0 {
			if err := p.err; !errors.Is(err, io.EOF) {
				p.err = nil // what is behind a gap may be read on
				return nil, err
			}
			continue
		}
		switch first := p.rest[0].ID; {
		case best == nil:
			best = p
		case first.Compare(best.rest[0].ID) < 0:
			best, until = p, best.rest[0].ID
		case first.Compare(until) < 0:
			until = first
		}
	}
	if best == nil {
		return nil, io.EOF
	}
	n := 1
	for n < len(best.rest) && best.rest[n].ID.Compare(until) < 0 {
		n++
	}
	entries := best.rest[:n]
	best.rest = best.rest[n:]
	return entries, nil
}

// Close is part of Reader.
func (m merged) Close() (err error) {
	for _, p := range m {
		err = errors.Join(err, p.r.Close())
	}
	return err
}
