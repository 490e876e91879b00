package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"heatobserver/entry"
	"heatobserver/replay"
)

// Rotation says when a segment ends and a new one begins.
type Rotation struct {
	Size  int64         // bytes on disk
	Every time.Duration // between the IDs of the first entry and of the first that is no longer put in
}

// segmentFile is what a writer needs of an *os.File.
type segmentFile interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// writer appends to the segments of one kind. It is not safe for concurrent use.
type writer struct {
	dir      string
	kind     replay.Kind
	stream   string
	rotation Rotation
	log      *slog.Logger
	encoder  *zstd.Encoder

	file   segmentFile // nil before the first entry
	first  entry.ID    // of the segment
	size   int64       // of what is known to be on disk
	failed error       // why nothing more is written

	pos     entry.ID // of the last line, on disk or in text
	text    []byte   // lines that are not on disk
	entries int64    // in text
	packed  []byte
}

// openWriter finds the position and cuts off what a crash has left of a frame.
func openWriter(ctx context.Context, dir string, kind replay.Kind, stream string, r Rotation, log *slog.Logger) (*writer, error) {
	encoder, err := newEncoder()
	if err != nil {
		return nil, err
	}
	w := &writer{dir: dir, kind: kind, stream: stream, rotation: r, log: log, encoder: encoder}
	for w.file == nil {
		all, err := segments(dir, kind)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return w, nil
		}
		if err := w.resume(ctx, all[len(all)-1]); err != nil {
			return nil, fmt.Errorf("resume the archive: %s: %w", all[len(all)-1].path, err)
		}
	}
	return w, nil
}

// resume opens the last segment. One without a whole frame is removed: then the one before is the last.
func (w *writer) resume(ctx context.Context, s segment) error {
	good, pos, err := lastGood(s.path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if cut := info.Size() - good; cut > 0 {
		w.log.WarnContext(ctx, "the archive ends within a frame; cutting it off and reading it again", "file", s.path, "bytes", cut)
		if err := errors.Join(f.Truncate(good), f.Sync()); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if good == 0 {
		return errors.Join(f.Close(), os.Remove(s.path), syncDir(w.dir))
	}
	if _, err := f.Seek(good, io.SeekStart); err != nil {
		return errors.Join(err, f.Close())
	}
	w.file, w.first, w.size, w.pos = f, s.first, good, pos
	return nil
}

// lastGood is where the whole frames of a file end, and the ID of the last line in them; beside an error about damage too,
// where that is known. A last frame that is complete in length and wrong in content was torn as well, by a loss of power.
func lastGood(path string) (size int64, pos entry.ID, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, pos, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return 0, pos, err
	}
	decoder, err := newDecoder()
	if err != nil {
		return 0, pos, err
	}
	defer decoder.Close()

	r := bufio.NewReaderSize(f, 1<<16)
	var frame []byte
	var ends [3]int64 // of the last three frames, the last one first
	var damage error
	for {
		frame, err = readFrame(r, frame[:0])
		if errors.Is(err, io.EOF) || errors.Is(err, errTorn) {
			break
		}
		if err != nil { // a hole of zeros at the end is torn, anything else is damage
			if zeros(f, ends[0], info.Size()) {
				break
			}
			damage = fmt.Errorf("at byte %d: %w; verify the archive, move this file away, and begin again", ends[0], err)
			break
		}
		ends = [3]int64{ends[0] + int64(len(frame)), ends[0], ends[1]}
	}
	for i := range ends[:2] {
		if ends[i] == 0 {
			return 0, entry.ID{}, damage
		}
		frame = make([]byte, ends[i]-ends[i+1])
		if _, err := f.ReadAt(frame, ends[i+1]); err != nil {
			return 0, pos, err
		}
		var plain []byte
		if plain, err = decoder.DecodeAll(frame, nil); err == nil {
			if pos, err = lastID(plain); err != nil {
				return 0, pos, errors.Join(damage, err)
			}
			return ends[i], pos, damage
		}
	}
	return 0, pos, errors.Join(damage, fmt.Errorf("the frames before byte %d are damaged: %w", ends[0], err))
}

func zeros(f io.ReaderAt, from, to int64) bool {
	buf := make([]byte, 1<<16)
	for from < to {
		n, err := f.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		for _, c := range buf[:n] {
			if c != 0 {
				return false
			}
		}
		if from += int64(n); err != nil && from < to {
			return false
		}
	}
	return true
}

// lastID is that of the last line. What is no entry always stands before one of its frame.
func lastID(plain []byte) (entry.ID, error) {
	trimmed, whole := bytes.CutSuffix(plain, []byte("\n"))
	if !whole {
		return entry.ID{}, fmt.Errorf("%w: the last one has no line break", errLine)
	}
	var s scanner
	l, _, err := s.scan(nil, trimmed[bytes.LastIndexByte(trimmed, '\n')+1:])
	if err == nil && (l.gap != nil || l.follows != nil) {
		err = fmt.Errorf("%w: there is no entry behind it", errLine)
	}
	return l.id, err
}

// add takes an entry whose ID lies above the position.
func (w *writer) add(id entry.ID, fields entry.Fields, gap *hole) error {
	if id.Compare(w.pos) <= 0 {
		return fmt.Errorf("archive %s: entry %s does not come after %s", w.stream, id, w.pos)
	}
	if w.file != nil && (w.size+int64(len(w.text))/4 >= w.rotation.Size || id.Time().Sub(w.first.Time()) >= w.rotation.Every) {
		if err := w.endSegment(); err != nil {
			return err
		}
	}
	if w.file == nil {
		if err := w.begin(id); err != nil {
			return err
		}
	}
	if gap != nil {
		w.text = appendGap(w.text, w.stream, *gap)
	}
	w.text = appendEntry(w.text, w.stream, id, fields)
	w.pos = id
	w.entries++
	if len(w.text) >= frameText {
		return w.flush()
	}
	return nil
}

func (w *writer) begin(first entry.ID) error {
	path := filepath.Join(w.dir, segmentName(w.kind, first))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	w.file, w.first, w.size = f, first, 0
	if err := syncDir(w.dir); err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	if w.pos != (entry.ID{}) {
		w.text = appendFollows(w.text, w.stream, w.pos)
	}
	return nil
}

// flush makes what was added durable, as one frame. After an error nothing more is written: how much of the frame is in the
// file is unknown, and whatever stood behind it would be lost to every reader.
func (w *writer) flush() error {
	if len(w.text) == 0 || w.failed != nil {
		return w.failed
	}
	w.packed = w.encoder.EncodeAll(w.text, w.packed[:0])
	_, err := w.file.Write(w.packed)
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		// Where this fails too, the next follower finds a whole frame, behind which it resumes, or a torn one.
		err = errors.Join(err, w.file.Truncate(w.size))
		w.failed = fmt.Errorf("write to the archive: %w", err)
		return w.failed
	}
	w.size += int64(len(w.packed))
	w.text, w.entries = w.text[:0], 0
	if cap(w.text) > 4*frameText { // a giant entry need not stay in memory
		w.text = nil
	}
	return nil
}

func (w *writer) endSegment() error {
	if err := w.flush(); err != nil {
		return err
	}
	err := w.file.Close()
	w.file = nil
	return err
}

// close flushes, unless that has failed. What cannot be written is read again by the next follower.
func (w *writer) close() (err error) {
	if w.failed == nil {
		err = w.flush()
	}
	if w.file != nil {
		err = errors.Join(err, w.file.Close())
	}
	return errors.Join(err, w.encoder.Close())
}
