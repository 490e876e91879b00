package archive

import (
	"context"
	"errors"
	"log/slog"
	"os"

	"heatobserver/entry"
	"heatobserver/replay"
)

// Recorder writes an archive from entries that somebody makes, where Follow takes them from streams. It is not safe for
// concurrent use.
type Recorder struct {
	lock    *os.File
	writers [len(replay.Kinds)]*writer
}

// Record makes a Recorder, which is the one writer of the directory until it is closed. An archive that is there already
// is continued.
func Record(ctx context.Context, dir string, streams Streams, r Rotation, log *slog.Logger) (rec *Recorder, err error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	rec = &Recorder{}
	if rec.lock, err = waitLock(ctx, dir); err != nil {
		return nil, err
	}
	for _, kind := range replay.Kinds {
		if rec.writers[kind], err = openWriter(ctx, dir, kind, streams[kind], r, log); err != nil {
			return nil, errors.Join(err, rec.Close())
		}
	}
	return rec, nil
}

// Add appends an entry, whose ID lies above all of its kind before. It is on disk when Close has returned.
func (r *Recorder) Add(kind replay.Kind, id entry.ID, fields entry.Fields) error {
	return r.writers[kind].add(id, fields, nil)
}

// Close writes what is left.
func (r *Recorder) Close() (err error) {
	for _, w := range r.writers {
		if w != nil {
			err = errors.Join(err, w.close())
		}
	}
	return errors.Join(err, r.lock.Close())
}
