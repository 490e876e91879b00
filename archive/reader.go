package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/klauspost/compress/zstd"

	"heatobserver/entry"
	"heatobserver/replay"
)

// fileError is an error about the content of a segment. Line is where it was met, counted from 1; what stands before it is
// good.
type fileError struct {
	file string
	line int64
	err  error
}

// Error names file and line.
func (e *fileError) Error() string { return fmt.Sprintf("%s:%d: %v", e.file, e.line, e.err) }

// Unwrap is the cause.
func (e *fileError) Unwrap() error { return e.err }

// errOrder is wrapped by the error about an entry whose ID is not larger than the one before.
var errOrder = errors.New("entry IDs out of order")

// errEmpty means that a file is empty which is not the last: a file begins with an entry, and the next one behind its end.
var errEmpty = errors.New("the file is empty and another follows, so that what it held is lost; move it away to read what is left")

var errGap = errors.New("the stream was trimmed before the archive had read them")

var errMissing = errors.New("a file before this one is missing")

// reader reads the entries of one kind. A goroutine of its own reads, unpacks and takes apart one frame ahead, so that what
// is made of the entries has a core to itself.
type reader struct {
	cancel context.CancelFunc
	ended  func() error // that of the context
	wait   sync.WaitGroup
	pages  chan *batch
	free   chan *batch
	held   *batch // that was handed out last
}

// batch are the entries of one frame, or of a part of one, and the error behind them.
type batch struct {
	text    []byte
	fields  []byte // what the entries are cut out of
	entries []replay.Entry
	err     error
}

// newReader begins to read. Gaps go to gap, from another goroutine and before the entries behind them come out of Next; where
// it is nil they are *replay.GapErrors of Next.
func newReader(ctx context.Context, dir string, kind replay.Kind, r replay.Range, gap func(hole)) (*reader, error) {
	live := written(dir) // before the list: a file that is torn later was written meanwhile
	all, err := segments(dir, kind)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	out := &reader{cancel: cancel, ended: ctx.Err, pages: make(chan *batch), free: make(chan *batch, 2)}
	out.free <- &batch{}
	out.free <- &batch{}
	u := unpacker{r: r, kind: kind, gap: gap, pages: out.pages, free: out.free}
	chosen := within(all, r)
	out.wait.Go(func() {
		defer close(out.pages)
		for _, s := range chosen {
			last := s == all[len(all)-1]
			if more := u.unpack(ctx, s, last, live && last); !more {
				return
			}
		}
	})
	return out, nil
}

// Next returns the entries of the next frame that lie within the range.
func (r *reader) Next() ([]replay.Entry, error) {
	if r.held != nil {
		r.free <- r.held
		r.held = nil
	}
	p, more := <-r.pages
	if !more {
		if err := r.ended(); err != nil { // cut short, which is not the end
			return nil, fmt.Errorf("read the archive: %w", err)
		}
		return nil, io.EOF
	}
	r.held = p
	return p.entries, p.err
}

// Close ends the goroutine.
func (r *reader) Close() error {
	r.cancel()
	r.wait.Wait()
	return nil
}

// unpacker makes pages of files.
type unpacker struct {
	r     replay.Range
	kind  replay.Kind
	gap   func(hole)
	pages chan<- *batch
	free  chan *batch

	scanner scanner
	file    string
	first   entry.ID // of the file, by its name
	line    int64
	last    entry.ID
}

// unpack sends the pages of a file, and reports whether the next file is to be read. Last says that there is none, and open
// that somebody writes to this one.
func (u *unpacker) unpack(ctx context.Context, s segment, last, open bool) (more bool) {
	u.file, u.first, u.line = s.path, s.first, 0
	ended, err := u.frames(ctx, s.path, last, open)
	if err != nil && ctx.Err() == nil {
		select {
		case <-u.free:
			_ = u.send(ctx, &batch{err: &fileError{file: u.file, line: u.line + 1, err: err}}) // fails with the context alone
		case <-ctx.Done():
		}
	}
	return err == nil && !ended
}

func (u *unpacker) send(ctx context.Context, p *batch) error {
	select {
	case u.pages <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// frames sends the pages of a file; ended says that nothing is to be read behind them, err why a frame cannot be read.
func (u *unpacker) frames(ctx context.Context, path string, last, open bool) (ended bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	decoder, err := newDecoder()
	if err != nil {
		return false, err
	}
	defer decoder.Close()
	in := bufio.NewReaderSize(f, 1<<18)
	if _, err := in.Peek(1); !last && errors.Is(err, io.EOF) {
		return false, errEmpty
	}
	var packed []byte
	for {
		packed, err = readFrame(in, packed[:0])
		if errors.Is(err, io.EOF) || (open && errors.Is(err, errTorn)) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if ended, err = u.frame(ctx, decoder, packed); ended || err != nil {
			return ended, err
		}
	}
}

// frame sends the pages of one frame: one, unless there are gaps in it.
func (u *unpacker) frame(ctx context.Context, decoder *zstd.Decoder, packed []byte) (ended bool, err error) {
	var rest []byte // of a frame that was sent in part; it is copied, since the page goes away
	for first := true; first || len(rest) > 0; first = false {
		var p *batch
		select {
		case p = <-u.free:
		case <-ctx.Done():
			return true, ctx.Err()
		}
		if first {
			if p.text, err = decoder.DecodeAll(packed, p.text[:0]); err != nil {
				return true, fmt.Errorf("unpack a frame: %w", err)
			}
		} else {
			p.text = append(p.text[:0], rest...)
		}
		left, ended := u.scan(p)
		rest = append(rest[:0], left...)
		if len(p.entries) > 0 || p.err != nil {
			if err := u.send(ctx, p); err != nil {
				return true, err
			}
		} else {
			u.free <- p // there is room for both
		}
		if ended {
			return true, nil
		}
	}
	return false, nil
}

// scan takes the text of a page apart, up to a gap; ended says that nothing is to be read behind it.
func (u *unpacker) scan(p *batch) (rest []byte, ended bool) {
	p.entries, p.fields, p.err = p.entries[:0], p.fields[:0], nil
	text := p.text
	for len(text) > 0 {
		n := bytes.IndexByte(text, '\n')
		u.line++
		if n < 0 {
			p.err = u.wrong(fmt.Errorf("%w: no line break at the end", errLine))
			return nil, true
		}
		l, fields, err := u.scanner.scan(p.fields, text[:n])
		text = text[n+1:]
		if err != nil {
			p.err = u.wrong(err)
			return nil, true
		}
		if l.follows != nil {
			if p.err = u.follows(*l.follows); p.err != nil {
				return text, u.gap != nil
			}
			continue
		}
		if l.gap != nil {
			if p.err = u.took(*l.gap); p.err != nil {
				return text, false
			}
			continue
		}
		if l.id.Compare(u.last) <= 0 {
			p.err = u.wrong(fmt.Errorf("%w: %s after %s", errOrder, l.id, u.last))
			return nil, true
		}
		u.last = l.id
		if l.id.Compare(u.r.To) > 0 {
			return nil, true
		}
		if l.id.Compare(u.r.From) < 0 {
			continue // the fields are written over
		}
		// When p.fields had to grow, earlier entries keep the old array: it stays as it is.
		p.fields = fields
		p.entries = append(p.entries, replay.Entry{ID: l.id, Fields: l.fields})
	}
	return nil, false
}

// took is the error of a gap: none at the beginning, where nothing was read that it could follow.
func (u *unpacker) took(g hole) error {
	switch {
	case u.gap != nil:
		u.gap(g)
		return nil
	case g.after == entry.ID{}, u.last == entry.ID{}, !g.touches(u.r):
		return nil
	}
	return &replay.GapError{Kind: u.kind, After: g.after, Before: g.before, Err: u.wrong(errGap)}
}

// follows is the error of a file that does not begin where the one before has ended: what lies between is a gap, unless
// everything is to be read, for which it is the end.
func (u *unpacker) follows(id entry.ID) error {
	missing := hole{after: u.last, before: u.first}
	if u.last == (entry.ID{}) || u.last == id || !missing.touches(u.r) {
		return nil
	}
	return &replay.GapError{Kind: u.kind, After: missing.after, Before: missing.before, Err: u.wrong(errMissing)}
}

func (u *unpacker) wrong(err error) error { return &fileError{file: u.file, line: u.line, err: err} }
