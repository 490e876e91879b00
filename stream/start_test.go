package stream_test

import (
	"slices"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/stream"
)

// TestStartOnEmptyStream: a group that comes second finds a stream that the first has made and nobody has written to.
func TestStartOnEmptyStream(t *testing.T) {
	t.Parallel()
	server, mini := redistest.Start(t), miniredis.RunT(t)
	for _, s := range []struct{ name, addr string }{{"redis-server", server.Addr()}, {"miniredis", mini.Addr()}} {
		t.Run(s.name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Addr: s.addr})
			defer func() { require.NoError(t, client.Close()) }()
			w := &world{t: t, ctx: t.Context(), admin: client, events: &recorder{}}
			for _, group := range []string{"first", "second"} {
				cfg := w.config("c")
				cfg.Group, cfg.Start = group, stream.StartAuto
				_, _ = w.subscribe(nil, cfg)
				groups, err := client.XInfoGroups(t.Context(), testStream).Result()
				require.NoError(t, err)
				exists := slices.ContainsFunc(groups, func(g redis.XInfoGroup) bool { return g.Name == group }) // miniredis keeps no order
				require.True(t, exists, "the group exists when Subscribe returns")
			}
			require.Zero(t, w.events.get("failed"))
		})
	}
}
