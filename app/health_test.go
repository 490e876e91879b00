package app_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/internal/redistest"
)

// awaitUnready waits until /readyz says no, for a reason that names what.
func (o *observer) awaitUnready(what string) {
	o.t.Helper()
	eventually(o.t, "not ready", func() error {
		h, err := o.health("/readyz")
		if err != nil {
			return err
		}
		if h.status != http.StatusServiceUnavailable || h.OK || !strings.Contains(strings.Join(h.Wrong, "\n"), what) {
			return fmt.Errorf("%+v", h)
		}
		return nil
	})
}

func (o *observer) requireAlive() {
	o.t.Helper()
	h, err := o.health("/livez")
	require.NoError(o.t, err)
	require.Equal(o.t, http.StatusOK, h.status, "%v", h.Wrong)
}

// TestRedisComesAndGoes: a process without Redis is alive and not ready, and works as soon as Redis is there.
func TestRedisComesAndGoes(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, redistest.WithAOF("always"))
	srv.Kill()
	o := start(t, srv)
	o.awaitUnready("Redis does not answer")
	o.requireAlive()
	assert.Equal(t, theSeries(), contractSeries(o.metrics()))
	assert.Zero(t, o.metrics()["heat_observer_redis_up"])

	srv.Restart()
	o.awaitReady()
	rdb := srv.Client()
	publish(t, rdb, "plan_id", "first", "symbol", "S")
	writeHeat(t, rdb, "first")
	assert.Equal(t, "ok", observe(t, rdb, latePoint, "first").reason())

	srv.Kill()
	o.awaitUnready("Redis does not answer")
	o.requireAlive()

	srv.Restart()
	o.awaitReady()
	publish(t, srv.NewClient(nil), "plan_id", "second", "symbol", "S")
	writeHeat(t, srv.NewClient(nil), "second")
	assert.Equal(t, "ok", observe(t, srv.NewClient(nil), latePoint, "second").reason())
	require.NoError(t, o.stop())
}

// TestWhatMayNotBeReadIsNoOutage: a Redis that refuses a stream answers all the same, and what it tells of other streams is shown.
// An alert of its own stands for it, which would be silent if Redis were taken for down.
func TestWhatMayNotBeReadIsNoOutage(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv)
	o.awaitReady()
	require.NoError(t, rdb.Del(t.Context(), redriveStream).Err())
	require.NoError(t, rdb.Set(t.Context(), redriveStream, "no stream", 0).Err())
	eventually(t, "it is refused", func() error {
		m := o.metrics()
		_, plans := m[`heat_observer_pending_entries{group="p28_late",stream="`+planStream+`"}`]
		_, redriven := m[`heat_observer_pending_entries{group="p28_late",stream="`+redriveStream+`"}`]
		if up, reads := m["heat_observer_redis_up"], m[`heat_observer_subscribed{handler="late"}`]; up != 1 || reads != 0 || !plans || redriven {
			return fmt.Errorf("Redis up %v, the handler reads %v, the plans are shown: %v, the redriven: %v", up, reads, plans, redriven)
		}
		return nil
	})
	require.NoError(t, rdb.Del(t.Context(), redriveStream).Err())
	o.awaitReady()
	require.NoError(t, o.stop())
}

// TestAnswersWhileRedisHangs: whoever asks for readiness or metrics waits for two seconds, and not for as long as a blocked read
// may take.
func TestAnswersWhileRedisHangs(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	proxy := redistest.NewProxy(t, srv.Addr())
	o := start(t, srv, settings{"REDIS_URL": "redis://" + proxy.Addr(), "P28_BLOCK_MS": "5000"})
	o.awaitReady()
	proxy.Blackhole(true)
	defer proxy.Blackhole(false)
	const blocked = 8 * time.Second // the read timeout of the client
	begun := time.Now()
	h, err := o.health("/readyz")
	require.NoError(t, err)
	assert.Contains(t, strings.Join(h.Wrong, "; "), "Redis does not answer")
	assert.Less(t, time.Since(begun), blocked-time.Second)
	begun = time.Now()
	assert.Zero(t, o.metrics()["heat_observer_redis_up"])
	assert.Less(t, time.Since(begun), blocked-time.Second)
}

// TestNotReadyWhileNothingCanBeWritten: reading works, but the key of the observed stream is no stream. Nothing is lost.
func TestNotReadyWhileNothingCanBeWritten(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv)
	o.awaitReady()
	require.NoError(t, rdb.Set(t.Context(), observedStream, "x", 0).Err())
	publish(t, rdb, "plan_id", "p", "symbol", "S")
	o.awaitUnready("observations cannot be written")
	o.requireAlive()
	pending, err := rdb.XPending(t.Context(), planStream, earlyGroup).Result()
	require.NoError(t, err)
	assert.Equal(t, int64(1), pending.Count)

	require.NoError(t, rdb.Del(t.Context(), observedStream).Err())
	assert.Equal(t, "missing", observe(t, rdb, earlyPoint, "p").reason())
	assert.Equal(t, "timeout", observe(t, rdb, latePoint, "p").reason())
	o.awaitReady()
	require.NoError(t, o.stop())
}

// TestReadyWhenTheGroupIsBuiltAgain: a group that vanished is a fault that passes.
func TestReadyWhenTheGroupIsBuiltAgain(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv)
	publish(t, rdb, "plan_id", "p", "symbol", "S")
	writeHeat(t, rdb, "p")
	awaitObserved(t, rdb, 2)
	for _, group := range []string{earlyGroup, lateGroup} {
		require.NoError(t, rdb.XGroupDestroy(t.Context(), planStream, group).Err())
	}
	writeHeat(t, rdb, "q")
	publish(t, rdb, "plan_id", "q", "symbol", "S")
	assert.Equal(t, "ok", observe(t, rdb, latePoint, "q").reason())
	assert.Equal(t, "ok", observe(t, rdb, earlyPoint, "q").reason())
	o.awaitReady()
	awaitQuiet(t, rdb, earlyGroup, lateGroup)
	assert.Len(t, observations(t, rdb, 400)[earlyPoint], 2)
	require.NoError(t, o.stop())
}

// TestNotReadyWhileDraining: whoever routes work by readiness hears of a drain before it is over.
func TestNotReadyWhileDraining(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	// The readers are in a blocking read when the drain begins, which gives the time to ask.
	o := run(t, load(t, srv, settings{"P28_BLOCK_MS": "3000"}), app.Options{})
	o.awaitReady()
	begun := time.Now()
	o.cancel()
	o.awaitUnready("draining")
	o.requireAlive()
	require.NoError(t, o.wait())
	assert.Less(t, time.Since(begun), 20*time.Second)
	_, err := o.health("/livez")
	assert.Error(t, err, "the listener is closed at the end")
}
