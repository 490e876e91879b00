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

	"heatobserver/entry"
	"heatobserver/replay"
)

// FileError is an error about the content of a segment. Line is where it was met, counted from 1; what stands before it is
// good.
type FileError struct {
	File string
	Line int64
	Err  error
}

// Error names file and line.
func (e *FileError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap is the cause.
func (e *FileError) Unwrap() error { return e.Err }

// ErrOrder is wrapped by the error about an entry whose ID is not larger than the one before.
var ErrOrder = errors.New("entry IDs out of order")

// reader reads the entries of one kind. A goroutine of its own reads and unpacks one frame ahead.
type reader struct {
	r      replay.Range
	cancel context.CancelFunc
	ended  func() error // that of the context
	wait   sync.WaitGroup
	frames chan frame
	free   chan []byte
	gap    func(Gap)

	held    []byte // text of the frame that was handed out last
	scanner scanner
	fields  []byte
	entries []replay.Entry
	file    string
	line    int64
	last    entry.ID
}

// frame is the text of one frame, or the error behind the last.
type frame struct {
	file string
	text []byte
	err  error // about the file, behind the text of all frames before
}

func newReader(ctx context.Context, dir string, kind replay.Kind, r replay.Range, gap func(Gap)) (*reader, error) {
	live := written(dir) // before the list: a file that is torn later was written meanwhile
	all, err := segments(dir, kind)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	out := &reader{r: r, cancel: cancel, ended: ctx.Err, frames: make(chan frame), free: make(chan []byte, 2), gap: gap}
	out.free <- nil
	out.free <- nil
	chosen := within(all, r)
	out.wait.Go(func() {
		defer close(out.frames)
		for _, s := range chosen {
			open := live && s == all[len(all)-1]
			if err := out.unpack(ctx, s.path, open); err != nil {
				if ctx.Err() == nil {
					select {
					case out.frames <- frame{file: s.path, err: err}:
					case <-ctx.Done():
					}
				}
				return
			}
		}
	})
	return out, nil
}

// unpack sends the text of all frames of a file.
func (r *reader) unpack(ctx context.Context, path string, open bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	decoder, err := newDecoder()
	if err != nil {
		return err
	}
	defer decoder.Close()
	in := bufio.NewReaderSize(f, 1<<18)
	var packed []byte
	for {
		packed, err = readFrame(in, packed[:0])
		if errors.Is(err, io.EOF) || (open && errors.Is(err, errTorn)) {
			return nil
		}
		if err != nil {
			return err
		}
		var text []byte
		select {
		case text = <-r.free:
		case <-ctx.Done():
			return ctx.Err()
		}
		if text, err = decoder.DecodeAll(packed, text[:0]); err != nil {
			return fmt.Errorf("unpack a frame: %w", err)
		}
		select {
		case r.frames <- frame{file: path, text: text}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Next returns the entries of the next frame that lie within the range.
func (r *reader) Next() ([]replay.Entry, error) {
	for {
		if r.held != nil {
			r.free <- r.held[:0]
			r.held = nil
		}
		f, more := <-r.frames
		if !more {
			if err := r.ended(); err != nil { // cut short, which is not the end
				return nil, fmt.Errorf("read the archive: %w", err)
			}
			return nil, io.EOF
		}
		if f.file != r.file {
			r.file, r.line = f.file, 0
		}
		if f.err != nil {
			return nil, &FileError{File: f.file, Line: r.line + 1, Err: f.err}
		}
		r.held = f.text
		end, err := r.scan(f.text)
		switch {
		case err != nil:
			return r.entries, err
		case len(r.entries) > 0:
			return r.entries, nil
		case end:
			return nil, io.EOF
		}
	}
}

// scan takes a frame apart; end says that the range is behind.
func (r *reader) scan(text []byte) (end bool, err error) {
	r.entries, r.fields = r.entries[:0], r.fields[:0]
	for len(text) > 0 {
		n := bytes.IndexByte(text, '\n')
		r.line++
		if n < 0 {
			return false, r.wrong(fmt.Errorf("%w: no line break at the end", errLine))
		}
		l, fields, err := r.scanner.scan(r.fields, text[:n])
		text = text[n+1:]
		if err != nil {
			return false, r.wrong(err)
		}
		if l.gap != nil {
			if r.gap != nil {
				r.gap(*l.gap)
			}
			continue
		}
		if l.id.Compare(r.last) <= 0 {
			return false, r.wrong(fmt.Errorf("%w: %s after %s", ErrOrder, l.id, r.last))
		}
		r.last = l.id
		if l.id.Compare(r.r.To) > 0 {
			return true, nil
		}
		if l.id.Compare(r.r.From) < 0 {
			continue // the fields are written over
		}
		// When r.fields had to grow, earlier entries keep the old array: it stays as it is.
		r.fields = fields
		r.entries = append(r.entries, replay.Entry{ID: l.id, Fields: l.fields})
	}
	return false, nil
}

func (r *reader) wrong(err error) error { return &FileError{File: r.file, Line: r.line, Err: err} }

// Close ends the goroutine.
func (r *reader) Close() error {
	r.cancel()
	r.wait.Wait()
	return nil
}
