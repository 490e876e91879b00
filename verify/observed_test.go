package verify_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/internal/redistest"
	"heatobserver/verify"
)

// TestObservationsOfABurst: after a burst the last 200 observations are all late, which accuses nobody while the same plans
// have been observed early.
func TestObservationsOfABurst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		early   int // number of the first plan observed early
		verdict verify.Verdict
		seen    string
	}{
		{"a burst", 0, verify.Pass, "at the other point too"},
		{"early stopped before it", -300, verify.Fail, "early observer not working"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Start(t).Client()
			pipe := rdb.Pipeline()
			add := func(point event.Point, reason event.Reason, from int) {
				for i := range 300 {
					o := event.Observation{
						TsEpoch: time.Now().Unix(), PlanID: "p" + strconv.Itoa(from+i), Symbol: "BTCUSDT", Point: point, Reason: reason,
						SourceID: entry.ID{Ms: uint64(time.Now().UnixMilli())},
					}
					var values []any
					for name, value := range o.AppendFields(nil, 400).Strings() {
						values = append(values, name, value)
					}
					pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: "observed", Values: values})
				}
			}
			add(event.Early, event.Missing, c.early)
			add(event.Late, event.Timeout, 0)
			_, err := pipe.Exec(t.Context())
			require.NoError(t, err)
			report := verify.Run(t.Context(), rdb, verify.Setup{
				Parts: []verify.Part{{Plans: "plans", Observed: "observed", DedupePrefix: "dedupe:", KeyPrefix: "own:"}},
				Wait:  100 * time.Millisecond, EarlyEnabled: true, LateEnabled: true,
			})
			found := named(t, report, "observations")
			require.Equal(t, c.verdict, found.Verdict, found.Seen)
			require.Contains(t, found.Seen, c.seen)
		})
	}
}
