package operate_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/operate"
)

// Streams number their entries each for itself: what two partitions have under one ID is two things.
func TestPartitionsHaveTheSameIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "P28_PLAN_STREAMS", planStream+":{k}*2")
	names := w.cfg.Names()
	for _, n := range names {
		for _, id := range []string{"1-1", "2-1", "3-1"} {
			require.NoError(t, w.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: n.Observed, ID: id, Values: []string{"plan_id", n.Plan}}).Err())
		}
		require.NoError(t, w.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: n.Dead, ID: "1-1", Values: []string{"stream", n.Plan, "reason", "bad_field"}}).Err())
	}
	w.operate(func(ctx context.Context, o *operate.Operator) {
		// Page by page, as the status page reads: the next one ends before the last ID of this one.
		for most := range 7 {
			var ids []string
			for to := entry.MaxID; most > 0; {
				page, err := o.Observed(ctx, entry.ID{}, to, most)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				for _, read := range page {
					ids = append(ids, read.ID.String())
				}
				to = page[len(page)-1].ID.Prev()
			}
			if most > 0 {
				require.Equal(t, []string{"3-1", "3-1", "2-1", "2-1", "1-1", "1-1"}, ids, "%d at once", most)
			}
		}

		id := entry.ID{Ms: 1, Seq: 1}
		_, err := o.Show(ctx, id, "")
		require.ErrorContains(t, err, "have one of this ID each")
		for _, n := range names {
			letter, err := o.Show(ctx, id, n.Plan)
			require.NoError(t, err)
			require.Equal(t, n.Plan, letter.Stream)
		}
		_, err = o.Show(ctx, id, "another")
		require.ErrorIs(t, err, operate.ErrNotFound)
	})
}
