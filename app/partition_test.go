package app_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/config"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// partitioned are names of four partitions.
func partitioned(own ...settings) settings {
	s := settings{"P28_PLAN_STREAMS": planStream + ":{k}*4"}
	for _, more := range own {
		for name, value := range more {
			s[name] = value
		}
	}
	return s
}

// moreAt waits until one partition has more observations than now.
func (m *many) moreAt(names config.Names) {
	m.t.Helper()
	before := int64(-1)
	waitFor(m.t, 2*patience, func() error {
		have, err := m.client.XLen(context.Background(), names.Observed).Result()
		switch {
		case err != nil:
			return err
		case before < 0:
			before = have
		case have > before:
			return nil
		}
		return fmt.Errorf("%d observations in %s", have, names.Observed)
	})
}

// Four partitions on a cluster of six servers: the slot of one moves, the node of another dies, all under load.
func TestClusterWithPartitions(t *testing.T) {
	if testing.Short() {
		t.Skip("six servers and a failover")
	}
	c := redistest.StartCluster(t, 3)
	m := observeMany(t, partitioned(settings{"REDIS_CLUSTER": strings.Join(c.Addrs(), ",")}))
	m.more(300)
	all := m.cfg.Names()
	owners := map[*redistest.Server]bool{}
	for _, names := range all {
		owner := c.Owner(names.Plan)
		for _, key := range []string{names.Observed, names.Dead, names.Redrive, names.DedupePrefix, names.KeyPrefix} {
			require.Same(t, owner, c.Owner(key), key)
		}
		owners[owner] = true
	}
	require.Greater(t, len(owners), 1, "one node has all the partitions")

	moved, from := all[0], c.Owner(all[0].Plan)
	to := c.Nodes[0]
	if to == from {
		to = c.Nodes[1]
	}
	c.MoveSlot(moved.Plan, to, 20*time.Millisecond)
	require.Same(t, to, c.Owner(moved.Plan))
	m.moreAt(moved)
	m.more(300)

	to.Kill()
	killed := time.Now()
	m.moreAt(moved)
	t.Logf("the partitions of a node that died go on after %v", time.Since(killed).Round(100*time.Millisecond))
	m.more(300)
	t.Logf("%d plans survived, each with one observation at each point", m.check())
}

// The names of the contract on a cluster: it says what that means, and loses nothing while the slots of what a commit
// touches move one after the other.
func TestClusterAtLeastOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("six servers")
	}
	c := redistest.StartCluster(t, 3)
	m := observeMany(t, settings{"REDIS_CLUSTER": strings.Join(c.Addrs(), ",")})
	for _, l := range m.logs {
		require.Contains(t, strings.Join(l.Lines("level=WARN"), ""), "at least once")
	}
	m.more(200)
	for _, key := range []string{planStream, observedStream} {
		from, to := c.Owner(key), c.Nodes[0]
		if to == from {
			to = c.Nodes[1]
		}
		c.MoveSlot(key, to, 20*time.Millisecond)
		m.more(200)
	}
	t.Logf("%d plans, each with at least one observation at each point", m.check())
	ctx := context.Background()
	require.Zero(t, m.client.Exists(ctx, totalsKey).Val())
	require.EqualValues(t, 1, m.client.Exists(ctx, "quantum:p28:{"+planStream+"}:cursor:"+earlyGroup).Val(), "our own keys follow the stream")
}

// The names of the contract on a cluster while a node dies. When it is that of the plans nothing is lost: what it had not
// replicated is done again. When it is that of the observations, those that it had not replicated are lost, because their
// dedupe keys may live elsewhere; that is said in docs/scaling.md, and no more than that is lost.
func TestClusterAtLeastOnceNodeDies(t *testing.T) {
	if testing.Short() {
		t.Skip("six servers and a failover")
	}
	for _, dies := range []string{planStream, observedStream} {
		t.Run(dies, func(t *testing.T) {
			c := redistest.StartCluster(t, 3)
			m := observeMany(t, settings{"REDIS_CLUSTER": strings.Join(c.Addrs(), ",")})
			m.more(200)
			if both := c.Owner(planStream); both == c.Owner(observedStream) {
				apart := c.Nodes[0]
				if apart == both {
					apart = c.Nodes[1]
				}
				c.MoveSlot(observedStream, apart, 20*time.Millisecond)
				m.more(100)
			}
			require.NotSame(t, c.Owner(planStream), c.Owner(observedStream))
			c.Owner(dies).Kill()
			killed := time.Now()
			m.more(300)
			t.Logf("it goes on after %v", time.Since(killed).Round(100*time.Millisecond))
			if dies == planStream {
				t.Logf("%d plans survived, each with at least one observation at each point", m.check())
				return
			}
			m.stop()
			waitFor(t, 3*patience, m.settled)
			plans, lost, err := m.unobserved()
			require.NoError(t, err)
			require.Less(t, lost, 100, "more than what can have been under way")
			t.Logf("of %d plans %d observations were lost with the node", plans, lost)
		})
	}
}

// Partitions on one server, one worker, and few places for late plans, which one idle
// partition must not keep from another.
func TestPartitionsShareOneBound(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	own := partitioned(settings{"P28_LATE_OBS_MAX_INFLIGHT": "8", "P28_LATE_OBS_MAX_WAIT_MS": "300", "P28_BLOCK_MS": "500"})
	cfg := load(t, srv, own)
	o := start(t, srv, own)
	client := srv.Client()
	ctx := context.Background()
	hot := cfg.Names()[1]
	const plans = 100
	pipe := client.Pipeline()
	for n, written := uint64(0), 0; written < plans; n++ {
		if names := cfg.Names(); pipeline.Partition(1, n, len(names)) == 1 {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: hot.Plan, Values: pipeline.PlanPairs(1, n, time.Now())})
			written++
		}
	}
	_, err := pipe.Exec(ctx)
	require.NoError(t, err)
	eventually(t, "all are observed twice", func() error {
		n, err := client.XLen(ctx, hot.Observed).Result()
		if err == nil && n != 2*plans {
			err = fmt.Errorf("%d observations of %d plans", n, plans)
		}
		return err
	})
	for series, value := range o.metrics() {
		if strings.HasPrefix(series, "heat_observer_waiting_plans") {
			require.LessOrEqual(t, value, 8.0, series)
		}
	}
	for _, key := range []string{observedStream, totalsKey, planStream} {
		require.Zero(t, client.Exists(ctx, key).Val(), "%s has no place beside partitions", key)
	}
	require.NoError(t, o.stop())
	for _, names := range cfg.Names() {
		for _, group := range []string{earlyGroup, lateGroup} {
			consumers, err := client.XInfoConsumers(ctx, names.Plan, group).Result()
			require.NoError(t, err)
			require.Empty(t, consumers, "a worker that drained leaves nothing behind")
		}
	}
}
