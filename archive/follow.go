package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/replay"
)

// Streams are the names of the streams of a history, by replay.Kind.
type Streams [3]string

// FollowConfig is what Follow needs.
type FollowConfig struct {
	Dir        string
	Streams    Streams
	Rotation   Rotation
	FlushEvery time.Duration // how long an entry may wait in memory before it is on disk
	Until      bool          // true: end at the end of the streams in place of waiting for more
	Logger     *slog.Logger
	// Progress is called after every flush, from the goroutine of Follow. It may be nil.
	Progress func(Progress)
}

// Progress is what this run of Follow has done.
type Progress struct {
	Entries   [3]int64
	Positions [3]entry.ID
	Gaps      int
}

const (
	page      = 1000 // entries asked for at once
	blockFor  = time.Second
	retryWait = time.Second
)

// Follow appends to the archive what comes into the streams, until ctx ends, which is no error. While Redis does not
// answer it tries again; what stops it is the disk, a second writer, or a damaged archive. What was read is on disk when
// Follow returns. The client stays the caller's; its retries must be off or harmless: only reading commands are sent.
func Follow(ctx context.Context, client redis.UniversalClient, c FollowConfig) (p Progress, err error) {
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return p, fmt.Errorf("make the directory of the archive: %w", err)
	}
	held, err := waitLock(ctx, c.Dir)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, held.Close()) }()

	f := &follower{client: client, c: c}
	defer func() {
		for _, w := range f.writers {
			if w != nil {
				err = errors.Join(err, w.close())
			}
		}
		p = f.done
	}()
	for _, kind := range replay.Kinds {
		w, err := openWriter(ctx, c.Dir, kind, c.Streams[kind], c.Rotation, c.Logger)
		if err != nil {
			return p, err
		}
		f.writers[kind] = w
		f.done.Positions[kind] = w.pos
	}
	c.Logger.InfoContext(ctx, "archiving", "dir", c.Dir,
		"plans_after", f.writers[0].pos.String(), "decisions_after", f.writers[1].pos.String(), "observations_after", f.writers[2].pos.String())
	return p, f.run(ctx)
}

// waitLock is patient for a moment: a reader that looks whether there is a writer holds the lock for an instant.
func waitLock(ctx context.Context, dir string) (*os.File, error) {
	for try := 0; ; try++ {
		f, err := lock(dir)
		if err == nil || try == 10 || !errors.Is(err, ErrLocked) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

type follower struct {
	client  redis.UniversalClient
	c       FollowConfig
	writers [3]*writer
	done    Progress
	flushed time.Time
	fields  entry.Fields
}

func (f *follower) run(ctx context.Context) error {
	f.flushed = time.Now()
	failing := false
	for ctx.Err() == nil {
		more, err := f.readAll(ctx)
		var remote *remoteError
		switch {
		case errors.As(err, &remote):
			if ctx.Err() != nil {
				return nil
			}
			if f.c.Until {
				return err
			}
			if !failing {
				f.c.Logger.WarnContext(ctx, "Redis does not answer; trying again until it does", "err", err)
			}
			failing = true
			if err := f.flush(); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryWait):
			}
			continue
		case err != nil:
			return err
		}
		if failing {
			f.c.Logger.InfoContext(ctx, "Redis answers again")
			failing = false
		}
		if time.Since(f.flushed) >= f.c.FlushEvery || (!more && f.c.Until) {
			if err := f.flush(); err != nil {
				return err
			}
		}
		if more {
			continue
		}
		if f.c.Until {
			return nil
		}
		f.wait(ctx)
	}
	return nil
}

func (f *follower) flush() error {
	for _, w := range f.writers {
		if err := w.flush(); err != nil {
			return err
		}
	}
	f.flushed = time.Now()
	if f.c.Progress != nil {
		f.c.Progress(f.done)
	}
	return nil
}

// remoteError is an error of Redis and not of the disk.
type remoteError struct{ err error }

func (e *remoteError) Error() string { return e.err.Error() }
func (e *remoteError) Unwrap() error { return e.err }

// readAll reads a page of each stream, and reports whether there was anything. Each page begins with the entry at the
// position itself: when that is still there nothing behind it was trimmed, and this is said by the same command that
// reads, so that no trimming comes between.
func (f *follower) readAll(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var infos [3]*redis.XInfoStreamCmd
	var pages [3]*redis.Cmd
	pipe := f.client.Pipeline()
	for kind, w := range f.writers {
		if w.pos == (entry.ID{}) {
			infos[kind] = pipe.XInfoStream(ctx, w.stream)
		}
		pages[kind] = pipe.Do(ctx, "XRANGE", w.stream, w.pos.String(), "+", "COUNT", page)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	for kind, w := range f.writers {
		reply, err := pages[kind].Slice()
		if err != nil {
			return more, &remoteError{fmt.Errorf("read stream %s: %w", w.stream, err)}
		}
		n, err := f.take(ctx, replay.Kind(kind), reply, infos[kind])
		if err != nil {
			return more, err
		}
		more = more || n > 0
	}
	return more, nil
}

func (f *follower) take(ctx context.Context, kind replay.Kind, reply []any, info *redis.XInfoStreamCmd) (n int, err error) {
	w := f.writers[kind]
	at := w.pos
	found := false
	for _, raw := range reply {
		id, fields, err := parseEntry(f.fields[:0], raw)
		if err != nil {
			return n, &remoteError{fmt.Errorf("read stream %s: %w", w.stream, err)}
		}
		f.fields = fields
		if id == at {
			found = true
			continue
		}
		var gap *Gap
		if n == 0 && !found && trimmedBefore(at, info) {
			gap = &Gap{After: at, Before: id}
			f.done.Gaps++
			if at == (entry.ID{}) {
				f.c.Logger.WarnContext(ctx, "the archive begins with a stream that was already trimmed", "stream", w.stream, "first", id.String())
			} else {
				f.c.Logger.WarnContext(ctx, "the stream was trimmed past the position of the archive; entries between may be missing",
					"stream", w.stream, "after", at.String(), "before", id.String())
			}
		}
		if err := w.add(id, fields, gap); err != nil {
			return n, err
		}
		n++
		f.done.Entries[kind]++
		f.done.Positions[kind] = id
	}
	return n, nil
}

// trimmedBefore reports whether something can have stood between a position that is gone and the first entry. Before the
// first position of all that is so only when the stream has ever lost an entry.
func trimmedBefore(at entry.ID, info *redis.XInfoStreamCmd) bool {
	if at != (entry.ID{}) || info == nil {
		return true
	}
	v, err := info.Result()
	return err == nil && v.EntriesAdded > v.Length
}

// wait returns when there is something to read, or after a while. What it reads is read again, by a command that shows
// whether something was trimmed.
func (f *follower) wait(ctx context.Context) {
	limit := blockFor
	for _, w := range f.writers {
		if len(w.text) > 0 {
			limit = min(limit, max(time.Millisecond, f.c.FlushEvery-time.Since(f.flushed)))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limit+3*time.Second)
	defer cancel()
	streams := make([]string, 0, 6)
	for _, w := range f.writers {
		streams = append(streams, w.stream)
	}
	for _, w := range f.writers {
		streams = append(streams, w.pos.String())
	}
	// An error shows again at the next reading.
	_ = f.client.XRead(ctx, &redis.XReadArgs{Streams: streams, Count: 1, Block: limit}).Err()
}

// parseEntry reads one entry of a reply; go-redis's own type would lose the order of its fields.
func parseEntry(dst entry.Fields, raw any) (id entry.ID, fields entry.Fields, err error) {
	pair, ok := raw.([]any)
	if !ok || len(pair) != 2 {
		return id, dst, fmt.Errorf("unexpected reply %T", raw)
	}
	text, ok := pair[0].(string)
	if !ok {
		return id, dst, fmt.Errorf("unexpected entry ID %T", pair[0])
	}
	if id, err = entry.ParseID(text); err != nil {
		return id, dst, err
	}
	values, ok := pair[1].([]any)
	if !ok || len(values)%2 != 0 {
		return id, dst, fmt.Errorf("unexpected fields of entry %s", id)
	}
	dst = entry.AppendHeader(dst, len(values)/2)
	for _, v := range values {
		s, ok := v.(string)
		if !ok {
			return id, dst, fmt.Errorf("unexpected field %T of entry %s", v, id)
		}
		dst = entry.AppendString(dst, s)
	}
	return id, dst, nil
}
