package app_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/app"
)

// A walk over a history leaves little room, but for those who have said how much.
func TestTuneForHistory(t *testing.T) {
	const usual = 100
	before := debug.SetGCPercent(usual)
	defer debug.SetGCPercent(before)
	for environment, want := range map[string]int{"": 33, "50": usual} { // Go itself has heeded the environment at its start
		t.Setenv("GOGC", environment)
		app.TuneForHistory()
		require.Equal(t, want, debug.SetGCPercent(usual), "GOGC=%q", environment)
	}
}
