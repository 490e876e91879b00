package archive

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/logtest"
	"heatobserver/internal/redistest"
	"heatobserver/replay"
)

// busy makes others write to a stream whenever something is read.
type busy struct {
	write  func()
	passes int
}

func (b *busy) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (b *busy) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (b *busy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		b.passes++
		b.write()
		return next(ctx, cmds)
	}
}

// TestOnceEndsOnABusySystem: the end of the streams is reached, though they grow all the time.
func TestOnceEndsOnABusySystem(t *testing.T) {
	server := redistest.Start(t)
	others, client := server.Client(), redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	fill(t, others, names[0], 0, 2*maxPage+500)
	b := &busy{}
	b.write = func() {
		if b.passes < 100 { // a follower that does not end would else hold up the tests
			require.NoError(t, others.XAdd(t.Context(), &redis.XAddArgs{Stream: names[1], Values: []string{"n", "x"}}).Err())
		}
	}
	client.AddHook(b)
	p := once(t, client, t.TempDir())
	require.EqualValues(t, 2*maxPage+500, p.Entries[0], "the whole stream")
	require.Less(t, b.passes, 10)
}

// largest keeps the size of the largest page.
type largest struct {
	busy
	bytes int
}

func (l *largest) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, c := range cmds {
			page, isPage := c.(*redis.Cmd)
			if !isPage {
				continue
			}
			size := 0
			for _, raw := range page.Val().([]any) {
				_, fields, err := parseEntry(nil, raw)
				if err != nil {
					return err
				}
				size += len(fields)
			}
			l.bytes = max(l.bytes, size)
		}
		return err
	}
}

// TestLargeEntries: what is held in memory does not depend on how large entries are.
func TestLargeEntries(t *testing.T) {
	const n, size = 200, 300_000
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { require.NoError(t, client.Close()) })
	large := strings.Repeat("x", size)
	pipe := client.Pipeline()
	for range n {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: names[replay.Plans], Values: []string{"plan_id", large}})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	l := &largest{}
	client.AddHook(l)
	dir := t.TempDir()
	require.EqualValues(t, n, once(t, client, dir).Entries[replay.Plans])
	require.Less(t, l.bytes, 2*pageBytes)
	got, err := read(t, dir, replay.Plans, replay.Everything)
	require.NoError(t, err)
	require.Len(t, got, n)
}

// TestAStreamThatCannotBeRead keeps none of the others from being archived, and is archived itself when it can be.
func TestAStreamThatCannotBeRead(t *testing.T) {
	client := redistest.Start(t).Client()
	c := config(t.TempDir())
	c.Until, c.Streams = true, Streams{replay.Decisions: names[replay.Decisions]}
	require.NoError(t, client.Set(t.Context(), names[replay.Decisions], "no stream", 0).Err())
	for i := range together { // so that there is more than one pipeline
		part := Partition{Tag: fmt.Sprint(i), Plans: fmt.Sprintf("plans:{%d}", i), Observations: fmt.Sprintf("observed:{%d}", i)}
		c.Partitions = append(c.Partitions, part)
		fill(t, client, part.Plans, 0, maxPage+1) // so that there is more than one page
	}
	p, err := Follow(t.Context(), client, c)
	require.ErrorContains(t, err, "read stream decisions: WRONGTYPE")
	require.EqualValues(t, together*(maxPage+1), p.Entries[replay.Plans])

	var log logtest.Log
	c.Until, c.Logger = false, slog.New(slog.NewTextHandler(&log, nil))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, err := Follow(ctx, client, c); ended <- err }()
	archived := func(dir string, kind replay.Kind, want int) {
		t.Helper()
		require.Eventually(t, func() bool {
			got, err := read(t, dir, kind, replay.Everything)
			return err == nil && len(got) == want
		}, time.Minute, 20*time.Millisecond)
	}
	for i, part := range c.Partitions {
		fill(t, client, part.Plans, maxPage+1, 100)
		archived(partDir(c.Dir, part.Tag), replay.Plans, maxPage+101)
		require.Len(t, log.Lines("level=WARN", "stream=decisions", "WRONGTYPE"), 1, "after partition %d", i)
	}
	require.NoError(t, client.Del(t.Context(), names[replay.Decisions]).Err())
	fill(t, client, names[replay.Decisions], 0, 100)
	archived(c.Dir, replay.Decisions, 100)
	require.Len(t, log.Lines("the stream can be read again", "stream=decisions"), 1)
	cancel()
	require.NoError(t, <-ended)
	require.Len(t, log.Lines("level=WARN"), 1)
}
