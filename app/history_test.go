package app_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/archive"
	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
	"heatobserver/replay"
)

var historyStreams = [len(replay.Kinds)]string{"plans", "decisions", "observed"}

// writeHistory writes n plans, one a millisecond, and a decision for most of them.
func writeHistory(t *testing.T, client *redis.Client, n int) {
	t.Helper()
	const begin = 1_700_000_000_000
	pipe := client.Pipeline()
	for i := range n {
		pairs := pipeline.PlanPairs(3, uint64(i), time.UnixMilli(begin))
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "plans", ID: fmt.Sprint(begin+i, "-0"), Values: pairs})
		if i%7 != 0 {
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "decisions", ID: fmt.Sprint(begin+i+90, "-0"), Values: []string{
				"plan_id", pairs[1], "symbol", pairs[3], "heat_score", "0.5", "heat_level", "hot"}})
		}
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
}

func TestStreamAndArchiveReplayTheSameBytes(t *testing.T) {
	client := redistest.Start(t).Client()
	writeHistory(t, client, 3000)
	dir := t.TempDir()
	_, err := archive.Follow(t.Context(), client, archive.FollowConfig{
		Dir: dir, Streams: historyStreams, Rotation: archive.Rotation{Size: 50_000, Every: time.Hour}, FlushEvery: time.Second, Until: true,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	kept, err := archive.Open(dir)
	require.NoError(t, err)
	history := app.NewHistory(client, historyStreams)

	settings := replay.Settings{MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond, Notify: true, DedupeTTL: time.Minute}
	run := func(source replay.Source, r replay.Range) (string, *replay.Result) {
		var out bytes.Buffer
		result, err := replay.Run(t.Context(), source, r, replay.Options{}, settings, replay.JSONLines(&out, 400))
		require.NoError(t, err)
		return out.String(), result
	}
	// Only what ends before the end of the archive: a live stream goes on until now.
	r := replay.Range{From: entry.ID{Ms: 1_700_000_000_100}, To: entry.ID{Ms: 1_700_000_000_900}}
	fromStream, live := run(history, r)
	fromArchive, filed := run(kept, r)
	require.Equal(t, fromStream, fromArchive)
	live.End, filed.End = 0, 0
	require.Equal(t, live.Report(), filed.Report())
	require.EqualValues(t, 801, live.Plans)
	require.NotEmpty(t, fromStream)

	for _, kind := range replay.Kinds {
		a, err := history.Extent(t.Context(), kind)
		require.NoError(t, err)
		b, err := kept.Extent(t.Context(), kind)
		require.NoError(t, err)
		require.Equal(t, b, a, "%s", kind)
	}
	require.NoError(t, client.XTrimMaxLen(t.Context(), "plans", 10).Err())
	e, err := history.Extent(t.Context(), replay.Plans)
	require.NoError(t, err)
	require.True(t, e.Trimmed)
	require.Equal(t, "1700000002990-0", e.First.String())
}
