package stream_test

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/stream"
)

// sizes are how many entries each reply brought.
type sizes struct {
	stream.NoEvents
	mu   sync.Mutex
	read map[bool][]int // by fresh
}

func (s *sizes) Read(_, _ string, n int, fresh bool, _ time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read[fresh] = append(s.read[fresh], n)
}

// TestLargeEntriesComeFewAtATime, new ones and those left behind by who died of them: no reply is larger than some megabytes
// once their size is known, and the first one is of few.
func TestLargeEntriesComeFewAtATime(t *testing.T) {
	const n, most, first = 150, 32, 64
	w := newWorld(t)
	w.group()
	large := strings.Repeat("x", 1<<18)
	add := func() {
		for range n {
			require.NoError(t, w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: testStream, Values: []string{"a", large}}).Err())
		}
	}
	add()
	w.readAs("dead", n)
	for _, id := range w.ids() {
		w.idle("dead", id)
	}
	add()
	seen := &sizes{read: map[bool][]int{}}
	cfg := w.config("a")
	cfg.Batch, cfg.MaxInFlight, cfg.Events, cfg.MinIdle = 256, 2048, seen, time.Minute
	s, out := w.subscribe(nil, cfg)
	for range 2 * n {
		next(t, out).Ack()
	}
	require.NoError(t, s.Close())
	for fresh, all := range seen.read {
		sum := 0
		for i, got := range all {
			require.LessOrEqual(t, got, map[bool]int{true: first, false: most}[i == 0], "fresh %v: %v", fresh, all)
			sum += got
		}
		require.Equal(t, n, sum, "fresh %v", fresh)
	}
}

// TestRawOfALargeEntry: a dead letter keeps the beginning, for which the whole is not copied.
func TestRawOfALargeEntry(t *testing.T) {
	large := strings.Repeat("x", 16<<20)
	for _, fields := range []entry.Fields{entry.Make("a", large), entry.Make(large, "a"), entry.Make("a", large[:1<<20]+"\xff"+large)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		raw := stream.RawJSON(fields)
		runtime.ReadMemStats(&after)
		require.LessOrEqual(t, len(raw), stream.MaxRaw)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
	}
	require.Equal(t, `{"_left_out":2}`, stream.RawJSON(entry.Make(large, "a", "b", "c")))
}
