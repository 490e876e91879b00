package app_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/replay"
)

// TestPartitionsAreOneHistory: all plans of all partitions, in the order of time, those with the same ID included, and an
// empty partition among them.
func TestPartitionsAreOneHistory(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	client := srv.Client()
	cfg := load(t, srv, partitioned())
	const begin, each = 1_700_000_000_000, 400 // more than one page
	var want []string
	pipe := client.Pipeline()
	for i, names := range cfg.Names()[:3] {
		for n := range each {
			at := begin + 10*n + 5*(i%2) // the first and the third have the same IDs
			plan := fmt.Sprintf("%d-%d-%03d", at, i, n)
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: names.Plan, ID: fmt.Sprintf("%d-7", at), Values: []string{"plan_id", plan}})
			want = append(want, plan)
		}
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	slices.Sort(want)

	history := app.NewPartitionedHistory(client, cfg)
	read := func(r replay.Range) (got []string) {
		reader, err := history.Open(t.Context(), replay.Plans, r)
		require.NoError(t, err)
		defer func() { require.NoError(t, reader.Close()) }()
		last := entry.ID{}
		for {
			page, err := reader.Next()
			for _, e := range page {
				require.GreaterOrEqual(t, e.ID.Compare(last), 0, "out of order")
				last = e.ID
				plan, _ := e.Fields.Get("plan_id")
				require.Equal(t, plan[:13], fmt.Sprint(e.ID.Ms))
				got = append(got, plan)
			}
			if errors.Is(err, io.EOF) {
				return got
			}
			require.NoError(t, err)
		}
	}
	got := read(replay.Range{To: entry.MaxID})
	slices.Sort(got) // within a millisecond there is no order
	require.Equal(t, want, got)
	require.Len(t, read(replay.Range{From: entry.IDAt(time.UnixMilli(begin + 5)), To: entry.MaxID}), len(want)-2)

	extent := func() replay.Extent {
		e, err := history.Extent(t.Context(), replay.Plans)
		require.NoError(t, err)
		return e
	}
	require.Equal(t, replay.Extent{First: entry.ID{Ms: begin, Seq: 7}, Last: entry.ID{Ms: begin + 10*(each-1) + 5, Seq: 7}}, extent())
	require.NoError(t, client.XTrimMaxLen(t.Context(), cfg.Names()[1].Plan, 100).Err())
	require.Equal(t, entry.ID{Ms: begin + 10*(each-100) + 5, Seq: 7}, extent().First, "what is before the trimmed is not known of all")
	require.True(t, extent().Trimmed)
}
