package app_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// contractSeries are the series of the p28 families.
func contractSeries(all series) series {
	own := series{}
	for name, value := range all {
		if strings.HasPrefix(name, "p28_") {
			own[name] = value
		}
	}
	return own
}

// theSeries are those of the wire contract, at 0.
func theSeries() series {
	all := series{droppedSeries: 0}
	for _, point := range []string{earlyPoint, latePoint} {
		for _, found := range []string{"0", "1"} {
			all[observedSeries(point, found)] = 0
		}
		for _, reason := range []string{"ok", "missing", "timeout", "redis_error", "parse_error"} {
			all[reasonSeries(point, reason)] = 0
		}
	}
	return all
}

func TestContractSeriesExistFromTheStart(t *testing.T) {
	t.Parallel()
	o := start(t, redistest.Start(t))
	require.Len(t, theSeries(), 15)
	assert.Equal(t, theSeries(), contractSeries(o.metrics()))
}

// TestHostileInputMakesNoSeries: nothing that a message holds becomes a series or a part of one. The first hundred plans
// bring out everything that a run of this kind can count; all that come after them add nothing.
func TestHostileInputMakesNoSeries(t *testing.T) {
	t.Parallel()
	total := 10_000
	if testing.Short() {
		total = 2_000
	}
	srv := redistest.Start(t)
	rdb := srv.Client()
	// Hashes of these plans are hostile, too. A short wait brings the plans through.
	o := start(t, srv, settings{
		"P28_LATE_OBS_MAX_WAIT_MS": "100", "P28_LATE_OBS_POLL_MS": "20", "P28_LATE_OBS_MAX_INFLIGHT": "8000", "P28_DEAD_MAXLEN": "0",
	})
	rng := rand.New(rand.NewPCG(7, 7))
	sendHostile(t, rdb, rng, 100)
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	before := o.metrics()
	sendHostile(t, rdb, rng, total-100)
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	var after series
	var parked float64
	// What Redis has settled is counted when its reply has come.
	eventually(t, "every dead letter is counted", func() error {
		after, parked = o.metrics(), 0
		for name, value := range after {
			if strings.HasPrefix(name, "heat_observer_dead_letters_total") {
				parked += value
			}
		}
		return same("dead letters", int(rdb.XLen(t.Context(), deadStream).Val()), int(parked))
	})

	assert.ElementsMatch(t, slices.Collect(maps.Keys(theSeries())), slices.Collect(maps.Keys(contractSeries(after))))
	for name := range after {
		if _, known := before[name]; !known && !enumerated(name) {
			t.Errorf("a series that came with hostile input: %s", name)
		}
		assert.NotContains(t, name, marker, "a series that carries something of a message")
	}
	observed := rdb.XLen(t.Context(), observedStream).Val()
	assert.Equal(t, 2*total, int(parked)+int(observed), "every plan is observed or parked, for each group")
	assert.Greater(t, observed, int64(total/10), "the input is not only refused")
	assert.Greater(t, parked, float64(total/10), "the input is not only accepted")
	assertOneLiner(t, srv, o, strings.Replace(oneLiner, "COUNT 200", "COUNT 1000000", 1))
	require.NoError(t, o.stop())
}

// enumerated are series of fixed labels that come into being with their first event, on a machine that is slow enough.
func enumerated(name string) bool {
	for _, family := range []string{"retries_total", "handler_seconds", "entries_read_total", "lookups_total", "commits_total", "lag_entries"} {
		if strings.HasPrefix(name, "heat_observer_"+family) {
			return true
		}
	}
	return false
}

// marker stands in every hostile text.
const marker = "h0st1le"

// sendHostile publishes plans whose every field is hostile, in part well formed, and hashes for some of them.
func sendHostile(t testing.TB, rdb *redis.Client, rng *rand.Rand, n int) {
	t.Helper()
	const batch = 100
	for n > 0 {
		pipe := rdb.Pipeline()
		for range min(n, batch) {
			plan := hostileText(rng)
			pairs := []string{"plan_id", plan, "symbol", hostileText(rng), "decision", hostileText(rng), "obs_point", hostileText(rng),
				"reason", hostileText(rng), hostileText(rng) + "x", hostileText(rng)}
			if rng.IntN(10) == 0 {
				pairs = append(pairs, hostileText(rng)+"y", strings.Repeat(hostileText(rng), 2_000))
			}
			if rng.IntN(3) == 0 {
				key := heatPrefix + plan
				pipe.HSet(t.Context(), key, "heat_level", hostileText(rng), "heat_action", hostileText(rng), "mode", hostileText(rng))
			}
			pipe.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: pairs})
		}
		_, err := pipe.Exec(t.Context())
		require.NoError(t, err)
		n -= min(n, batch)
	}
}

// hostileText is never empty, seldom the same twice, and holds marker.
func hostileText(rng *rand.Rand) string {
	text := fmt.Sprintf("%s%x", marker, rng.Uint64())
	switch rng.IntN(12) {
	case 0:
		raw := make([]byte, 1+rng.IntN(40))
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		return text + string(raw)
	case 1:
		return `",obs_point="` + text
	case 2:
		return `{obs_point="` + text + `"} 1`
	case 3:
		return text + strings.Repeat("n", rng.IntN(400))
	case 4:
		return text + "\n# TYPE p28_observed_total counter"
	case 5:
		return "p28_observed_total " + text
	case 6:
		return "`$(" + text + ")`%s%n\\"
	case 7:
		return "\u202e" + text + "\U0001f525"
	}
	return text
}

// TestFoundAfterTheDeadlineCountsWhatIsWritten: a group that is moved back waits again for plans that are observed already.
// What coverage leaves out is part of what it is a share of, so that neither rises.
func TestFoundAfterTheDeadlineCountsWhatIsWritten(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	const plans = 5
	const repeated = `heat_observer_commits_total{obs_point="publish_plan_post",result="duplicate"}`
	o := start(t, srv)
	long := time.Now().Add(-time.Minute)
	for i := range plans {
		plan := fmt.Sprint("plan", i)
		writeHeat(t, rdb, plan)
		publishAt(t, rdb, long.Add(time.Duration(i)*time.Millisecond), "plan_id", plan, "symbol", "S")
	}
	counted := series{"heat_observer_after_deadline_total": plans, observedSeries(latePoint, "1"): plans, repeated: 0}
	o.awaitMetrics(counted)
	awaitQuiet(t, rdb, lateGroup)

	require.NoError(t, rdb.XGroupSetID(t.Context(), planStream, lateGroup, "0").Err())
	counted[repeated] = plans
	o.awaitMetrics(counted)
	require.NoError(t, o.stop())
}

// TestUnknownLagIsAbsent: what Redis does not know is not shown as 0.
func TestUnknownLagIsAbsent(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	const lag = `heat_observer_lag_entries{group="p28_late",stream="quantum:stream:apply.plan"}`
	o := start(t, srv, settings{"P28_LATE_OBS_MAX_INFLIGHT": "1", "P28_LATE_OBS_MAX_WAIT_MS": "50000"})
	var ids []string
	for i := range 5 {
		ids = append(ids, publish(t, rdb, "plan_id", fmt.Sprint("plan", i), "symbol", "S"))
	}
	eventually(t, "a known lag", func() error {
		if n, known := o.metrics()[lag]; !known || n != 3 { // one waits, one is in hand to wait for its place
			return fmt.Errorf("lag %v, known %v", n, known)
		}
		return nil
	})
	// An unread entry that was deleted: Redis says (nil) from now on, until everything is read.
	require.NoError(t, rdb.XDel(t.Context(), planStream, ids[3]).Err())
	eventually(t, "an unknown lag", func() error {
		all := o.metrics()
		if n, known := all[lag]; known {
			return fmt.Errorf("lag %v", n)
		}
		if up := all["heat_observer_redis_up"]; up != 1 {
			return fmt.Errorf("up %v", up)
		}
		return nil
	})
}
