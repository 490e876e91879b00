package webtest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/app/apptest"
	"heatobserver/event"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

const (
	startLimit = apptest.StartLimit
	showLimit  = 20 * time.Second // for the page to show what is in the streams

	planStream     = "quantum:stream:apply.plan"
	observedStream = "quantum:stream:apply.heat.observed"
	deadStream     = "quantum:stream:apply.heat.dead"
)

// worker is an observer in a process of its own.
type worker struct{ *apptest.Process }

// startWorker starts an observer and returns when it reads.
func startWorker(t *testing.T, srv *redistest.Server, name string, env ...string) worker {
	t.Helper()
	w := worker{apptest.Start(t, name, append([]string{
		"REDIS_URL=" + srv.URL(), "P28_HTTP_ADDR=127.0.0.1:0", "P28_HEAT_LOOKUP_PREFIX=" + pipeline.LookupPrefix,
		"P28_LATE_OBS_MAX_WAIT_MS=500", "P28_CLAIM_MIN_IDLE_MS=1000", "P28_LOG_LEVEL=warn",
	}, env...)...)}
	if w.Addr == "" {
		t.Fatalf("worker %s does not read", name)
	}
	return w
}

func (w worker) url() string { return "http://" + w.Addr + "/" }

// publish writes a plan as the apply layer does.
func publish(t *testing.T, client *redis.Client, plan string, more ...string) {
	t.Helper()
	values := append([]string{"plan_id", plan, "symbol", "BTCUSDT", "decision", "EXECUTE"}, more...)
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: values}).Err(); err != nil {
		t.Fatalf("publish plan %q: %v", plan, err)
	}
}

// heat writes the hash of a plan as the heat bridge does.
func heat(t *testing.T, client *redis.Client, plan string) {
	t.Helper()
	err := client.HSet(t.Context(), pipeline.LookupPrefix+plan, "plan_id", plan, "symbol", "BTCUSDT",
		"ts_epoch", strconv.FormatInt(time.Now().Unix(), 10), "heat_level", "warm", "heat_score", "0.42", "heat_action", "NONE").Err()
	if err != nil {
		t.Fatalf("write the heat of plan %q: %v", plan, err)
	}
}

// point is what the observed stream says of one observation point, by the rules of the contract.
type point struct {
	counted, found, after int
	reasons               map[string]int
}

func (p point) coverage() string { return percent(p.found, p.counted) }

// percent is how the page writes a share.
func percent(part, whole int) string {
	switch p := 100 * float64(part) / float64(whole); p {
	case 0, 100:
		return fmt.Sprintf("%.0f %%", p)
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// readObserved counts the observations in the stream.
func readObserved(ctx context.Context, t *testing.T, client *redis.Client) (early, late point, entries []redis.XMessage) {
	t.Helper()
	entries, err := client.XRange(ctx, observedStream, "-", "+").Result()
	if err != nil {
		t.Fatalf("read the observations: %v", err)
	}
	early.reasons, late.reasons = map[string]int{}, map[string]int{}
	for _, e := range entries {
		p := &late
		if e.Values["obs_point"] == event.Early.String() {
			p = &early
		}
		p.reasons[fmt.Sprint(e.Values["heat_reason"])]++
		switch {
		case strings.Contains(fmt.Sprint(e.Values["debug_json"]), `"after_deadline":true`):
			p.after++
		case e.Values["heat_found"] == "1":
			p.found++
			p.counted++
		default:
			p.counted++
		}
	}
	return early, late, entries
}

// eventually waits until ok, and fails with what it last said.
func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(showLimit)
	for {
		good, said := ok()
		if good {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v; last: %s", what, showLimit, said)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
		}
	}
}

// observed waits until the stream has so many observations.
func observed(t *testing.T, client *redis.Client, n int64) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d observations", n), func() (bool, string) {
		got, err := client.XLen(t.Context(), observedStream).Result()
		return err == nil && got >= n, fmt.Sprint(got, err)
	})
}
