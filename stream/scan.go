package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// ErrTrimmed means that a stream was trimmed past the place where it was being read: what followed there is unknown.
var ErrTrimmed = errors.New("the stream was trimmed faster than it was read")

// A page is as many entries as make about pageBytes, so that memory does not depend on how large entries are and no reply
// keeps Redis busy for long. The first one is small, because nothing is known yet.
const (
	firstPage   = 64
	maxPage     = 1000
	pageBytes   = 1 << 20
	pageTries   = 3                // reading changes nothing, so that a page may be asked for again
	scanTimeout = 30 * time.Second // for one page
)

// Scan reads the entries that a stream holds, without a group: it changes nothing. Memory is bounded by three pages,
// of which one is read ahead.
type Scan struct {
	client   redis.UniversalClient
	stream   string
	from, to entry.ID
	cancel   context.CancelFunc
	ended    func() error // that of the context
	wait     sync.WaitGroup
	quick    *pages // nil until it is used, and with a Cluster
	pages    chan scanned
	free     chan scanned // whose memory may be used again
	held     scanned
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
	s := &Scan{
		client: client, stream: stream, from: from, to: to, cancel: cancel, ended: ctx.Err,
		pages: make(chan scanned), free: make(chan scanned, 2),
	}
	s.free <- scanned{}
	s.free <- scanned{}
	s.wait.Go(func() {
		defer close(s.pages)
		defer s.hangUp()
		if err := s.readAll(ctx); err != nil {
			select {
			case s.pages <- scanned{err: s.failed(err)}:
			case <-ctx.Done():
			}
		}
	})
	return s
}

// Next returns some of the following entries, at least one without an error, and io.EOF behind the last. They hold
// until the following call. After an error it is not called again.
func (s *Scan) Next() ([]Entry, error) {
	if s.held.entries != nil {
		s.free <- s.held
		s.held = scanned{}
	}
	page, more := <-s.pages
	switch {
	case !more && s.ended() != nil: // cut short, which is not the end
		return nil, s.failed(s.ended())
	case !more:
		return nil, io.EOF
	case page.err != nil:
		return nil, page.err
	}
	s.held = page
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
	var size sizing
	for {
		count := max(2, size.limit(maxPage)) // one of them is known
		var room scanned
		select {
		case room = <-s.free:
		case <-ctx.Done():
			return ctx.Err()
		}
		page, err := s.page(ctx, room, last, count)
		if err != nil {
			return err
		}
		full := len(page.entries) == count
		size.saw(len(page.entries), len(page.raw), pageBytes)
		if begun {
			switch {
			case len(page.entries) > 0 && page.entries[0].ID == last:
				page.entries = page.entries[1:]
			default:
				if err := s.lookTrimmed(ctx, last); err != nil {
					return err
				}
			}
		}
		if n := len(page.entries); n > 0 {
			last, begun = page.entries[n-1].ID, true
			select {
			case s.pages <- page:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if !full {
			return nil
		}
	}
}

func (s *Scan) failed(err error) error { return fmt.Errorf("read stream %s: %w", s.stream, err) }

// page reads one page, and tries again where the connection was lost or Redis is still loading.
func (s *Scan) page(ctx context.Context, room scanned, from entry.ID, count int) (page scanned, err error) {
	for try, pause := 1, 100*time.Millisecond; ; try, pause = try+1, 4*pause {
		page, err = s.pageOnce(ctx, room, from, count)
		var answer redis.Error
		final := errors.As(err, &answer) && !hasPrefix(err, "LOADING")
		if err == nil || final || try == pageTries || sleep(ctx, pause) != nil {
			return page, err
		}
	}
}

// pageOnce reads into the memory of a page that is no longer looked at.
func (s *Scan) pageOnce(ctx context.Context, room scanned, from entry.ID, count int) (scanned, error) {
	ctx, cancel := context.WithTimeout(ctx, scanTimeout)
	defer cancel()
	raw := room.raw[:0]
	if cap(raw) > 4*pageBytes { // a giant entry need not stay in memory
		raw = nil
	}
	raw, err := s.ask(ctx, raw, "XRANGE", s.stream, from.String(), s.to.String(), "COUNT", strconv.Itoa(count))
	if err != nil {
		return scanned{}, err
	}
	if err := rawError(raw); err != nil {
		return scanned{}, err
	}
	r := reply{raw}
	entries, err := r.entriesInto(room.entries[:0], s.stream)
	return scanned{raw: raw, entries: entries}, err
}

// ask appends the reply to a command on the stream to room.
func (s *Scan) ask(ctx context.Context, room []byte, args ...string) ([]byte, error) {
	node, single := s.client.(*redis.Client)
	if !single {
		words := make([]any, len(args))
		for i, a := range args {
			words[i] = a
		}
		return sendRaw(ctx, s.client, room, 1, words...)
	}
	if s.quick == nil {
		var err error
		if s.quick, err = openPages(ctx, node); err != nil {
			return room, err
		}
	}
	reply, err := s.quick.ask(ctx, room, args...)
	if err != nil {
		s.hangUp()
	}
	return reply, err
}

func (s *Scan) hangUp() {
	if s.quick != nil {
		s.quick.close()
		s.quick = nil
	}
}

// lookTrimmed fails with ErrTrimmed when the entry that was read last is gone because everything up to it is, and not
// because somebody deleted this one.
func (s *Scan) lookTrimmed(ctx context.Context, last entry.ID) error {
	found, err := Measure(ctx, s.client, s.stream)
	if err != nil {
		return err
	}
	switch {
	case found.Length > 0 && found.First.Compare(last) > 0:
		return fmt.Errorf("%w: %s is gone and it begins with %s now", ErrTrimmed, last, found.First)
	case found.Length == 0 && found.Generated != last: // zero when the whole stream was deleted
		return fmt.Errorf("%w: %s is gone and it is empty now", ErrTrimmed, last)
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
