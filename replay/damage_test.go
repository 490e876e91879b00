package replay_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/archive"
	"heatobserver/replay"
)

// TestDamagedHistory: what was good before the damage is there, marked incomplete, and what is not read does no harm.
func TestDamagedHistory(t *testing.T) {
	for _, kind := range replay.Kinds {
		t.Run(kind.String(), func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "history"))))
			files, err := filepath.Glob(filepath.Join(dir, kind.String()+"-*"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			good, err := os.ReadFile(files[0])
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(files[0], append(good, "rubbish and more of it"...), 0o600))
			source, err := archive.Open(dir)
			require.NoError(t, err)

			result, err := replay.Run(t.Context(), source, replay.Everything, replay.Options{}, usual(), nil)
			require.NotNil(t, result, "%v", err)
			require.Positive(t, result.Points[0].Total)
			w, otherErr := replay.Compare(t.Context(), source, replay.Everything, replay.Options{}, []replay.Settings{usual()}, 4*time.Second)
			require.NotNil(t, w, "%v", otherErr)
			if kind == replay.Observations {
				require.NoError(t, err)
				require.NoError(t, otherErr)
				require.False(t, result.Incomplete)
			} else {
				require.ErrorContains(t, err, files[0])
				require.ErrorContains(t, otherErr, files[0])
				require.True(t, result.Incomplete)
			}

			audit, err := replay.RunAudit(t.Context(), source, replay.Everything, replay.Options{}, asRecorded())
			require.ErrorContains(t, err, files[0])
			require.NotNil(t, audit)
			require.Positive(t, audit.Plans)
		})
	}
}
