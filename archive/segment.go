package archive

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"heatobserver/entry"
	"heatobserver/replay"
)

const (
	suffix     = ".jsonl.zst"
	lockName   = "lock"
	partPrefix = "partition-" // of the directory of a partition
)

// ErrLocked means that another process writes to the directory.
var ErrLocked = errors.New("another process archives into this directory")

// errNoArchive means that a directory holds no segment.
var errNoArchive = errors.New("there is no archive")

// segment is one file. It holds the entries from first up to the first of the next.
type segment struct {
	path  string
	kind  replay.Kind
	first entry.ID
}

// partDir is the directory of a partition within that of the archive.
func partDir(dir, tag string) string { return filepath.Join(dir, partPrefix+url.PathEscape(tag)) }

// dirs are the directory of an archive and those of its partitions, {2} before {10}.
func dirs(dir string) ([]string, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the archive: %w", err)
	}
	all := []string{dir}
	for _, f := range files {
		if f.IsDir() && strings.HasPrefix(f.Name(), partPrefix) {
			all = append(all, filepath.Join(dir, f.Name()))
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b)) })
	return all, nil
}

// holding are those of them that hold segments of a kind.
func holding(dir string, kind replay.Kind) (out []string, err error) {
	all, err := dirs(dir)
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		found, err := segments(d, kind)
		if err != nil {
			return nil, err
		}
		if len(found) > 0 {
			out = append(out, d)
		}
	}
	return out, nil
}

func segmentName(kind replay.Kind, first entry.ID) string {
	return kind.String() + "-" + first.String() + suffix
}

// segments are those of a kind, in order. Files with other names are passed over.
func segments(dir string, kind replay.Kind) ([]segment, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list the archive: %w", err)
	}
	var out []segment
	for _, f := range files {
		name, isSegment := strings.CutSuffix(f.Name(), suffix)
		text, isKind := strings.CutPrefix(name, kind.String()+"-")
		if !isSegment || !isKind {
			continue
		}
		id, err := entry.ParseID(text)
		if err != nil {
			return nil, fmt.Errorf("list the archive: %s: %w", filepath.Join(dir, f.Name()), err)
		}
		out = append(out, segment{path: filepath.Join(dir, f.Name()), kind: kind, first: id})
	}
	slices.SortFunc(out, func(a, b segment) int { return cmp.Or(a.first.Compare(b.first), strings.Compare(a.path, b.path)) })
	return out, nil
}

// within are the segments that can hold entries of a range, and one more behind: a gap heads the file of the entry that follows
// it.
func within(all []segment, r replay.Range) []segment {
	from, to := 0, len(all)
	for from+1 < len(all) && all[from+1].first.Compare(r.From) <= 0 {
		from++
	}
	for to > from+1 && all[to-2].first.Compare(r.To) > 0 {
		to--
	}
	return all[from:to]
}

// lock makes this process the only writer until the file is closed, also by a crash.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock the archive: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock the archive: %s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock the archive: %s: %w", dir, err)
	}
	return f, nil
}

// written reports whether somebody writes to the archive now: then a frame that is not yet whole is no error.
func written(dir string) bool {
	f, err := os.Open(filepath.Join(dir, lockName))
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB), syscall.EWOULDBLOCK)
}

// syncDir makes the names of new files survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
