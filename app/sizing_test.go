package app_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// TestSizing measures what docs/sizing.md says: how many bytes of a real server each thing takes, all of it counted (the
// tables of keys and of expiry too, which MEMORY USAGE leaves out), and holds the figures of the document against it.
func TestSizing(t *testing.T) {
	if testing.Short() {
		t.Skip("it fills a server")
	}
	const n = 20_000
	srv := redistest.Start(t)
	rdb := srv.Client()
	used := func() int64 {
		var bytes int64
		info, err := rdb.InfoMap(t.Context(), "memory").Result()
		require.NoError(t, err)
		_, err = fmt.Sscan(info["Memory"]["used_memory"], &bytes)
		require.NoError(t, err)
		return bytes
	}
	// each is how many bytes one of n takes.
	each := func(add func(p redis.Pipeliner, i int)) float64 {
		before := used()
		for i := 0; i < n; i += 1000 {
			_, err := rdb.Pipelined(t.Context(), func(p redis.Pipeliner) error {
				for j := range 1000 {
					add(p, i+j)
				}
				return nil
			})
			require.NoError(t, err)
		}
		return float64(used()-before) / n
	}
	plan := func(i int) string { return pipeline.PlanID(1, uint64(i)) }
	got := map[string]float64{
		"entry of the plan stream": each(func(p redis.Pipeliner, i int) {
			p.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: pipeline.PlanPairs(1, uint64(i), time.Now())})
		}),
		"dedupe key": each(func(p redis.Pipeliner, i int) {
			p.Set(t.Context(), "quantum:dedupe:p28:"+latePoint+":"+plan(i), "1", 10*time.Minute)
		}),
		"by_plan hash": each(func(p redis.Pipeliner, i int) {
			p.HSet(t.Context(), heatPrefix+plan(i), heatPairs(plan(i)))
			p.Expire(t.Context(), heatPrefix+plan(i), 30*time.Minute)
		}),
	}
	got["observation"] = bytesPerObservation(t)

	require.NoError(t, rdb.FlushAll(t.Context()).Err())
	each(func(p redis.Pipeliner, i int) {
		p.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: []string{"plan_id", plan(i), "symbol", "S"}})
	})
	require.NoError(t, rdb.XGroupCreate(t.Context(), planStream, lateGroup, "0").Err())
	before := used()
	for read := 0; read < n; {
		list, err := rdb.XReadGroup(t.Context(), &redis.XReadGroupArgs{
			Group: lateGroup, Consumer: "c", Streams: []string{planStream, ">"}, Count: 1000, Block: -1,
		}).Result()
		require.NoError(t, err)
		read += len(list[0].Messages)
	}
	got["pending entry"] = float64(used()-before) / n

	document := documented(t)
	for what, bytes := range got {
		t.Logf("%-26s %4.0f bytes, documented %4.0f", what, bytes, document[what])
		assert.InDelta(t, bytes, document[what], bytes/5, "docs/sizing.md: %s", what)
	}
	assert.Len(t, document, len(got))
}

// bytesPerObservation has the observer itself write some.
func bytesPerObservation(t *testing.T) float64 {
	t.Helper()
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv, settings{"P28_LATE_OBS_MAX_INFLIGHT": "2000"})
	for _, p := range flood(t, rdb, "a4f3b8c2d1e5", 1000) {
		writeHeat(t, rdb, p)
	}
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	require.NoError(t, o.stop())
	bytes := rdb.MemoryUsage(t.Context(), observedStream, 0).Val()
	return float64(bytes) / float64(rdb.XLen(t.Context(), observedStream).Val())
}

// documented are the figures of the table in docs/sizing.md.
func documented(t *testing.T) map[string]float64 {
	t.Helper()
	text, err := os.ReadFile("../docs/sizing.md")
	require.NoError(t, err)
	row := regexp.MustCompile(`(?m)^\| ([a-z_ ]+) \| ([0-9,]+) \|`)
	figures := map[string]float64{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		bytes, err := strconv.ParseFloat(strings.ReplaceAll(m[2], ",", ""), 64)
		require.NoError(t, err)
		figures[m[1]] = bytes
	}
	return figures
}
