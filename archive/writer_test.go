package archive

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/replay"
)

// failing fails once, as a disk does that is full or broken for a moment.
type failing struct {
	*os.File
	write, sync, truncate error
}

func (f *failing) Write(b []byte) (int, error) {
	if err := f.write; err != nil {
		f.write = nil
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	return f.File.Write(b)
}

func (f *failing) Sync() error {
	if err := f.sync; err != nil {
		f.sync = nil
		return err
	}
	return f.File.Sync()
}

func (f *failing) Truncate(size int64) error {
	if f.truncate != nil {
		return f.truncate
	}
	return f.File.Truncate(size)
}

// TestAFailedWriteIsNotRepeated: the next follower continues what is good, and every entry is there once.
func TestAFailedWriteIsNotRepeated(t *testing.T) {
	for _, tc := range []failing{
		{write: syscall.ENOSPC},
		{sync: syscall.EIO},
		{write: syscall.ENOSPC, truncate: syscall.EIO},
		{sync: syscall.EIO, truncate: syscall.EIO},
	} {
		t.Run(fmt.Sprintf("write %v, sync %v, truncate %v", tc.write, tc.sync, tc.truncate), func(t *testing.T) {
			dir := t.TempDir()
			begin := func() *writer {
				w, err := openWriter(t.Context(), dir, replay.Plans, "plans", Rotation{1 << 30, time.Hour}, slog.New(slog.DiscardHandler))
				require.NoError(t, err)
				return w
			}
			add := func(w *writer, ms uint64) {
				require.NoError(t, w.add(entry.ID{Ms: ms}, entry.Make("n", fmt.Sprint(ms)), nil))
			}
			w := begin()
			add(w, 1)
			require.NoError(t, w.flush())
			f := tc
			f.File = w.file.(*os.File)
			w.file = &f
			add(w, 2)
			require.ErrorIs(t, w.flush(), cmp.Or(tc.write, tc.sync))
			require.NoError(t, w.close(), "what has failed was told")

			w = begin()
			for ms := w.pos.Ms + 1; ms <= 3; ms++ {
				add(w, ms)
			}
			require.NoError(t, w.close())
			got, err := read(t, dir, replay.Plans, replay.Everything)
			require.NoError(t, err)
			require.Len(t, got, 3)
		})
	}
}
