package archive

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/replay"
)

var names = Streams{"plans", "decisions", "observed"}

func config(dir string) FollowConfig {
	return FollowConfig{
		Dir: dir, Streams: names, Rotation: Rotation{Size: 20_000, Every: time.Hour}, FlushEvery: 5 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	}
}

func once(t *testing.T, client redis.UniversalClient, dir string) Progress {
	t.Helper()
	c := config(dir)
	c.Until = true
	p, err := Follow(t.Context(), client, c)
	require.NoError(t, err)
	return p
}

// read is all that the archive holds of a kind, one line an entry, and the error with which it ended.
func read(t *testing.T, dir string, kind replay.Kind, r replay.Range) (lines []string, err error) {
	t.Helper()
	a, err := Open(dir)
	require.NoError(t, err)
	in, err := a.Open(t.Context(), kind, r)
	require.NoError(t, err)
	defer func() { require.NoError(t, in.Close()) }()
	for {
		entries, err := in.Next()
		for _, e := range entries {
			lines = append(lines, e.ID.String()+" "+string(e.Fields))
		}
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
	}
}

// stream is the same of a stream in Redis.
func stream(t *testing.T, client *redis.Client, name string) (lines []string) {
	t.Helper()
	reply, err := client.Do(t.Context(), "XRANGE", name, "-", "+").Slice()
	require.NoError(t, err)
	for _, raw := range reply {
		id, fields, err := parseEntry(nil, raw)
		require.NoError(t, err)
		lines = append(lines, id.String()+" "+string(fields))
	}
	return lines
}

func fill(t *testing.T, client *redis.Client, name string, from, n int) {
	t.Helper()
	pipe := client.Pipeline()
	for i := from; i < from+n; i++ {
		pipe.Do(t.Context(), "XADD", name, fmt.Sprintf("%d-%d", 1000+i/3, i%3), "plan_id", fmt.Sprintf("p%d", i),
			"raw", "\xff\x00\"\\\n"+strings.Repeat("é", i%50), "plan_id", "again", "noise", fmt.Sprint(rand.Uint64(), rand.Uint64()))
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
}

func total(t *testing.T, dir string) (n int64) {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}
