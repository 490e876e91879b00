package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// ErrTrimmed means that a stream was trimmed past the place where it was being read: what followed there is unknown.
var ErrTrimmed = errors.New("the stream was trimmed faster than it was read")

const (
	scanPage    = 1000             // entries asked for at once
	scanTimeout = 30 * time.Second // for one page
)

// Scan reads the entries that a stream holds, without a group: it changes nothing. Memory is bounded by three pages,
// of which one is read ahead.
type Scan struct {
	client   redis.UniversalClient
	stream   string
	from, to entry.ID
	cancel   context.CancelFunc
	wait     sync.WaitGroup
	pages    chan scanned
	free     chan []byte
	held     []byte
}

type scanned struct {
	raw     []byte // what the entries are cut out of
	entries []Entry
	err     error
}

// NewScan begins to read the entries of a stream from one ID to another, both included. A stream that is not there is
// empty. The context holds for the whole of it; the caller closes it. The client stays the caller's.
func NewScan(ctx context.Context, client redis.UniversalClient, stream string, from, to entry.ID) *Scan {
	ctx, cancel := context.WithCancel(ctx)
	s := &Scan{client: client, stream: stream, from: from, to: to, cancel: cancel, pages: make(chan scanned), free: make(chan []byte, 2)}
	s.free <- nil
	s.free <- nil
	s.wait.Go(func() {
		defer close(s.pages)
		if err := s.readAll(ctx); err != nil {
			select {
			case s.pages <- scanned{err: err}:
			case <-ctx.Done():
			}
		}
	})
	return s
}

// Next returns some of the following entries, at least one without an error, and io.EOF behind the last. They hold
// until the following call. After an error it is not called again.
func (s *Scan) Next() ([]Entry, error) {
	if s.held != nil {
		s.free <- s.held
		s.held = nil
	}
	page, more := <-s.pages
	switch {
	case !more:
		return nil, io.EOF
	case page.err != nil:
		return nil, page.err
	}
	s.held = page.raw
	return page.entries, nil
}

// Close ends the reading.
func (s *Scan) Close() error {
	s.cancel()
	s.wait.Wait()
	return nil
}

// readAll sends page after page. Each begins with the last entry of the one before: while that is there, nothing behind
// it was trimmed.
func (s *Scan) readAll(ctx context.Context) error {
	last, begun := s.from, false
	for {
		var room []byte
		select {
		case room = <-s.free:
		case <-ctx.Done():
			return s.failed(ctx.Err())
		}
		page, err := s.page(ctx, room, last)
		if err != nil {
			return s.failed(err)
		}
		full := len(page.entries) == scanPage
		if begun {
			switch {
			case len(page.entries) > 0 && page.entries[0].ID == last:
				page.entries = page.entries[1:]
			default:
				if err := s.lookTrimmed(ctx, last); err != nil {
					return s.failed(err)
				}
			}
		}
		if n := len(page.entries); n > 0 {
			last, begun = page.entries[n-1].ID, true
			select {
			case s.pages <- page:
			case <-ctx.Done():
				return s.failed(ctx.Err())
			}
		}
		if !full {
			return nil
		}
	}
}

func (s *Scan) failed(err error) error { return fmt.Errorf("read stream %s: %w", s.stream, err) }

func (s *Scan) page(ctx context.Context, room []byte, from entry.ID) (scanned, error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	out := rawReply{bytes: room[:0]}
	cmd := redis.NewRawWriteToCmd(ctx, &out, "XRANGE", s.stream, from.String(), s.to.String(), "COUNT", scanPage)
	cmd.SetFirstKeyPos(1)
	if err := s.client.Process(ctx, cmd); err != nil && !errors.Is(err, redis.Nil) {
		return scanned{}, err
	}
	if err := rawError(out.bytes); err != nil {
		return scanned{}, err
	}
	r := reply{out.bytes}
	entries, err := r.entries(s.stream)
	return scanned{raw: out.bytes, entries: entries}, err
}

// lookTrimmed fails with ErrTrimmed when the entry that was read last is gone because everything up to it is, and not
// because somebody deleted this one.
func (s *Scan) lookTrimmed(ctx context.Context, last entry.ID) error {
	found, err := Measure(ctx, s.client, s.stream)
	if err != nil {
		return err
	}
	if found.First.Compare(last) > 0 {
		return fmt.Errorf("%w: %s is gone and it begins with %s now", ErrTrimmed, last, found.First)
	}
	return nil
}

// Extent is what a stream holds.
type Extent struct {
	Length      int64
	First, Last entry.ID // zero in an empty stream
	// Generated is the largest ID that there ever was.
	Generated entry.ID
	// Lost says that there were more entries than there are, trimmed or deleted.
	Lost bool
}

// Measure asks what a stream holds. One that is not there is empty.
func Measure(ctx context.Context, client redis.UniversalClient, stream string) (e Extent, err error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	info, err := client.XInfoStream(ctx, stream).Result()
	switch {
	case hasPrefix(err, "ERR no such key"):
		return e, nil
	case err != nil:
		return e, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	e.Length, e.Lost = info.Length, info.EntriesAdded > info.Length
	for _, id := range []struct {
		text string
		into *entry.ID
	}{{info.FirstEntry.ID, &e.First}, {info.LastEntry.ID, &e.Last}, {info.LastGeneratedID, &e.Generated}} {
		if id.text == "" {
			continue
		}
		if *id.into, err = entry.ParseID(id.text); err != nil {
			return e, fmt.Errorf("look at stream %s: %w", stream, err)
		}
	}
	return e, nil
}
