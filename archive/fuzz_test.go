package archive

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/replay"
)

// Whatever a segment holds, reading it ends: at its end, or with an error that names file and line. What comes out before is
// well formed and in order. The seeds of testdata/fuzz are a good segment and damaged ones.
func FuzzSegment(f *testing.F) {
	packed, err := newEncoder()
	require.NoError(f, err)
	text := appendEntry(nil, "s", entry.ID{Ms: 1}, entry.Make("plan_id", "a", "raw", "\xff"))
	text = appendGap(text, "s", hole{after: entry.ID{Ms: 1}, before: entry.ID{Ms: 3}})
	text = appendEntry(text, "s", entry.ID{Ms: 3}, entry.Make("plan_id", "b"))
	good := packed.EncodeAll(text, nil)
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(append(append([]byte{}, good...), good...)) // out of order
	f.Add(packed.EncodeAll([]byte("{}\n"), nil))
	f.Fuzz(func(t *testing.T, segment []byte) {
		dir := t.TempDir()
		path := filepath.Join(dir, segmentName(replay.Plans, entry.ID{Ms: 1}))
		require.NoError(t, os.WriteFile(path, segment, 0o600))
		a, err := Open(dir)
		require.NoError(t, err)
		in, err := a.Open(t.Context(), replay.Plans, replay.Everything)
		require.NoError(t, err)
		defer func() { require.NoError(t, in.Close()) }()
		var last entry.ID
		for {
			entries, err := in.Next()
			for _, e := range entries {
				require.NoError(t, e.Fields.Check())
				require.Positive(t, e.ID.Compare(last))
				last = e.ID
			}
			var gap *replay.GapError
			if err == nil || errors.As(err, &gap) {
				continue
			}
			if errors.Is(err, io.EOF) {
				return
			}
			var at *fileError
			require.ErrorAs(t, err, &at)
			require.Equal(t, path, at.file)
			require.Positive(t, at.line)
			return
		}
	})
}
