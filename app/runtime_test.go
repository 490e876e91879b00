package app_test

import (
	"log/slog"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
)

// A walk over a history leaves little room, but for those who have said how much, from whichever source.
func TestTuneForHistory(t *testing.T) {
	const usual = 100
	before := debug.SetGCPercent(usual)
	defer debug.SetGCPercent(before)
	limitBefore := debug.SetMemoryLimit(-1)
	for _, tc := range []struct {
		name    string
		src     config.Sources
		percent int
		limit   int64 // 0: whatever the machine has
	}{
		{"nothing", config.Sources{}, 33, 0},
		{"environment", config.Sources{Environ: []string{"GOGC=50"}}, 50, 0},
		{"the default, given", config.Sources{Environ: []string{"GOGC=200"}}, 200, 0},
		{"flags", config.Sources{Flags: map[string]string{"GOGC": "150", "GOMEMLIMIT": "64GiB"}}, 150, 64 << 30},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.src.Environ = append(tc.src.Environ, "P28_HEAT_LOOKUP_PREFIX=p:")
			cfg, _, err := config.Load(tc.src)
			require.NoError(t, err)
			undo := app.TuneForHistory(t.Context(), cfg.Runtime, slog.New(slog.DiscardHandler))
			percent := debug.SetGCPercent(usual)
			limit := debug.SetMemoryLimit(-1)
			undo()
			require.Equal(t, tc.percent, percent)
			if tc.limit > 0 {
				require.Equal(t, tc.limit, limit)
			}
			require.Equal(t, limitBefore, debug.SetMemoryLimit(-1), "it is undone")
			require.Equal(t, usual, debug.SetGCPercent(usual), "it is undone")
		})
	}
}
