package app_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
)

// observedFields are written out here and not taken from the code: the order is the contract.
var observedFields = strings.Fields(`ts_epoch plan_id symbol apply_component obs_point heat_found heat_ts_epoch heat_level
	heat_score heat_action heat_out_action heat_recommended_partial heat_reason apply_decision debug_json`)

// observation is one entry of the observed stream, checked against the shape of the contract.
type observation struct {
	entryID string
	fields  map[string]string
	debug   struct {
		SourceID      string `json:"source_id"`
		WaitMs        int64  `json:"wait_ms"`
		Noticed       string `json:"noticed"`
		AfterDeadline bool   `json:"after_deadline"`
		Error         string `json:"error"`
		Decision      string `json:"apply_decision"`
		InAction      string `json:"in_action"`
	}
}

func (o observation) reason() string { return o.fields["heat_reason"] }

// observations are all entries of the observed stream by observation point and plan. It fails the test when a plan has
// more than one at a point, or when one is not of the contracted shape.
func observations(t testing.TB, rdb *redis.Client, maxDebug int) map[string]map[string]observation {
	t.Helper()
	all := map[string]map[string]observation{earlyPoint: {}, latePoint: {}}
	// The raw reply keeps the order of the fields, which a map would lose.
	reply, err := rdb.Do(t.Context(), "XRANGE", observedStream, "-", "+").Slice()
	require.NoError(t, err)
	for _, item := range reply {
		pair := item.([]any)
		o := observation{entryID: pair[0].(string), fields: map[string]string{}}
		var names []string
		values := pair[1].([]any)
		for i := 0; i < len(values); i += 2 {
			names = append(names, values[i].(string))
			o.fields[values[i].(string)] = values[i+1].(string)
		}
		require.Equal(t, observedFields, names, "fields of observation %s", o.entryID)
		debug := o.fields["debug_json"]
		require.NoError(t, json.Unmarshal([]byte(debug), &o.debug), "debug_json %s", debug)
		require.LessOrEqual(t, utf8.RuneCountInString(debug), maxDebug, "debug_json %s", debug)
		require.Equal(t, "apply", o.fields["apply_component"])
		require.Equal(t, o.reason() == "ok", o.fields["heat_found"] == "1", "%v", o.fields)
		require.Contains(t, []string{"0", "1"}, o.fields["heat_found"])
		at := all[o.fields["obs_point"]]
		require.NotNil(t, at, "obs_point of %v", o.fields)
		plan := o.fields["plan_id"]
		if _, twice := at[plan]; twice {
			t.Fatalf("plan %s has a second observation at %s", plan, o.fields["obs_point"])
		}
		at[plan] = o
	}
	return all
}

// observe waits for the observation of a plan at a point.
func observe(t testing.TB, rdb *redis.Client, point, plan string) (found observation) {
	t.Helper()
	eventually(t, "observation of "+plan+" at "+point, func() error {
		var ok bool
		if found, ok = observations(t, rdb, 400)[point][plan]; !ok {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	return found
}

// awaitObserved waits until the observed stream holds n entries.
func awaitObserved(t testing.TB, rdb *redis.Client, n int) {
	t.Helper()
	eventually(t, "observations", func() error { return same("entries", n, int(rdb.XLen(t.Context(), observedStream).Val())) })
}

// awaitQuiet waits until the groups have read everything and nothing is pending.
func awaitQuiet(t testing.TB, rdb *redis.Client, groups ...string) {
	t.Helper()
	for _, group := range groups {
		eventually(t, "a quiet group "+group, func() error {
			info, err := rdb.XInfoStream(t.Context(), planStream).Result()
			if err != nil {
				return err
			}
			list, err := rdb.XInfoGroups(t.Context(), planStream).Result()
			if err != nil {
				return err
			}
			for _, g := range list {
				if g.Name == group {
					if g.LastDeliveredID != info.LastGeneratedID {
						return fmt.Errorf("delivered up to %s of %s", g.LastDeliveredID, info.LastGeneratedID)
					}
					return same("pending", 0, int(g.Pending))
				}
			}
			return fmt.Errorf("there is no group %s", group)
		})
	}
}

func same(what string, want, got int) error {
	if want != got {
		return fmt.Errorf("%d %s, want %d", got, what, want)
	}
	return nil
}

// publish writes one plan as the Python apply layer does and returns its entry ID.
func publish(t testing.TB, rdb *redis.Client, pairs ...string) string {
	t.Helper()
	id, err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, Values: pairs}).Result()
	require.NoError(t, err)
	return id
}

// publishAt is publish with the entry ID that the plan would have had at a moment.
func publishAt(t testing.TB, rdb *redis.Client, at time.Time, pairs ...string) string {
	t.Helper()
	id, err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, ID: entry.IDAt(at).String(), Values: pairs}).Result()
	require.NoError(t, err)
	return id
}

// heatPairs are the fields of a by_plan hash as the heat bridge writes them.
func heatPairs(plan string) []string {
	return []string{
		"ts_epoch", "1700000000.25", "symbol", "BTCUSDT", "plan_id", plan, "in_action", "FULL_CLOSE_PROPOSED",
		"out_action", "HOLD_CLOSE", "heat_level", "hot", "heat_score", "0.8125", "heat_action", "HOLD_CLOSE",
		"recommended_partial", "", "reason", "ok", "mode", "shadow", "debug_json", "{}",
	}
}

// writeHeat writes the hash of a plan, with some of its fields changed.
func writeHeat(t testing.TB, rdb *redis.Client, plan string, change ...string) {
	t.Helper()
	require.NoError(t, rdb.HSet(t.Context(), heatPrefix+plan, append(heatPairs(plan), change...)).Err())
}

// deadLetter is one entry of the dead-letter stream.
type deadLetter struct{ reason, error, stream, group, entryID, failures, raw string }

// deadLetters are those of the dead-letter stream by group and entry ID, each there once.
func deadLetters(t testing.TB, rdb *redis.Client) map[string]map[string]deadLetter {
	t.Helper()
	all := map[string]map[string]deadLetter{}
	reply, err := rdb.Do(t.Context(), "XRANGE", deadStream, "-", "+").Slice()
	require.NoError(t, err)
	for _, item := range reply {
		fields := item.([]any)[1].([]any)
		var names []string
		values := make([]string, 0, 8)
		for i := 0; i < len(fields); i += 2 {
			names = append(names, fields[i].(string))
			values = append(values, fields[i+1].(string))
		}
		require.Equal(t, strings.Fields("reason error stream group entry_id failures ts_epoch raw"), names)
		d := deadLetter{values[0], values[1], values[2], values[3], values[4], values[5], values[7]}
		if all[d.group] == nil {
			all[d.group] = map[string]deadLetter{}
		}
		if _, twice := all[d.group][d.entryID]; twice {
			t.Fatalf("entry %s is parked twice for group %s", d.entryID, d.group)
		}
		all[d.group][d.entryID] = d
	}
	return all
}

// oneLiner is the operators' command of the wire contract, to the letter.
const oneLiner = `
    redis-cli --raw XREVRANGE quantum:stream:apply.heat.observed + - COUNT 200 | awk '
      tolower($0)=="obs_point"{getline; op=$0}
      tolower($0)=="heat_found"{getline; hf=$0; c[op,hf]++}
      END{for(k in c) print k, c[k]}' | sort`

// runOneLiner is what it prints, by series of p28_observed_total; those that it leaves out are 0.
func runOneLiner(t testing.TB, srv *redistest.Server, script string) series {
	t.Helper()
	counted := series{}
	for _, point := range []string{earlyPoint, latePoint} {
		for _, found := range []string{"0", "1"} {
			counted[observedSeries(point, found)] = 0
		}
	}
	for line := range strings.Lines(srv.Shell(script)) {
		// awk joins the subscripts with the character 0x1c.
		key, n, ok := strings.Cut(strings.TrimSpace(line), " ")
		require.True(t, ok, line)
		point, found, ok := strings.Cut(key, "\x1c")
		require.True(t, ok, line)
		name := observedSeries(point, found)
		require.Contains(t, counted, name, "the one-liner counts what is no observation")
		var value float64
		_, err := fmt.Sscan(n, &value)
		require.NoError(t, err, line)
		counted[name] = value
	}
	return counted
}

// awaitMetrics waits until the observer has counted what it wrote, which is a little later than Redis has it.
func (o *observer) awaitMetrics(want series) {
	o.t.Helper()
	eventually(o.t, "the metrics", func() error {
		metrics := o.metrics()
		for name, n := range want {
			if metrics[name] != n {
				return fmt.Errorf("%s is %v, want %v", name, metrics[name], n)
			}
		}
		return nil
	})
}

// assertOneLiner compares what the one-liner counts with the metrics of the only process that observed.
func assertOneLiner(t testing.TB, srv *redistest.Server, o *observer, script string) {
	t.Helper()
	o.awaitMetrics(runOneLiner(t, srv, script))
}
