package verify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/stream"
	"heatobserver/verify"
)

// TestNewestPlanIsOneThatTheObserverReads: also in an envelope, and none that is a dead letter.
func TestNewestPlanIsOneThatTheObserverReads(t *testing.T) {
	t.Parallel()
	rdb := redistest.Start(t).Client()
	pipe := rdb.Pipeline()
	add := func(name string, values ...string) {
		pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: name, Values: values})
	}
	fields, err := stream.Envelope{}.Encode(message.NewMessage("u1", []byte(`{"plan_id":"enveloped","symbol":"BTCUSDT"}`)))
	require.NoError(t, err)
	var envelope []string
	for name, value := range fields.Strings() {
		envelope = append(envelope, name, value)
	}
	add("plans", envelope...)
	add("plans", "plan_id", strings.Repeat("x", 201), "symbol", "BTCUSDT")
	add("plans", "plan_id", "bell\a", "symbol", "BTCUSDT")
	add("decisions", "plan_id", "enveloped")
	pipe.HSet(t.Context(), "heat:enveloped", "ts_epoch", time.Now().Unix(), "symbol", "BTCUSDT", "plan_id", "enveloped", "out_action", "HOLD",
		"heat_level", "warm", "heat_score", "0.5", "heat_action", "HOLD")
	pipe.Expire(t.Context(), "heat:enveloped", 30*time.Minute)
	for _, point := range []string{"create_apply_plan", "publish_plan_post"} {
		pipe.Set(t.Context(), "dedupe:"+point+":enveloped", "1", 0)
	}
	_, err = pipe.Exec(t.Context())
	require.NoError(t, err)
	report := verify.Run(t.Context(), rdb, verify.Setup{
		Parts:     []verify.Part{{Plans: "plans", Observed: "observed", DedupePrefix: "dedupe:", KeyPrefix: "own:"}},
		Decisions: "decisions", Prefix: "heat:", Wait: time.Second, DedupeTTL: time.Hour,
	})
	for _, name := range []string{"golden chain", "lookup prefix", "heat TTL", "observing now"} {
		require.Equal(t, verify.Pass, named(t, report, name).Verdict, text(report))
	}
	require.Contains(t, named(t, report, "golden chain").Seen, "plan enveloped")
}
