package app_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// TestOutagesAreShownAndPass: whatever Redis says, /readyz names it, the retries are counted, the process lives, and
// works again when the cause is gone; the plan that it held meanwhile is observed once.
func TestOutagesAreShownAndPass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		harm, mend func(srv *redistest.Server, p *redistest.Proxy)
		shows, op  string
	}{
		{
			name: "a server that accepts and never answers", shows: "Redis does not answer", op: "read",
			harm: func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole(true) },
			mend: func(_ *redistest.Server, p *redistest.Proxy) { p.Blackhole(false) },
		},
		{
			name: "connection refused", shows: "refused", op: "read",
			harm: func(_ *redistest.Server, p *redistest.Proxy) { p.Refuse(true); p.Cut() },
			mend: func(_ *redistest.Server, p *redistest.Proxy) { p.Refuse(false) },
		},
		{
			name: "READONLY", shows: "READONLY", op: "read",
			harm: func(srv *redistest.Server, _ *redistest.Proxy) { replicate(srv, "yes") },
			mend: func(srv *redistest.Server, _ *redistest.Proxy) { srv.Promote() },
		},
		{
			name: "MASTERDOWN", shows: "MASTERDOWN", op: "read",
			harm: func(srv *redistest.Server, _ *redistest.Proxy) { replicate(srv, "no") },
			mend: func(srv *redistest.Server, _ *redistest.Proxy) { srv.Promote() },
		},
		{
			name: "OOM", shows: "observations cannot be written", op: "commit", // reading goes on
			harm: func(srv *redistest.Server, _ *redistest.Proxy) { srv.ConfigSet("maxmemory", "1") },
			mend: func(srv *redistest.Server, _ *redistest.Proxy) { srv.ConfigSet("maxmemory", "0") },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.Start(t)
			rdb := srv.Client()
			proxy := redistest.NewProxy(t, srv.Addr())
			o := start(t, srv, settings{"REDIS_URL": "redis://" + proxy.Addr(), "P28_LATE_OBS_MAX_WAIT_MS": "1500"})
			o.awaitReady()
			publish(t, rdb, "plan_id", "held", "symbol", "S")
			observe(t, rdb, earlyPoint, "held") // late waits for its heat
			c.harm(srv, proxy)
			o.awaitUnready(c.shows)
			o.requireAlive()
			eventually(t, "retries are counted", func() error {
				if o.metrics()[`heat_observer_retries_total{op="`+c.op+`"}`] == 0 {
					return errors.New("none")
				}
				return nil
			})

			c.mend(srv, proxy)
			o.awaitReady()
			publish(t, rdb, "plan_id", "next", "symbol", "S")
			observe(t, rdb, latePoint, "next")
			observe(t, rdb, latePoint, "held")
			awaitQuiet(t, rdb, earlyGroup, lateGroup)
			seen := observations(t, rdb, 400) // which fails on a second one
			assert.Len(t, seen[earlyPoint], 2)
			assert.Len(t, seen[latePoint], 2)
			require.NoError(t, o.stop())
		})
	}
}

// replicate makes the server the replica of one that is not there; stale says whether it still serves reads.
func replicate(srv *redistest.Server, stale string) {
	srv.ConfigSet("replica-serve-stale-data", stale)
	srv.CLI("REPLICAOF", "127.0.0.1", "1")
}
