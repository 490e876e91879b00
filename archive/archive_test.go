package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/replay"
)

func TestArchiveAndStreamAreTheSame(t *testing.T) {
	client := redistest.Start(t).Client()
	dir := t.TempDir()
	for _, name := range names {
		fill(t, client, name, 0, 3500)
	}
	once(t, client, dir)
	fill(t, client, names[0], 3500, 500)
	require.Equal(t, [3]int64{500, 0, 0}, once(t, client, dir).Entries)
	for kind, name := range names {
		got, err := read(t, dir, replay.Kind(kind), replay.Everything)
		require.NoError(t, err)
		require.Equal(t, stream(t, client, name), got)
		all, err := segments(dir, replay.Kind(kind))
		require.NoError(t, err)
		require.Greater(t, len(all), 1, "rotated")
	}
	all := stream(t, client, names[0])
	got, err := read(t, dir, replay.Plans, replay.Range{From: entry.ID{Ms: 1100, Seq: 1}, To: entry.ID{Ms: 1200}})
	require.NoError(t, err)
	require.Equal(t, all[301:601], got)

	// Back into Redis.
	a, err := Open(dir)
	require.NoError(t, err)
	targets := Streams{"lab:plans", "lab:decisions", ""}
	n, err := a.Import(t.Context(), client, ImportConfig{Targets: targets, Range: replay.Range{To: entry.ID{Ms: 1500}}})
	require.NoError(t, err)
	require.Equal(t, [3]int64{1501, 1501, 0}, n)
	_, err = a.Import(t.Context(), client, ImportConfig{Targets: targets, Range: replay.Everything})
	require.ErrorIs(t, err, ErrTarget)
	require.ErrorContains(t, err, "--from 1500-1")
	_, err = a.Import(t.Context(), client, ImportConfig{Targets: targets, Range: replay.Range{From: entry.ID{Ms: 1500, Seq: 1}, To: entry.MaxID}})
	require.NoError(t, err)
	require.Equal(t, all, stream(t, client, "lab:plans"))
	for _, live := range []Streams{{"quantum:stream:apply.plan"}, {"", "", "own"}, {"same", "same"}} {
		_, err = a.Import(t.Context(), client, ImportConfig{Targets: live, Live: []string{"own"}, Range: replay.Everything})
		require.ErrorIs(t, err, ErrTarget)
	}
	infos, err := a.Verify(t.Context())
	require.NoError(t, err)
	for _, info := range infos {
		require.Empty(t, info.Error)
		require.Empty(t, info.Gaps)
		require.False(t, info.Trimmed)
	}
}

// Partitions have the same entry IDs; each is kept by itself, and all are read as one.
func TestPartitions(t *testing.T) {
	client := redistest.Start(t).Client()
	dir := t.TempDir()
	c := config(dir)
	c.Until, c.Streams = true, Streams{replay.Decisions: "decisions"}
	var plans []string
	for _, tag := range []string{"0", "1", "../x", "10"} {
		part := Partition{Tag: tag, Plans: "plans:{" + tag + "}", Observations: "observed:{" + tag + "}"}
		c.Partitions = append(c.Partitions, part)
		fill(t, client, part.Plans, 0, 1200)
		plans = append(plans, stream(t, client, part.Plans)...)
	}
	fill(t, client, "decisions", 0, 100)
	fill(t, client, "observed:{1}", 0, 50)
	for range 2 { // the second time it goes on where it was
		_, err := Follow(t.Context(), client, c)
		require.NoError(t, err)
	}
	got, err := read(t, dir, replay.Plans, replay.Everything)
	require.NoError(t, err)
	require.ElementsMatch(t, plans, got)
	require.True(t, slices.IsSortedFunc(got, func(a, b string) int { return cmp.Compare(a[:6], b[:6]) }), "1000-0 and so on")
	for kind, n := range map[replay.Kind]int{replay.Decisions: 100, replay.Observations: 50} {
		got, err := read(t, dir, kind, replay.Everything)
		require.NoError(t, err)
		require.Len(t, got, n, "%s", kind)
	}
	got, err = read(t, partDir(dir, "../x"), replay.Plans, replay.Everything)
	require.NoError(t, err)
	require.Equal(t, stream(t, client, "plans:{../x}"), got)

	a, err := Open(dir)
	require.NoError(t, err)
	e, err := a.Extent(t.Context(), replay.Plans)
	require.NoError(t, err)
	require.Equal(t, replay.Extent{First: entry.ID{Ms: 1000}, Last: entry.ID{Ms: 1399, Seq: 2}}, e)
	infos, err := a.Verify(t.Context())
	require.NoError(t, err)
	var kept []string
	for _, i := range infos {
		kept = append(kept, fmt.Sprint(i.Kind, " ", i.Partition, " ", *i.Entries, i.Error))
	}
	require.Equal(t, []string{
		"decisions  100", "plans partition-0 1200", "plans partition-1 1200", "observations partition-1 50",
		"plans partition-10 1200", "plans partition-..%2Fx 1200",
	}, kept)
	_, err = a.Import(t.Context(), client, ImportConfig{Targets: Streams{"lab:plans"}, Range: replay.Everything})
	require.ErrorIs(t, err, ErrTarget)
	require.ErrorContains(t, err, partDir(dir, "0"))
	n, err := a.Import(t.Context(), client, ImportConfig{Targets: Streams{2: "lab:observed"}, Range: replay.Everything})
	require.NoError(t, err)
	require.EqualValues(t, 50, n[2])
}

// On a cluster no command waits for several partitions at once; what comes is kept all the same.
func TestFollowingACluster(t *testing.T) {
	if testing.Short() {
		t.Skip("six servers")
	}
	cluster := redistest.StartCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	dir := t.TempDir()
	c := config(dir)
	c.Streams = Streams{replay.Decisions: "decisions"}
	for k := range 4 {
		c.Partitions = append(c.Partitions, Partition{Tag: fmt.Sprint(k), Plans: fmt.Sprintf("plans:{%d}", k), Observations: fmt.Sprintf("observed:{%d}", k)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := Follow(ctx, client, c); ended <- err }()
	written := 0
	for range 3 {
		for _, p := range c.Partitions {
			require.NoError(t, client.XAdd(ctx, &redis.XAddArgs{Stream: p.Plans, Values: []string{"plan_id", "p"}}).Err())
			written++
		}
		require.Eventually(t, func() bool {
			if a, err := Open(dir); err != nil || a == nil {
				return false
			}
			got, err := read(t, dir, replay.Plans, replay.Everything)
			return err == nil && len(got) == written
		}, 30*time.Second, 20*time.Millisecond)
	}
	cancel()
	require.NoError(t, <-ended)
}

func TestATrimmedStreamLeavesAGap(t *testing.T) {
	client := redistest.Start(t).Client()
	dir := t.TempDir()
	fill(t, client, names[0], 0, 100)
	require.NoError(t, client.XTrimMaxLen(t.Context(), names[0], 90).Err())
	require.Equal(t, 1, once(t, client, dir).Gaps)
	fill(t, client, names[0], 100, 100)
	require.NoError(t, client.XTrimMaxLen(t.Context(), names[0], 101).Err())
	require.Zero(t, once(t, client, dir).Gaps, "the entry at the position is still there")
	fill(t, client, names[0], 200, 100)
	require.NoError(t, client.XTrimMaxLen(t.Context(), names[0], 50).Err())
	require.Equal(t, 1, once(t, client, dir).Gaps)
	a, err := Open(dir)
	require.NoError(t, err)
	infos, err := a.Verify(t.Context())
	require.NoError(t, err)
	require.True(t, infos[0].Trimmed)
	require.Equal(t, []GapInfo{{After: "1066-1", Before: "1083-1"}}, infos[0].Gaps)
	require.EqualValues(t, 90+100+50, *infos[0].Entries)

	// A reader says it, keeps what was before, and reads on when it is asked to.
	in, err := a.Open(t.Context(), replay.Plans, replay.Everything)
	require.NoError(t, err)
	var n int
	var gap *replay.GapError
	for gap == nil {
		var entries []replay.Entry
		entries, err = in.Next()
		n += len(entries)
		require.True(t, err == nil || errors.As(err, &gap), "%v", err)
	}
	require.Equal(t, 190, n)
	require.ErrorContains(t, err, "plans between 1066-1 and 1083-1 may be missing")
	var at *fileError
	require.ErrorAs(t, err, &at)
	require.EqualValues(t, 1+190+1, at.line, "the leading gap has a line as well")
	var rest int // in as many frames as there were flushes
	for err = nil; err == nil; {
		var entries []replay.Entry
		entries, err = in.Next()
		rest += len(entries)
	}
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 50, rest)
	require.NoError(t, in.Close())

	// An import goes over it and says so.
	var over []*replay.GapError
	counts, err := a.Import(t.Context(), client, ImportConfig{
		Targets: Streams{"lab:plans"}, Range: replay.Everything, Gap: func(g *replay.GapError) { over = append(over, g) },
	})
	require.NoError(t, err)
	require.Equal(t, [3]int64{190 + 50}, counts)
	require.Len(t, over, 1)
	require.Equal(t, gap.Before, over[0].Before)
	all, err := read(t, dir, replay.Plans, replay.Range{From: gap.Before, To: entry.MaxID})
	require.NoError(t, err)
	require.Equal(t, all, stream(t, client, "lab:plans")[190:])
	for _, side := range []replay.Range{{To: gap.After}, {From: gap.Before, To: entry.MaxID}} {
		_, err = read(t, dir, replay.Plans, side)
		require.NoError(t, err)
	}
}

// The gap stands in the file behind it, whose first entry lies beyond the range.
func TestARangeThatEndsInAGapBetweenFiles(t *testing.T) {
	dir := t.TempDir()
	w, err := openWriter(t.Context(), dir, replay.Plans, names[0], Rotation{1 << 30, time.Hour}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	hour := uint64(time.Hour.Milliseconds())
	after, before := entry.ID{Ms: 1000}, entry.ID{Ms: 1000 + 2*hour}
	require.NoError(t, w.add(after, entry.Make("plan_id", "p"), nil))
	require.NoError(t, w.add(before, entry.Make("plan_id", "q"), &hole{after: after, before: before}))
	require.NoError(t, w.add(entry.ID{Ms: 1000 + 4*hour}, entry.Make("plan_id", "r"), nil))
	require.NoError(t, w.close())

	got, err := read(t, dir, replay.Plans, replay.Range{To: entry.ID{Ms: 1000 + hour}})
	require.Len(t, got, 1)
	var gap *replay.GapError
	require.ErrorAs(t, err, &gap)
	require.Equal(t, before, gap.Before)
	for to, n := range map[entry.ID]int{{Ms: 999}: 0, after: 1} {
		got, err = read(t, dir, replay.Plans, replay.Range{To: to})
		require.NoError(t, err, "nothing of it is missing")
		require.Len(t, got, n)
	}
}

func TestDamage(t *testing.T) {
	client := redistest.Start(t).Client()
	dir := t.TempDir()
	c := config(dir)
	c.Rotation.Size = 1 << 30
	c.Until = true
	for i := range 3 { // three frames
		fill(t, client, names[0], 1000*i, 1000)
		_, err := Follow(t.Context(), client, c)
		require.NoError(t, err)
	}
	want := stream(t, client, names[0])
	all, err := segments(dir, replay.Plans)
	require.NoError(t, err)
	require.Len(t, all, 1)
	path := all[0].path
	good, err := os.ReadFile(path)
	require.NoError(t, err)

	damage := func(name string, change func([]byte) []byte, text string) {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, change(append([]byte(nil), good...)), 0o600))
			got, err := read(t, dir, replay.Plans, replay.Everything)
			var at *fileError
			require.ErrorAs(t, err, &at)
			require.Equal(t, path, at.file)
			require.ErrorContains(t, err, text)
			require.EqualValues(t, len(got)+1, at.line)
			require.NotEmpty(t, got, "what was good before it is kept")
			require.Equal(t, want[:len(got)], got)
		})
	}
	damage("truncated", func(b []byte) []byte { return b[:len(b)-10] }, "cut short")
	damage("a flipped bit", func(b []byte) []byte { b[len(b)-100] ^= 4; return b }, "frame")
	damage("rubbish behind it", func(b []byte) []byte { return append(b, "rubbish and more of it"...) }, "frame")
	damage("the same again", func(b []byte) []byte { return append(b, b...) }, "out of order")
	damage("a foreign line", func(b []byte) []byte {
		e, err := newEncoder()
		require.NoError(t, err)
		return append(b, e.EncodeAll([]byte(`{"stream":"plans","id":"9999-0","fields":[],"new":1}`+"\n"), nil)...)
	}, "unknown field")
	damage("an empty line", func(b []byte) []byte {
		e, err := newEncoder()
		require.NoError(t, err)
		return append(b, e.EncodeAll([]byte("\n"), nil)...)
	}, "it is empty")

	// The writer cuts a torn end off and reads it again.
	for _, cut := range []int{1, 10, len(good) / 2, len(good) - 3} {
		require.NoError(t, os.WriteFile(path, good[:len(good)-cut], 0o600))
		_, err := Follow(t.Context(), client, c)
		require.NoError(t, err)
		got, err := read(t, dir, replay.Plans, replay.Everything)
		require.NoError(t, err)
		require.Equal(t, want, got)
		left, err := segments(dir, replay.Plans)
		require.NoError(t, err)
		require.Len(t, left, 1)
	}
}

func TestOneWriter(t *testing.T) {
	client := redistest.Start(t).Client()
	dir := t.TempDir()
	held, err := lock(dir)
	require.NoError(t, err)
	_, err = Follow(t.Context(), client, config(dir))
	require.ErrorIs(t, err, ErrLocked)
	require.NoError(t, held.Close())
	once(t, client, dir)
}

func BenchmarkReader(b *testing.B) {
	dir := b.TempDir()
	w, err := openWriter(b.Context(), dir, replay.Plans, "quantum:stream:apply.plan", Rotation{1 << 30, time.Hour}, slog.New(slog.DiscardHandler))
	require.NoError(b, err)
	const n = 200_000
	for i := range n {
		require.NoError(b, w.add(entry.ID{Ms: 1_700_000_000_000 + uint64(i), Seq: 0}, entry.Make("ts_epoch", "1700000000", "plan_id", fmt.Sprintf("%016x", i*7919),
			"symbol", "BTCUSDT", "in_action", "FULL_CLOSE", "out_action", "PARTIAL", "action", "PARTIAL", "heat_level", "warm", "heat_score", "0.42",
			"heat_action", "NONE", "recommended_partial", "", "reason", "ok", "inputs_age_sec", "1.2", "mode", "shadow", "debug_json", `{"a":1,"b":"c"}`), nil))
	}
	require.NoError(b, w.close())
	a, err := Open(dir)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		in, err := a.Open(b.Context(), replay.Plans, replay.Everything)
		require.NoError(b, err)
		got := 0
		for err == nil {
			var e []replay.Entry
			e, err = in.Next()
			got += len(e)
		}
		require.Equal(b, n, got)
		require.NoError(b, in.Close())
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

// TestEmptyFiles: the last one is what a crash before its first write leaves, one before others has lost its entries.
func TestEmptyFiles(t *testing.T) {
	client := redistest.Start(t).Client()
	dir := t.TempDir()
	fill(t, client, names[0], 0, 3000)
	once(t, client, dir)
	want := stream(t, client, names[0])
	all, err := segments(dir, replay.Plans)
	require.NoError(t, err)
	require.Greater(t, len(all), 2)
	a, err := Open(dir)
	require.NoError(t, err)
	verified := func() KindInfo {
		t.Helper()
		kinds, err := a.Verify(t.Context())
		require.NoError(t, err)
		return kinds[replay.Plans]
	}
	require.Empty(t, verified().Unbegun)

	unbegun := filepath.Join(dir, segmentName(replay.Plans, entry.ID{Ms: 1 << 40}))
	require.NoError(t, os.WriteFile(unbegun, nil, 0o600))
	got := verified()
	require.Equal(t, unbegun, got.Unbegun)
	require.Empty(t, got.Error)
	require.EqualValues(t, len(want), *got.Entries)
	held, err := lock(dir)
	require.NoError(t, err)
	require.Empty(t, verified().Unbegun, "it is about to be written")
	require.NoError(t, held.Close())
	once(t, client, dir)
	require.NoFileExists(t, unbegun)

	for _, damaged := range all[:2] {
		good, err := os.ReadFile(damaged.path)
		require.NoError(t, err)
		require.NoError(t, os.Truncate(damaged.path, 0))
		got = verified()
		require.Contains(t, got.Error, damaged.path+":1: ")
		require.Contains(t, got.Error, "empty")
		require.NoError(t, os.WriteFile(damaged.path, good, 0o600))
	}
	require.Empty(t, verified().Error)
}
