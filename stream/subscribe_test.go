package stream_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/stream"
)

// gathers lets no command of a kind through until n of them are under way.
type gathers struct {
	command string
	n       int

	mu   sync.Mutex
	now  int
	open sync.Once
	all  chan struct{}
}

var _ redis.Hook = (*gathers)(nil)

func (g *gathers) DialHook(next redis.DialHook) redis.DialHook { return next }
func (g *gathers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (g *gathers) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == g.command {
			g.mu.Lock()
			if g.now++; g.now == g.n {
				g.letGo()
			}
			g.mu.Unlock()
			<-g.all
		}
		return next(ctx, cmd)
	}
}

func (g *gathers) letGo() { g.open.Do(func() { close(g.all) }) }

// TestSubscribeAsksForAllGroupsAtOnce: a Redis that does not answer takes the time of one question, not that of as many as there
// are partitions: a health check would take the readers, which have not begun, for hung.
func TestSubscribeAsksForAllGroupsAtOnce(t *testing.T) {
	w := newWorld(t)
	cfg := w.config("a")
	for i := range 4 {
		tag := fmt.Sprintf(":{%d}", i)
		cfg.Partitions = append(cfg.Partitions, stream.Partition{
			Stream: "in" + tag, Redrive: "again" + tag, KeyPrefix: "own" + tag + ":", DeadStream: "dead" + tag,
		})
	}
	client := w.server.NewClient(nil)
	gate := &gathers{command: "xinfo", n: 8, all: make(chan struct{})}
	client.AddHook(gate)
	subscribed := make(chan error, 1)
	s := w.subscriber(client, cfg)
	go func() {
		_, err := s.Subscribe(w.ctx, "in")
		subscribed <- err
	}()
	select {
	case err := <-subscribed:
		require.NoError(t, err)
		gate.mu.Lock()
		defer gate.mu.Unlock()
		require.GreaterOrEqual(t, gate.now, gate.n)
	case <-time.After(30 * time.Second):
		gate.letGo()
		gate.mu.Lock()
		defer gate.mu.Unlock()
		require.Fail(t, "not all were asked for at once", "%d of %d", gate.now, gate.n)
	}
}
