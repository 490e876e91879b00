package chaos

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// window is a time in which a wait may be longer than it should, and by how much.
type window struct {
	from, to time.Time
	extra    time.Duration // forever: by any time
}

const forever = time.Duration(1<<63 - 1)

// windows are all times in which something was wrong that no worker can help.
type windows struct {
	mu   sync.Mutex
	list []window

	stalled time.Duration // noticed by the canary
}

func (w *windows) add(one window) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(w.list, one)
}

// excuse is the most by which a wait between two moments may be too long.
func (w *windows) excuse(from, to time.Time) (extra time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.list {
		if one.from.Before(to) && from.Before(one.to) {
			extra = max(extra, one.extra)
		}
	}
	return extra
}

// canary notices by itself when the machine or Redis is too busy for any promise about time: it asks Redis for nothing
// every 10 ms and notes each time when that, or its own turn, took longer than tolerable.
func (w *windows) canary(ctx context.Context, client *redis.Client) {
	const every, tolerable = 10 * time.Millisecond, 40 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := client.Ping(ctx).Err()
		now := time.Now()
		if now.Sub(last) > every+tolerable || err != nil {
			// What was put off is done within about the time for which it was put off.
			w.add(window{from: last, to: now.Add(now.Sub(last)), extra: forever})
			w.mu.Lock()
			w.stalled += now.Sub(last)
			w.mu.Unlock()
		}
		last = now
	}
}
