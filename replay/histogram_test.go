package replay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/replay"
)

func TestPercentile(t *testing.T) {
	var h replay.Histogram
	require.Zero(t, h.Percentile(0.99))
	for _, ms := range []int64{0, 100, 120, 250, 1200} {
		h.Add(ms)
	}
	for q, want := range map[float64]int64{0: 0, 0.2: 0, 0.21: 100, 0.5: 120, 0.8: 250, 0.9: 1200, 0.99: 1200, 1: 1200} {
		require.Equal(t, want, h.Percentile(q), q)
	}
	var hundred replay.Histogram
	for ms := range int64(100) {
		hundred.Add(ms + 1)
	}
	for q, want := range map[float64]int64{0.07: 7, 0.5: 50, 0.99: 99, 1: 100} {
		require.Equal(t, want, hundred.Percentile(q), q)
	}
}

func TestLongerThanTheHistogram(t *testing.T) {
	var h replay.Histogram
	const hour = 3_600_000
	for _, ms := range []int64{5, hour, 2 * hour} {
		h.Add(ms)
	}
	require.EqualValues(t, 5, h.Percentile(0.3))
	require.EqualValues(t, 2*hour, h.Percentile(0.99))
	require.EqualValues(t, 2*hour, h.Max())
}
