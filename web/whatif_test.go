package web

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/replay"
)

// TestCurveReachesTheLongestWait has no gaps on a logarithmic axis up to the longest wait that may be allowed.
func TestCurveReachesTheLongestWait(t *testing.T) {
	for _, longest := range []int64{1, 2, 30_000, 170_000, 600_000} {
		c := curve{Curve: replay.Curve{Longest: time.Duration(longest) * time.Millisecond, Decided: 1, Delays: &replay.Histogram{}}}
		table := c.whatIf(1).Curve
		require.LessOrEqual(t, len(table.WaitMs), 400, "as the document says")
		require.Len(t, table.Coverage, len(table.WaitMs))
		last := int64(0)
		for _, ms := range table.WaitMs {
			require.Greater(t, ms, last)
			require.LessOrEqual(t, ms-last, max(1, last/32))
			last = ms
		}
		require.Equal(t, longest, last)
	}
}
