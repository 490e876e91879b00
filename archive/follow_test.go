package archive

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
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
	fill(t, others, names[0], 0, 2*page+500)
	b := &busy{}
	b.write = func() {
		if b.passes < 100 { // a follower that does not end would else hold up the tests
			require.NoError(t, others.XAdd(t.Context(), &redis.XAddArgs{Stream: names[1], Values: []string{"n", "x"}}).Err())
		}
	}
	client.AddHook(b)
	p := once(t, client, t.TempDir())
	require.EqualValues(t, 2*page+500, p.Entries[0], "the whole stream")
	require.Less(t, b.passes, 10)
}
