package archive

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/replay"
)

func TestRecordedIsReadBack(t *testing.T) {
	dir := t.TempDir()
	rotation := Rotation{Size: 1 << 20, Every: time.Hour}
	var want []string
	for part := range 2 { // the second continues
		rec, err := Record(t.Context(), dir, names, rotation, slog.New(slog.DiscardHandler))
		require.NoError(t, err)
		for i := range 100 {
			id, fields := entry.ID{Ms: uint64(1000 + 100*part + i)}, entry.Make("n", "\xff")
			require.NoError(t, rec.Add(replay.Decisions, id, fields))
			want = append(want, id.String()+" "+string(fields))
		}
		require.Error(t, rec.Add(replay.Decisions, entry.ID{Ms: 1000}, entry.Make("n", "x")), "IDs rise")
		_, err = Record(t.Context(), dir, names, rotation, slog.New(slog.DiscardHandler))
		require.ErrorIs(t, err, ErrLocked)
		require.NoError(t, rec.Close())
	}
	got, err := read(t, dir, replay.Decisions, replay.Everything)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestACancelledReaderIsNotAtItsEnd: what was cut short must not pass for the whole.
func TestACancelledReaderIsNotAtItsEnd(t *testing.T) {
	dir := t.TempDir()
	rec, err := Record(t.Context(), dir, names, Rotation{Size: 1 << 30, Every: time.Hour}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	for i := range 5 { // a frame each
		require.NoError(t, rec.Add(replay.Plans, entry.ID{Ms: uint64(1 + i)}, entry.Make("n", string(make([]byte, frameText)))))
	}
	require.NoError(t, rec.Close())
	a, err := Open(dir)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	in, err := a.Open(ctx, replay.Plans, replay.Everything)
	require.NoError(t, err)
	_, err = in.Next()
	require.NoError(t, err)
	cancel()
	for err == nil {
		_, err = in.Next()
	}
	require.ErrorIs(t, err, ctx.Err())
	require.NoError(t, in.Close())
}
