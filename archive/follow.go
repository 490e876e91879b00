package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/replay"
)

// Streams are the names of the streams of a history, by replay.Kind; those with an empty name are left out.
type Streams [3]string

// Partition are the streams of one partition, beside the decisions about all.
type Partition struct {
	Tag                 string // by which its directory is named
	Plans, Observations string
}

// FollowConfig is what Follow needs.
type FollowConfig struct {
	Dir        string
	Streams    Streams
	Partitions []Partition // with any, Streams has the decisions alone
	Rotation   Rotation
	FlushEvery time.Duration // how long an entry may wait in memory before it is on disk
	Until      bool          // true: end at the end of the streams in place of waiting for more
	Logger     *slog.Logger
}

// Progress is what this run of Follow has done.
type Progress struct {
	Entries [3]int64
	Gaps    int
}

// A page is as many entries as make about pageBytes, so that memory does not depend on how large entries are. The first one is
// small, because nothing is known yet, and each begins with an entry that is known, so that there are two at least.
const (
	firstPage = 16
	maxPage   = 1000
	pageBytes = 4 << 20
)

const (
	blockFor  = time.Second
	retryWait = time.Second
	pollEvery = 200 * time.Millisecond // where one command cannot wait for all streams
	together  = 6                      // streams that are read in one pipeline, so that not too much is held in memory
)

// Follow appends to the archive what comes into the streams, until ctx ends, which is no error. While one of them cannot be
// read it tries again, and reads the others; what stops it is the disk, a second writer, or a damaged archive. What was read
// is on disk when Follow returns. The client stays the caller's; its retries must be off or harmless: only reading commands
// are sent.
func Follow(ctx context.Context, client redis.UniversalClient, c FollowConfig) (p Progress, err error) {
	f := &follower{client: client, c: c}
	defer func() {
		for _, w := range f.writers {
			err = errors.Join(err, w.close())
		}
		for _, l := range f.locks {
			err = errors.Join(err, l.Close())
		}
		p = f.done
	}()
	if err := f.open(ctx, c.Dir, c.Streams); err != nil {
		return p, err
	}
	for _, part := range c.Partitions {
		if err := f.open(ctx, partDir(c.Dir, part.Tag), Streams{replay.Plans: part.Plans, replay.Observations: part.Observations}); err != nil {
			return p, err
		}
	}
	return p, f.run(ctx)
}

// open locks a directory and finds the positions of the streams that are kept there.
func (f *follower) open(ctx context.Context, dir string, streams Streams) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the directory of the archive: %w", err)
	}
	held, err := waitLock(ctx, dir)
	if err != nil {
		return err
	}
	f.locks = append(f.locks, held)
	for kind, stream := range streams {
		if stream == "" {
			continue
		}
		w, err := openWriter(ctx, dir, replay.Kind(kind), stream, f.c.Rotation, f.c.Logger)
		if err != nil {
			return err
		}
		f.writers = append(f.writers, &followed{writer: w, count: firstPage})
		f.c.Logger.InfoContext(ctx, "archiving", "dir", dir, "stream", stream, "after", w.pos.String())
	}
	return nil
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

// followed is a stream with the writer of its chain.
type followed struct {
	*writer
	failing bool // to be read
	count   int  // of entries that are asked for
}

type follower struct {
	client  redis.UniversalClient
	c       FollowConfig
	locks   []*os.File
	writers []*followed
	done    Progress
	flushed time.Time
	fields  entry.Fields
}

func (f *follower) run(ctx context.Context) error {
	f.flushed = time.Now()
	for ctx.Err() == nil {
		more, err := f.readAll(ctx)
		if !remote(err) {
			return err
		}
		if time.Since(f.flushed) >= f.c.FlushEvery || (!more && f.c.Until) {
			if err := f.flush(); err != nil {
				return err
			}
		}
		switch {
		case more || ctx.Err() != nil: // others may have more than the stream that fails
		case f.c.Until:
			return err
		case err != nil:
			select {
			case <-ctx.Done():
			case <-time.After(retryWait):
			}
		default:
			f.wait(ctx)
		}
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
	return nil
}

// remoteError is an error of Redis and not of the disk.
type remoteError struct{ err error }

func (e *remoteError) Error() string { return e.err.Error() }
func (e *remoteError) Unwrap() error { return e.err }

// remote says whether an error is one of Redis, whose other streams are read all the same, or none.
func remote(err error) bool {
	var r *remoteError
	return err == nil || errors.As(err, &r)
}

// readAll reads a page of each stream, and reports whether one was full, so that there may be more: what others write
// meanwhile does not keep it from the end. Each page begins with the entry at the position itself: when that is still there
// nothing behind it was trimmed, and this is said by the same command that reads, so that no trimming comes between.
func (f *follower) readAll(ctx context.Context) (more bool, err error) {
	for writers := range slices.Chunk(f.writers, together) {
		some, failed := f.read(ctx, writers)
		if !remote(failed) {
			return more, failed
		}
		more, err = more || some, errors.Join(err, failed)
		if failed != nil { // to ask in vain may take long
			if err := f.flush(); err != nil {
				return more, err
			}
		}
	}
	return more, err
}

func (f *follower) read(ctx context.Context, writers []*followed) (more bool, err error) {
	asking, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	infos := make([]*redis.XInfoStreamCmd, len(writers))
	pages := make([]*redis.Cmd, len(writers))
	pipe := f.client.Pipeline()
	for i, w := range writers {
		if w.pos == (entry.ID{}) {
			infos[i] = pipe.XInfoStream(asking, w.stream)
		}
		pages[i] = pipe.Do(asking, "XRANGE", w.stream, w.pos.String(), "+", "COUNT", w.count)
	}
	_, _ = pipe.Exec(asking) // each command has its own error
	for i, w := range writers {
		some, failed := f.take(ctx, w, pages[i], infos[i])
		if !remote(failed) {
			return more, failed
		}
		f.tell(ctx, w, failed)
		more, err = more || some, errors.Join(err, failed)
	}
	return more, err
}

// tell logs that a stream cannot be read, once until it can.
func (f *follower) tell(ctx context.Context, w *followed, err error) {
	switch {
	case f.c.Until || ctx.Err() != nil: // it ends, and returns the error where it is one
		return
	case err != nil && !w.failing:
		f.c.Logger.WarnContext(ctx, "a stream cannot be read; trying again until it can", "stream", w.stream, "err", err)
	case err == nil && w.failing:
		f.c.Logger.InfoContext(ctx, "the stream can be read again", "stream", w.stream)
	}
	w.failing = err != nil
}

// take appends a page and reports whether it was full.
func (f *follower) take(ctx context.Context, w *followed, answer *redis.Cmd, info *redis.XInfoStreamCmd) (full bool, err error) {
	reply, err := answer.Slice()
	if err != nil {
		return false, &remoteError{fmt.Errorf("read stream %s: %w", w.stream, err)}
	}
	at := w.pos
	first := true // it may have a gap before it
	size := 0
	for _, raw := range reply {
		id, fields, err := parseEntry(f.fields[:0], raw)
		if err != nil {
			return false, &remoteError{fmt.Errorf("read stream %s: %w", w.stream, err)}
		}
		f.fields = fields
		size += len(fields)
		if id == at {
			first = false // nothing is missing before the next
			continue
		}
		var gap *hole
		if first && trimmedBefore(at, info) {
			gap = &hole{after: at, before: id}
			f.done.Gaps++
			if at == (entry.ID{}) {
				f.c.Logger.WarnContext(ctx, "the archive begins with a stream that was already trimmed", "stream", w.stream, "first", id.String())
			} else {
				f.c.Logger.WarnContext(ctx, "the stream was trimmed past the position of the archive; entries between may be missing",
					"stream", w.stream, "after", at.String(), "before", id.String())
			}
		}
		if err := w.add(id, fields, gap); err != nil {
			return false, err
		}
		first = false
		f.done.Entries[w.kind]++
	}
	full = len(reply) == w.count
	if size > 0 {
		w.count = min(max(2, len(reply)*pageBytes/size), maxPage, 4*w.count)
	}
	return full, nil
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
	block, cancel := context.WithTimeout(ctx, limit+3*time.Second)
	defer cancel()
	streams := make([]string, 0, 2*len(f.writers))
	for _, w := range f.writers {
		streams = append(streams, w.stream)
	}
	for _, w := range f.writers {
		streams = append(streams, w.pos.String())
	}
	err := f.client.XRead(block, &redis.XReadArgs{Streams: streams, Count: 1, Block: limit}).Err()
	if err == nil || errors.Is(err, redis.Nil) {
		return
	}
	// On a Redis Cluster no command waits for streams in several slots. Any other error shows again at the next reading.
	select {
	case <-ctx.Done():
	case <-time.After(min(limit, pollEvery)):
	}
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
