package archive

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"heatobserver/entry"
	"heatobserver/replay"
)

// Archive is a directory that Follow has written, as a history. It is safe for concurrent use, also beside a follower.
type Archive struct{ dir string }

var _ replay.Source = (*Archive)(nil)

// Open makes an Archive of a directory. It fails where there is no segment.
func Open(dir string) (*Archive, error) {
	for _, kind := range replay.Kinds {
		all, err := holding(dir, kind)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 {
			return &Archive{dir: dir}, nil
		}
	}
	return nil, fmt.Errorf("open the archive: %s: %w", dir, errNoArchive)
}

// Open is part of replay.Source. Segments outside the range are not read.
func (a *Archive) Open(ctx context.Context, kind replay.Kind, r replay.Range) (replay.Reader, error) {
	all, err := holding(a.dir, kind)
	if err != nil {
		return nil, err
	}
	var readers []replay.Reader
	for _, dir := range all {
		one, err := newReader(ctx, dir, kind, r, nil)
		if err != nil {
			return nil, errors.Join(err, replay.MergeReaders(readers).Close())
		}
		readers = append(readers, one)
	}
	return replay.MergeReaders(readers), nil
}

// Extent is part of replay.Source. It reads the beginning of the first segment and the end of the last. Damage there is for
// who reads that far: it is no error here.
func (a *Archive) Extent(_ context.Context, kind replay.Kind) (replay.Extent, error) {
	all, err := holding(a.dir, kind)
	if err != nil {
		return replay.Extent{}, err
	}
	var extents []replay.Extent
	for _, dir := range all {
		e, _, err := extent(dir, kind)
		if err != nil {
			return e, err
		}
		extents = append(extents, e)
	}
	return replay.MergeExtents(extents), nil
}

// extent is what one chain holds, as far as damage lets it be known.
func extent(dir string, kind replay.Kind) (e replay.Extent, damage, err error) {
	all, err := segments(dir, kind)
	if err != nil || len(all) == 0 {
		return e, nil, err
	}
	for i := len(all) - 1; i >= 0 && e.Empty(); i-- {
		good, last, err := lastGood(all[i].path)
		switch {
		case good > 0:
			e.Last = last
		case err != nil: // the entry after which it is named was there
			e.Last = all[i].first
		}
		if err != nil {
			damage = &fileError{file: all[i].path, line: 1, err: err}
		}
	}
	e.Trimmed, err = trimmed(all[0].path)
	if e.Empty() && (errors.Is(err, errEmpty) || errors.Is(err, errTorn)) {
		return replay.Extent{}, nil, nil // nothing is written yet
	}
	if err != nil {
		e.Trimmed = true // it cannot be told
		damage = errors.Join(&fileError{file: all[0].path, line: 1, err: err}, damage)
	}
	e.First = all[0].first
	if e.Empty() {
		e.Last = e.First
	}
	return e, damage, nil
}

// trimmed reports whether a file says that there were entries before its first: in a file that is gone, or trimmed.
func trimmed(path string) (bool, error) {
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
	frame, err := readFrame(bufio.NewReader(f), nil)
	if errors.Is(err, io.EOF) {
		return false, errEmpty
	}
	if err != nil {
		return false, err
	}
	plain, err := decoder.DecodeAll(frame, nil)
	if err != nil {
		return false, fmt.Errorf("unpack a frame: %w", err)
	}
	first, _, _ := bytes.Cut(plain, []byte("\n"))
	var s scanner
	l, _, err := s.scan(nil, first)
	return l.gap != nil || l.follows != nil, err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// End is the time of the last entry of any stream.
func (a *Archive) End(ctx context.Context) (end time.Time, err error) {
	for _, kind := range replay.Kinds {
		e, err := a.Extent(ctx, kind)
		if err != nil {
			return end, err
		}
		if t := e.Last.Time(); !e.Empty() && t.After(end) {
			end = t
		}
	}
	return end, nil
}

// KindInfo says what the archive holds of one stream.
type KindInfo struct {
	Kind      string `json:"kind"`
	Partition string `json:"partition,omitempty"` // its directory
	Segments  int    `json:"segments"`
	Bytes     int64  `json:"bytes"`
	First     string `json:"first_id,omitempty"`
	Last      string `json:"last_id,omitempty"`
	Trimmed   bool   `json:"trimmed_before_first"`
	Unbegun   string `json:"unbegun,omitempty"` // the last file, when it is empty and nobody writes to it
	// Entries, Gaps and Error are known after Verify alone.
	Entries *int64    `json:"entries,omitempty"`
	Gaps    []GapInfo `json:"gaps,omitempty"`
	Error   string    `json:"error,omitempty"`
}

// GapInfo is a gap, in text: what lay between two IDs was trimmed before it was read.
type GapInfo struct {
	After  string `json:"after"`
	Before string `json:"before"`
}

// chain are the segments of one stream.
type chain struct {
	dir  string
	kind replay.Kind
}

// chains are all that the archive has; without partitions one of each kind, also where nothing is there yet.
func (a *Archive) chains() (out []chain, err error) {
	all, err := dirs(a.dir)
	if err != nil {
		return nil, err
	}
	for _, dir := range all {
		for _, kind := range replay.Kinds {
			found, err := segments(dir, kind)
			if err != nil {
				return nil, err
			}
			if len(found) > 0 || len(all) == 1 {
				out = append(out, chain{dir, kind})
			}
		}
	}
	return out, nil
}

// Info looks at the list of files and the ends of each chain.
func (a *Archive) Info(ctx context.Context) ([]KindInfo, error) {
	chains, err := a.chains()
	if err != nil {
		return nil, err
	}
	var out []KindInfo
	for _, c := range chains {
		info, err := a.info(ctx, c)
		if err != nil {
			return nil, err
		}
		out = append(out, info)
	}
	return out, nil
}

func (a *Archive) info(ctx context.Context, c chain) (info KindInfo, err error) {
	live := written(c.dir) // before the list
	all, err := segments(c.dir, c.kind)
	if err != nil {
		return info, err
	}
	info = KindInfo{Kind: c.kind.String(), Segments: len(all)}
	if c.dir != a.dir {
		info.Partition = filepath.Base(c.dir)
	}
	for i, s := range all {
		stat, err := os.Stat(s.path)
		if err != nil {
			return info, fmt.Errorf("list the archive: %w", err)
		}
		info.Bytes += stat.Size()
		if stat.Size() == 0 && i == len(all)-1 && !live {
			info.Unbegun = s.path
		}
	}
	e, damage, err := extent(c.dir, c.kind)
	if err != nil {
		return info, err
	}
	if damage != nil {
		info.Error = damage.Error()
	}
	info.Trimmed = e.Trimmed
	if e.First != (entry.ID{}) {
		info.First = e.First.String()
	}
	if !e.Empty() {
		info.Last = e.Last.String()
	}
	return info, nil
}

// Verify reads everything. Damage is said in the result, with what was good before it.
func (a *Archive) Verify(ctx context.Context) ([]KindInfo, error) {
	chains, err := a.chains()
	if err != nil {
		return nil, err
	}
	out := make([]KindInfo, len(chains))
	for i, c := range chains {
		if out[i], err = a.info(ctx, c); err != nil {
			return nil, err
		}
		info := &out[i]
		r, err := newReader(ctx, c.dir, c.kind, replay.Everything, func(g hole) {
			if g.after != (entry.ID{}) {
				info.Gaps = append(info.Gaps, GapInfo{g.after.String(), g.before.String()})
			}
		})
		if err != nil {
			return nil, err
		}
		var n int64
		for err == nil {
			var entries []replay.Entry
			entries, err = r.Next()
			n += int64(len(entries))
		}
		if err := errors.Join(r.Close(), ctx.Err()); err != nil {
			return nil, err
		}
		info.Entries = &n
		if !errors.Is(err, io.EOF) {
			info.Error = err.Error()
		}
	}
	return out, nil
}
