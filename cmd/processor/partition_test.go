package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/operate"
)

// What an operator does on three partitions: most commands are about all of them, the others name what to say.
func TestCommandsOnPartitions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const plan = "quantum:stream:apply.plan"
	w.environ = append(w.environ, "P28_PLAN_STREAMS="+plan+":{k}*3")
	w.does(0, "load", "--plans", "60", "--rate", "1000", "--delay", "0ms")
	var written int64
	for k := range 3 {
		n := w.rdb.XLen(t.Context(), fmt.Sprintf("%s:{%d}", plan, k)).Val()
		require.Positive(t, n, "partition %d", k)
		written += n
	}
	require.EqualValues(t, 60, written)
	require.Zero(t, w.rdb.Exists(t.Context(), plan).Val())

	for k, id := range []string{"1700000000000-0", "1700000000000-0", "1700000001000-0"} {
		w.do("XADD", fmt.Sprintf("quantum:stream:apply.heat.dead:{%d}", k), id, "reason", "no_symbol", "error", "no symbol",
			"stream", fmt.Sprintf("%s:{%d}", plan, k), "group", "p28_late", "entry_id", "1699999999000-0", "failures", "1", "raw", `{"plan_id":"p"}`)
		w.do("HINCRBY", fmt.Sprintf("quantum:p28:{%d}:totals", k), "dead:p28_late", "1")
	}
	var list struct {
		Total       int                  `json:"total"`
		DeadLetters []operate.DeadLetter `json:"dead_letters"`
	}
	stdout, _ := w.does(0, "deadletter", "list", "--json")
	require.NoError(t, json.Unmarshal([]byte(stdout), &list))
	require.Equal(t, 3, list.Total)
	require.Equal(t, "1700000001000-0", list.DeadLetters[0].ID, "the newest first, over all partitions")
	stdout, _ = w.does(0, "deadletter", "list", "--json", "--limit", "1")
	require.NoError(t, json.Unmarshal([]byte(stdout), &list))
	require.Len(t, list.DeadLetters, 1)

	var status operate.Status
	stdout, _ = w.does(1, "status", "--json")
	require.NoError(t, json.Unmarshal([]byte(stdout), &status))
	require.EqualValues(t, 3, status.DeadLetters)
	require.EqualValues(t, 3, status.Totals["p28_late"].Dead)
	require.Len(t, status.Groups, 6, "both groups of each partition, which nobody has made yet")

	_, stderr := w.does(2, "deadletter", "show", "1700000000000-0")
	require.Contains(t, stderr, "P28_PLAN_STREAMS="+plan+":{0}")
	w.does(0, "deadletter", "show", "1700000000000-0", "--plan-streams", plan+":{1}")
	w.does(0, "deadletter", "redrive", "1700000001000-0", "--set", "symbol=S")
	require.EqualValues(t, 1, w.rdb.XLen(t.Context(), "quantum:stream:apply.heat.redrive:{2}").Val())
	w.does(0, "deadletter", "purge", "--older-than", "24h", "--execute")
	stdout, _ = w.does(0, "deadletter", "list")
	require.Contains(t, stdout, "0 shown, 0 in")

	_, stderr = w.does(2, "group", "skip-to-now", "--group", "late")
	require.Contains(t, stderr, plan+":{2}")
	stdout, _ = w.does(0, "trace", w.rdb.XRange(t.Context(), plan+":{1}", "-", "+").Val()[0].Values["plan_id"].(string))
	require.Contains(t, stdout, plan+":{1}")

	_, stderr = w.does(2, "demo")
	require.Contains(t, stderr, "--plan-streams='"+plan+":{0}'")
	stdout, _ = w.does(1, "verify", "--wait", "1s")
	require.Contains(t, stdout, "of 3 partitions like it")

	// History is that of all, from the streams and from an archive.
	dir := t.TempDir()
	w.does(0, "archive", "follow", "--once", "--dir", dir)
	for _, args := range [][]string{{"replay"}, {"replay", "--archive", dir}} {
		stdout, _ = w.does(0, args...)
		require.Contains(t, stdout, "60 plans", args)
	}
	stdout, _ = w.does(0, "archive", "info", dir)
	require.Contains(t, stdout, "plans of partition-2")
	one := t.TempDir()
	w.does(0, "archive", "follow", "--once", "--dir", one, "--plan-streams", plan+":{0}")
	stdout, _ = w.does(0, "archive", "info", one)
	require.NotContains(t, stdout, "partition-")
}

// The users that the files in deploy/redis make suffice for a worker and an operator on a Cluster, with partitions and without tags.
func TestClusterACL(t *testing.T) {
	const plan = "quantum:stream:apply.plan"
	for _, c := range []struct {
		sed        string
		partitions string // P28_PLAN_STREAMS
		tags       []string
	}{
		{"partitioned.sed", plan + ":{k}*2", []string{":{0}", ":{1}"}},
		{"untagged.sed", "", []string{""}},
	} {
		t.Run(c.sed, func(t *testing.T) {
			t.Parallel()
			text, err := exec.Command("sed", "-E", "-f", "../../deploy/redis/"+c.sed, "../../deploy/redis/users.acl").Output()
			require.NoError(t, err)
			server := newServerWithUsers(t, string(text), redistest.WithConfig("cluster-enabled", "yes"))
			rdb := server.Client()
			ownAllSlots(t, rdb)
			as := func(user string) []string {
				return append([]string{
					"REDIS_CLUSTER=" + server.Addr(), "REDIS_USERNAME=" + user, "REDIS_PASSWORD=pw-" + user, "P28_PLAN_STREAMS=" + c.partitions,
					"P28_HTTP_ADDR=127.0.0.1:0", "P28_BLOCK_MS=50", "P28_LOG_FORMAT=text", "P28_LATE_OBS_MAX_WAIT_MS=200", "P28_THROTTLE_FLEET_PER_SEC=1000",
				}, usual...)
			}
			worker := launch(t, as("heat-worker"), "run")
			worker.addr()
			for _, tag := range c.tags {
				require.NoError(t, rdb.Do(t.Context(), "XADD", plan+tag, "*", "plan_id", "p"+tag, "symbol", "S").Err())
				require.NoError(t, rdb.Do(t.Context(), "XADD", plan+tag, "*", "plan_id", "no symbol").Err())
			}
			length := lengths(t, rdb, worker)
			for _, tag := range c.tags {
				length("quantum:stream:apply.heat.observed"+tag, 2)
				length("quantum:stream:apply.heat.dead"+tag, 2)
			}
			operator := as("heat-operator")
			for _, args := range [][]string{{"status"}, {"deadletter", "redrive", "--all", "--yes", "--set", "symbol=S"}, {"group", "show"}, {"trace", "no symbol"}} {
				code, stdout, stderr := processor(t, operator, args...)
				require.Zero(t, code, "%s\n%s%s", args, stdout, stderr)
			}
			for _, tag := range c.tags {
				length("quantum:stream:apply.heat.observed"+tag, 4)
			}
			worker.end()
			requireNothingDenied(t, rdb)
		})
	}
}

// ownAllSlots makes a cluster of one server.
func ownAllSlots(t *testing.T, rdb *redis.Client) {
	t.Helper()
	require.NoError(t, rdb.ClusterAddSlotsRange(t.Context(), 0, 16383).Err())
	eventually(t, "the cluster works", func() error {
		if info := rdb.ClusterInfo(t.Context()).Val(); !strings.Contains(info, "cluster_state:ok") {
			return errors.New(info)
		}
		return nil
	})
}

// With the names of the contract on a cluster dead letters are sent back in steps, each to the group that gave it up.
func TestRedriveInSteps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithConfig("cluster-enabled", "yes"))
	rdb := server.Client()
	ownAllSlots(t, rdb)
	environ := append([]string{
		"REDIS_CLUSTER=" + server.Addr(), "P28_HTTP_ADDR=127.0.0.1:0", "P28_BLOCK_MS=50", "P28_LOG_FORMAT=text", "P28_LATE_OBS_MAX_WAIT_MS=200",
	}, usual...)
	worker := launch(t, environ, "run")
	worker.addr()
	length := lengths(t, rdb, worker)
	const dead, redrive, observed = "quantum:stream:apply.heat.dead", "quantum:stream:apply.heat.redrive", "quantum:stream:apply.heat.observed"
	for n := range 3 {
		require.NoError(t, rdb.Do(t.Context(), "XADD", "quantum:stream:apply.plan", "*", "plan_id", fmt.Sprint("no symbol ", n)).Err())
	}
	length(dead, 6)
	code, _, stderr := processor(t, environ, "deadletter", "redrive", "--all", "--dry-run", "--set", "symbol=S")
	require.Zero(t, code, stderr)
	require.Zero(t, rdb.XLen(t.Context(), redrive).Val())
	code, stdout, stderr := processor(t, environ, "deadletter", "redrive", "--all", "--yes", "--set", "symbol=S")
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "6 redriven, 0 refused, 0 not there")
	length(dead, 0)
	length(observed, 6)
	worker.end()
}

// lengths returns what waits until a stream has so many entries.
func lengths(t *testing.T, rdb redis.Cmdable, worker *background) func(stream string, n int64) {
	return func(stream string, n int64) {
		t.Helper()
		eventually(t, stream, func() error {
			if got := rdb.XLen(t.Context(), stream).Val(); got != n {
				return fmt.Errorf("%d entries in place of %d\n%s", got, n, worker.logs)
			}
			return nil
		})
	}
}
