package replay_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/replay"
)

func TestParseRange(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	last := uint64(math.MaxUint64)
	tests := map[string]struct {
		from, to string
		want     replay.Range
	}{
		"nothing given":  {"", "", replay.Everything},
		"ends":           {"-", "+", replay.Everything},
		"entry IDs":      {"5-3", "7-1", replay.Range{From: entry.ID{Ms: 5, Seq: 3}, To: entry.ID{Ms: 7, Seq: 1}}},
		"milliseconds":   {"5", "7", replay.Range{From: entry.ID{Ms: 5}, To: entry.ID{Ms: 7, Seq: last}}},
		"durations":      {"-24h", "-1h30m", replay.Range{From: entry.ID{Ms: 1_699_913_600_000}, To: entry.ID{Ms: 1_699_994_600_000, Seq: last}}},
		"times":          {"2023-11-14T22:13:20Z", "2023-11-14T22:13:20.5Z", replay.Range{From: entry.ID{Ms: 1_700_000_000_000}, To: entry.ID{Ms: 1_700_000_000_500, Seq: last}}},
		"time with zone": {"2023-11-14T23:13:20+01:00", "+", replay.Range{From: entry.ID{Ms: 1_700_000_000_000}, To: entry.MaxID}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := replay.ParseRange(test.from, test.to, now)
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
	for _, wrong := range [][2]string{{"yesterday", "+"}, {"-24", "+"}, {"-", "1-2-3"}, {"7-0", "6-9"}, {"-1h", "-2h"}, {"$", "+"}, {"+", "-"}} {
		_, err := replay.ParseRange(wrong[0], wrong[1], now)
		require.ErrorIs(t, err, replay.ErrRange, "%v", wrong)
	}
}

func TestWiden(t *testing.T) {
	r := replay.Range{From: entry.ID{Ms: 10_000, Seq: 7}, To: entry.ID{Ms: 20_000, Seq: 7}}
	require.Equal(t, replay.Range{From: entry.ID{Ms: 8_000}, To: entry.ID{Ms: 23_000, Seq: math.MaxUint64}}, r.Widen(2*time.Second, 3*time.Second))
	require.Equal(t, entry.ID{}, r.Widen(time.Minute, 0).From)
	require.Equal(t, replay.Everything, replay.Everything.Widen(time.Hour, time.Hour))
}
