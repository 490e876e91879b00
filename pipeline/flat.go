package pipeline

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
)

// flatWriter writes plans as the Python apply layer does: flat fields.
type flatWriter struct {
	client    redis.UniversalClient
	streams   []string
	maxLen    int64 // 0 = never trimmed
	seed      uint64
	malformed float64
}

// write adds plans in one pipeline and says how many of them, from the first on, are in their stream for certain.
func (w *flatWriter) write(ctx context.Context, numbers []uint64) (written int, err error) {
	now := time.Now()
	pipe := w.client.Pipeline()
	for _, n := range numbers {
		pairs := PlanPairs(w.seed, n, now)
		if isMalformed(w.seed, n, w.malformed) {
			pairs = malformedPairs(w.seed, n, now)
		}
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: streamOf(w.streams, w.seed, n), MaxLen: w.maxLen, Approx: w.maxLen > 0, Values: pairs})
	}
	replies, err := pipe.Exec(ctx)
	if err != nil {
		err = fmt.Errorf("write plans: %w", err)
	}
	for _, reply := range replies {
		if reply.Err() != nil {
			break
		}
		written++
	}
	return written, err
}

// Partition is the one of so many partitions that plan n of a seed goes to.
func Partition(seed, n uint64, partitions int) int {
	return event.Partition(PlanID(seed, n), partitions)
}

func streamOf(streams []string, seed, n uint64) string {
	return streams[Partition(seed, n, len(streams))]
}
