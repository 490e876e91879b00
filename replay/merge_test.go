package replay_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/replay"
)

// parted is a history whose plans and observations lie in partitions.
type parted struct {
	*memory
	parts []*memory
}

func (p *parted) Open(ctx context.Context, kind replay.Kind, r replay.Range) (replay.Reader, error) {
	if kind == replay.Decisions {
		return p.memory.Open(ctx, kind, r)
	}
	var readers []replay.Reader
	for _, part := range p.parts {
		reader, err := part.Open(ctx, kind, r)
		if err != nil {
			return nil, err
		}
		readers = append(readers, reader)
	}
	return replay.MergeReaders(readers), nil
}

// drain is all that a reader has, and what ended it.
func drain(r replay.Reader) (ids []entry.ID, err error) {
	for {
		entries, err := r.Next()
		for _, e := range entries {
			ids = append(ids, e.ID)
		}
		if err != nil {
			return ids, err
		}
	}
}

func TestMergedIsInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var want []entry.ID
		var readers []replay.Reader
		for range rapid.IntRange(1, 5).Draw(t, "partitions") {
			m := &memory{}
			for _, ms := range rapid.SliceOfDistinct(rapid.Int64Range(1, 30), rapid.ID).Draw(t, "times") {
				m.streams[replay.Plans] = append(m.streams[replay.Plans], replay.Entry{ID: entry.ID{Ms: uint64(ms)}})
			}
			slices.SortFunc(m.streams[replay.Plans], func(a, b replay.Entry) int { return a.ID.Compare(b.ID) })
			for _, e := range m.streams[replay.Plans] {
				want = append(want, e.ID)
			}
			r, err := m.Open(context.Background(), replay.Plans, replay.Everything)
			require.NoError(t, err)
			readers = append(readers, r)
		}
		slices.SortFunc(want, entry.ID.Compare)
		got, err := drain(replay.MergeReaders(readers))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, want, got)
	})
}

// What is behind an error of one partition may be before what the others have: nothing follows it, but behind a gap.
func TestMergedEndsWithTheErrorOfAPart(t *testing.T) {
	t.Parallel()
	good, bad := steady(20, 10), steady(6, 10)
	broken := errors.New("segment 3, line 7")
	bad.broken = map[replay.Kind]error{replay.Plans: broken}
	gap := &replay.GapError{Kind: replay.Plans, Before: bad.streams[replay.Plans][3].ID, Err: errors.New("trimmed")}
	bad.gap = gap
	var readers []replay.Reader
	for _, m := range []*memory{good, bad} {
		r, err := m.Open(context.Background(), replay.Plans, replay.Everything)
		require.NoError(t, err)
		readers = append(readers, r)
	}
	merged := replay.MergeReaders(readers)
	before, err := drain(merged)
	require.ErrorIs(t, err, gap)
	require.Less(t, before[len(before)-1].Compare(gap.Before), 0)
	behind, err := drain(merged)
	require.ErrorIs(t, err, broken)
	require.Contains(t, behind, gap.Before)
}

func TestMergedExtent(t *testing.T) {
	t.Parallel()
	at := func(ms uint64) entry.ID { return entry.ID{Ms: ms} }
	whole := func(first, last uint64) replay.Extent { return replay.Extent{First: at(first), Last: at(last)} }
	trimmed := func(first, last uint64) replay.Extent {
		return replay.Extent{First: at(first), Last: at(last), Trimmed: true}
	}
	for _, tc := range []struct {
		name  string
		parts []replay.Extent
		want  replay.Extent
	}{
		{"one", []replay.Extent{trimmed(3, 9)}, trimmed(3, 9)},
		{"nothing", []replay.Extent{{}, {}}, replay.Extent{}},
		{"whole ones begin with the first", []replay.Extent{whole(5, 6), {}, whole(3, 9)}, whole(3, 9)},
		{"trimmed ones with the latest", []replay.Extent{trimmed(5, 6), trimmed(3, 9), trimmed(7, 8)}, trimmed(7, 9)},
		{"a whole one is known from its beginning", []replay.Extent{whole(8, 9), trimmed(5, 6)}, trimmed(5, 9)},
		{"in any order", []replay.Extent{trimmed(5, 6), whole(1, 9), {}}, trimmed(5, 9)},
		{"all of one is gone", []replay.Extent{whole(1, 9), {First: at(7), Trimmed: true}}, trimmed(7, 9)},
	} {
		require.Equal(t, tc.want, replay.MergeExtents(tc.parts), tc.name)
	}
}

// Three plans of the same entry ID, one in each partition, a hundred times over, are all known apart.
func TestPartitionsAsOne(t *testing.T) {
	t.Parallel()
	m := &parted{memory: &memory{end: 1_000_000}, parts: []*memory{{}, {}, {}}}
	for at := int64(1000); at < 1100; at++ {
		for k, part := range m.parts {
			planID := fmt.Sprint(k, "-", at)
			id := part.plan(at, planID)
			m.decision(at+10, planID, "0.5")
			part.observed(at, id, planID, event.Early, event.Missing, 0)
			if at != 1050 || k != 1 {
				part.observed(at+10, id, planID, event.Late, event.OK, 10)
			}
		}
	}
	for _, part := range m.parts { // they were not written in their order
		slices.SortStableFunc(part.streams[replay.Observations], func(a, b replay.Entry) int { return a.ID.Compare(b.ID) })
		ids := map[uint64]uint64{}
		for i := range part.streams[replay.Observations] {
			id := &part.streams[replay.Observations][i].ID
			id.Seq = ids[id.Ms]
			ids[id.Ms]++
		}
	}
	result, err := replay.Run(context.Background(), m, replay.Everything, replay.Options{}, usual(), nil)
	require.NoError(t, err)
	require.EqualValues(t, 300, result.Plans)
	require.EqualValues(t, 300, result.Points[event.Late].Found)
	found, err := replay.RunAudit(context.Background(), m, replay.Everything, replay.Options{}, replay.AuditSettings{
		MaxWait: 2 * time.Second, DedupeTTL: 600 * time.Second, Tolerance: 100 * time.Millisecond, Grace: time.Minute, List: 10,
	})
	require.NoError(t, err)
	require.EqualValues(t, 599, found.Agree)
	require.EqualValues(t, 1, found.Missing)
	require.Equal(t, "1-1050", found.Findings[0].PlanID)
	require.Zero(t, found.Doubled+found.Unmatched+found.Disagree+found.Held)
}
