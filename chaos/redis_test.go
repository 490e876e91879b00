package chaos

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// The names of the wire contract, which this package spells for itself.
const (
	planStream     = "quantum:stream:apply.plan"
	observedStream = "quantum:stream:apply.heat.observed"
	deadStream     = "quantum:stream:apply.heat.dead"
	heatPrefix     = "quantum:harvest:heat:by_plan:"
	dedupePrefix   = "quantum:dedupe:p28:"
	totalsKey      = "quantum:p28:totals"
	groupEarly     = "p28_early"
	groupLate      = "p28_late"
	pointEarly     = "create_apply_plan"
	pointLate      = "publish_plan_post"
)

var (
	groups = [...]string{groupEarly, groupLate}
	points = [...]string{pointEarly, pointLate} // of the groups, in the same order
)

// The settings of every worker that the verdict relies on.
const (
	maxWait = 2 * time.Second
	poll    = 100 * time.Millisecond
	minIdle = time.Second
)

// settings are the environment of a worker that reaches Redis at addr.
func settings(addr string, more ...string) []string {
	return append([]string{
		"REDIS_URL=redis://" + addr + "/0",
		"P28_HEAT_LOOKUP_PREFIX=" + heatPrefix,
		"P28_HTTP_ADDR=127.0.0.1:0",
		"P28_OBS_MAXLEN=0",  // the verdict reads every observation
		"P28_DEAD_MAXLEN=0", // and every dead letter
		"P28_DEDUPE_TTL_SEC=7200",
		"P28_CLAIM_MIN_IDLE_MS=1000",
		"P28_LATE_OBS_MAX_INFLIGHT=4000",
		"P28_DRAIN_TIMEOUT_SEC=5",
	}, more...)
}

// deadline bounds a command of the test's own.
func deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

// pendingOf lists the entries of a group that are pending for consumers whose name begins with prefix.
func pendingOf(c *redis.Client, group, prefix string) ([]string, error) {
	ctx, cancel := deadline()
	defer cancel()
	summary, err := c.XPending(ctx, planStream, group).Result()
	if err != nil {
		return nil, err
	}
	var ids []string
	for name := range summary.Consumers {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		list, err := c.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: planStream, Group: group, Start: "-", End: "+", Count: 20_000, Consumer: name,
		}).Result()
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			ids = append(ids, p.ID)
		}
	}
	return ids, nil
}

// eventually waits until what holds, and reports whether it did within the limit.
func eventually(limit time.Duration, what func() bool) bool {
	end := time.Now().Add(limit)
	for pace := time.NewTicker(20 * time.Millisecond); ; <-pace.C {
		if what() {
			pace.Stop()
			return true
		}
		if time.Now().After(end) {
			pace.Stop()
			return false
		}
	}
}

// settled reports whether both groups have nothing pending and nothing to read.
func settled(c *redis.Client) bool {
	ctx, cancel := deadline()
	defer cancel()
	info, err := c.XInfoStream(ctx, planStream).Result()
	if err != nil {
		return false
	}
	list, err := c.XInfoGroups(ctx, planStream).Result()
	if err != nil {
		return false
	}
	done := 0
	for _, g := range list {
		if slices.Contains(groups[:], g.Name) && g.Pending == 0 && g.LastDeliveredID == info.LastGeneratedID {
			done++
		}
	}
	return done == len(groups)
}

func mustDo(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
