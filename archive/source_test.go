package archive

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/replay"
)

// TestDamageLeavesTheExtent: where a history begins and ends is asked before anything is read, also of streams of which
// nothing will be. The damage is told by who looks for it, and by who reads that far.
func TestDamageLeavesTheExtent(t *testing.T) {
	dir := t.TempDir()
	for kind, n := range map[replay.Kind]uint64{replay.Observations: 9, replay.Plans: 2} {
		w, err := openWriter(t.Context(), dir, kind, names[kind], Rotation{1 << 30, 3 * time.Millisecond}, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		for ms := uint64(1); ms <= n; ms++ { // files of three frames
			require.NoError(t, w.add(entry.ID{Ms: ms}, entry.Make("n", "some text"), nil))
			require.NoError(t, w.flush())
		}
		require.NoError(t, w.close())
	}
	all, err := segments(dir, replay.Observations)
	require.NoError(t, err)
	require.Len(t, all, 3)
	a, err := Open(dir)
	require.NoError(t, err)

	for name, tc := range map[string]struct {
		file   int
		change func([]byte) []byte
		last   uint64
		lost   bool // whether something was before the first cannot be told
	}{
		"rubbish behind the last frame":   {2, func(b []byte) []byte { return append(b, "rubbish and more of it"...) }, 9, false},
		"the last frame's header":         {2, func(b []byte) []byte { b[bytes.LastIndex(b, b[:4])] ^= 1; return b }, 8, false},
		"the first header of the last":    {2, func(b []byte) []byte { b[0] ^= 1; return b }, 7, false},
		"the first header of the oldest":  {0, func(b []byte) []byte { b[0] ^= 1; return b }, 9, true},
		"the first content of the oldest": {0, func(b []byte) []byte { b[30] ^= 1; return b }, 9, true},
		"the oldest is empty":             {0, func([]byte) []byte { return nil }, 9, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := all[tc.file].path
			good, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, tc.change(append([]byte(nil), good...)), 0o600))
			defer func() { require.NoError(t, os.WriteFile(path, good, 0o600)) }()
			e, err := a.Extent(t.Context(), replay.Observations)
			require.NoError(t, err)
			require.EqualValues(t, 1, e.First.Ms)
			require.Equal(t, tc.last, e.Last.Ms)
			require.Equal(t, tc.lost, e.Trimmed)
			end, err := a.End(t.Context())
			require.NoError(t, err)
			require.Equal(t, e.Last.Time(), end)
			_, err = read(t, dir, replay.Plans, replay.Everything)
			require.NoError(t, err)
			_, err = read(t, dir, replay.Observations, replay.Everything)
			require.ErrorContains(t, err, path)
			for _, look := range []func() ([]KindInfo, error){
				func() ([]KindInfo, error) { return a.Info(t.Context()) }, func() ([]KindInfo, error) { return a.Verify(t.Context()) },
			} {
				kinds, err := look()
				require.NoError(t, err)
				require.Contains(t, kinds[replay.Observations].Error, path)
			}
		})
	}
}

// TestTheOldestFilesMayGo: then what they held is known to be gone, and was not merely never there.
func TestTheOldestFilesMayGo(t *testing.T) {
	dir := t.TempDir()
	w, err := openWriter(t.Context(), dir, replay.Decisions, "decisions", Rotation{1 << 30, 3 * time.Millisecond}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for ms := uint64(1); ms <= 9; ms++ {
		var gap *hole
		if ms == 7 { // at the beginning of the third file
			gap = &hole{after: w.pos, before: entry.ID{Ms: ms}}
		}
		require.NoError(t, w.add(entry.ID{Ms: ms}, entry.Make("n", ""), gap))
	}
	require.NoError(t, w.close())
	all, err := segments(dir, replay.Decisions)
	require.NoError(t, err)
	require.Len(t, all, 3)
	a, err := Open(dir)
	require.NoError(t, err)
	for gone := range all {
		if gone > 0 {
			require.NoError(t, os.Remove(all[gone-1].path))
		}
		e, err := a.Extent(t.Context(), replay.Decisions)
		require.NoError(t, err)
		require.Equal(t, replay.Extent{First: all[gone].first, Last: entry.ID{Ms: 9}, Trimmed: gone > 0}, e)
		got, err := read(t, dir, replay.Decisions, replay.Everything)
		var gap *replay.GapError
		if gone < 2 {
			require.ErrorAs(t, err, &gap, "in the midst")
			continue
		}
		require.NoError(t, err, "a gap before all that is left is none")
		require.Len(t, got, 3)
	}

	// Files that were written before they said what they follow: one that begins with a gap tells, another does not.
	encoder, err := newEncoder()
	require.NoError(t, err)
	first := appendEntry(nil, "decisions", all[2].first, entry.Make("n", ""))
	for trimmed, text := range map[bool][]byte{
		false: first, true: append(appendGap(nil, "decisions", hole{after: entry.ID{Ms: 6}, before: all[2].first}), first...),
	} {
		require.NoError(t, os.WriteFile(all[2].path, encoder.EncodeAll(text, nil), 0o600))
		e, err := a.Extent(t.Context(), replay.Decisions)
		require.NoError(t, err)
		require.Equal(t, replay.Extent{First: all[2].first, Last: all[2].first, Trimmed: trimmed}, e)
		_, err = read(t, dir, replay.Decisions, replay.Everything)
		require.NoError(t, err)
	}
}

// TestAFileIsMissing: one that does not follow where the one before has ended is as good as a gap, and damage to who looks for
// it. Without a file before it is not, nor behind the range.
func TestAFileIsMissing(t *testing.T) {
	dir := t.TempDir()
	w, err := openWriter(t.Context(), dir, replay.Plans, "plans", Rotation{1 << 30, 3 * time.Millisecond}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for ms := uint64(1); ms <= 12; ms++ {
		require.NoError(t, w.add(entry.ID{Ms: ms}, entry.Make("n", ""), nil))
	}
	require.NoError(t, w.close())
	all, err := segments(dir, replay.Plans)
	require.NoError(t, err)
	require.Len(t, all, 4)
	require.NoError(t, os.Remove(all[1].path))

	r, err := newReader(t.Context(), dir, replay.Plans, replay.Everything, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	var ids []uint64
	var gaps []*replay.GapError
	for err == nil || len(gaps) > 0 && !errors.Is(err, io.EOF) {
		var entries []replay.Entry
		entries, err = r.Next()
		for _, e := range entries {
			ids = append(ids, e.ID.Ms)
		}
		if gap := (*replay.GapError)(nil); errors.As(err, &gap) {
			gaps = append(gaps, gap)
		}
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, []uint64{1, 2, 3, 7, 8, 9, 10, 11, 12}, ids)
	require.Len(t, gaps, 1)
	require.Equal(t, []any{entry.ID{Ms: 3}, all[2].first}, []any{gaps[0].After, gaps[0].Before})
	require.ErrorContains(t, gaps[0], all[2].path+":1: ")

	for name, tc := range map[string]struct {
		from, to uint64
		missing  bool
	}{
		"within what is missing": {4, 5, true},
		"up to it":               {1, 3, false},
		"from it":                {7, 12, false},
		"across":                 {3, 7, true},
	} {
		_, err := read(t, dir, replay.Plans, replay.Range{From: entry.ID{Ms: tc.from}, To: entry.ID{Ms: tc.to}})
		require.Equal(t, tc.missing, errors.Is(err, errMissing), name)
	}

	a, err := Open(dir)
	require.NoError(t, err)
	kinds, err := a.Verify(t.Context())
	require.NoError(t, err)
	require.Contains(t, kinds[replay.Plans].Error, errMissing.Error())
	require.EqualValues(t, 3, *kinds[replay.Plans].Entries)
	require.Empty(t, kinds[replay.Plans].Gaps)
}
