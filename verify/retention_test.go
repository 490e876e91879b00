package verify_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
	"heatobserver/verify"
)

// TestCanaryIsNoTrimming: on a young stream the canary that verify deletes is all that is missing, and no plan was trimmed.
func TestCanaryIsNoTrimming(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	cfg := load(t, srv, map[string]string{"P28_LATE_OBS_MAX_WAIT_MS": "300"})
	observe(ctx, t, &wg, cfg)
	for i := range 3 {
		require.NoError(t, rdb.XAdd(ctx, &redis.XAddArgs{
			Stream: pipeline.PlanStream, Values: []string{"plan_id", fmt.Sprint("plan", i), "symbol", "BTCUSDT"},
		}).Err())
	}
	setup := verify.Setup{Canary: true, Wait: 5 * time.Second, Outage: time.Minute}
	for range 2 {
		report, err := app.Verify(t.Context(), cfg, setup, true)
		require.NoError(t, err)
		require.Equal(t, verify.Pass, named(t, report, "canary").Verdict, text(report))
		require.Equal(t, verify.Pass, named(t, report, "retention").Verdict, text(report))
	}
}

// TestTrimmingIsSeenAfterADeletion: once the stream has moved past what was deleted, what is missing was trimmed.
func TestTrimmingIsSeenAfterADeletion(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	pipe := rdb.Pipeline()
	for i := range 5 {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "plans", ID: fmt.Sprintf("%d-0", i+1), Values: []string{"plan_id", "p", "symbol", "S"}})
	}
	pipe.XDel(t.Context(), "plans", "2-0")
	pipe.XTrimMaxLen(t.Context(), "plans", 2)
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	report := verify.Run(t.Context(), rdb, verify.Setup{
		Parts: []verify.Part{{Plans: "plans", Observed: "observed", DedupePrefix: "dedupe:", KeyPrefix: "own:"}}, Wait: 100 * time.Millisecond,
	})
	found := named(t, report, "retention")
	require.Equal(t, verify.Fail, found.Verdict, text(report))
	require.True(t, strings.HasPrefix(found.Seen, "trimming: plans keeps 2 entries"), text(report))
}
