package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/entry"
	"heatobserver/internal/redistest"
)

// TestGroupStart: where groups begin that do not exist.
func TestGroupStart(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ids := []entry.ID{entry.IDAt(now.Add(-time.Hour)), entry.IDAt(now.Add(-time.Minute)), entry.IDAt(now.Add(-100 * time.Millisecond))}
	cases := []struct {
		name, start string
		cursor      entry.ID // of both groups, zero for none
		history     bool     // plans an hour, a minute and 100 ms old
		want        []string // beside the plan that is published afterwards
	}{
		{name: "auto on a new stream", start: "auto"},
		{name: "auto on history reads what may still be waited for", start: "auto", history: true, want: []string{"young"}},
		{name: "0", start: "0", history: true, want: []string{"hour", "minute", "young"}},
		{name: "$", start: "$", history: true},
		{name: "an entry ID", start: ids[0].String(), history: true, want: []string{"minute", "young"}},
		{name: "a cursor goes before everything", start: "$", cursor: ids[0], history: true, want: []string{"minute", "young"}},
		{name: "a cursor ahead of the stream belongs to one that was flushed", start: "$", cursor: entry.IDAt(now.Add(time.Hour)),
			history: true, want: []string{"hour", "minute", "young"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			srv := redistest.Start(t)
			rdb := srv.Client()
			if c.history {
				for i, name := range []string{"hour", "minute", "young"} {
					publishAt(t, rdb, ids[i].Time(), "plan_id", name, "symbol", "S")
				}
			}
			if c.cursor != (entry.ID{}) {
				for _, group := range []string{earlyGroup, lateGroup} {
					require.NoError(t, rdb.Set(t.Context(), "quantum:p28:cursor:"+group, c.cursor.String(), 0).Err())
				}
			}
			// The wait is so long that the young plan stays young on any machine.
			start(t, srv, settings{"P28_GROUP_START": c.start, "P28_LATE_OBS_MAX_WAIT_MS": "50000"})
			publish(t, rdb, "plan_id", "new", "symbol", "S")
			want := append([]string{"new"}, c.want...)
			for _, plan := range want {
				writeHeat(t, rdb, plan)
			}
			awaitQuiet(t, rdb, earlyGroup, lateGroup)
			for point, seen := range observations(t, rdb, 400) {
				plans := make([]string, 0, len(seen))
				for plan := range seen {
					plans = append(plans, plan)
				}
				assert.ElementsMatch(t, want, plans, point)
			}
		})
	}
}

func TestSwitchedOff(t *testing.T) {
	t.Parallel()
	t.Run("both", func(t *testing.T) {
		t.Parallel()
		srv := redistest.Start(t)
		rdb := srv.Client()
		publish(t, rdb, "plan_id", "p", "symbol", "S")
		told := make(chan string, 100)
		manager := &app.Supervisor{Notify: func(states string) error { told <- states; return nil }}
		o := run(t, load(t, srv, settings{"P28_HEAT_OBS_ENABLED": "off"}), app.Options{Supervisor: manager})
		o.awaitReady()
		assert.Equal(t, "READY=1\nSTATUS=observing is switched off by P28_HEAT_OBS_ENABLED: nothing is read", <-told)
		assert.Contains(t, o.logs.String(), "P28_HEAT_OBS_ENABLED")
		assert.Len(t, contractSeries(o.metrics()), 15)
		assert.Empty(t, rdb.XInfoGroups(t.Context(), planStream).Val(), "nothing is read")
		require.NoError(t, o.stop())
	})
	t.Run("late", func(t *testing.T) {
		t.Parallel()
		srv := redistest.Start(t)
		rdb := srv.Client()
		o := start(t, srv, settings{"P28_LATE_OBS_ENABLED": "0"})
		publish(t, rdb, "plan_id", "p", "symbol", "S")
		assert.Equal(t, "missing", observe(t, rdb, earlyPoint, "p").reason())
		o.awaitReady()
		groups := rdb.XInfoGroups(t.Context(), planStream).Val()
		require.Len(t, groups, 1)
		assert.Equal(t, earlyGroup, groups[0].Name)
		require.NoError(t, o.stop())
		assert.Equal(t, int64(1), rdb.XLen(t.Context(), observedStream).Val())
	})
}

func TestConfigErrors(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	t.Run("a taken port", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, taken.Close()) }()
		cfg := load(t, srv, settings{"P28_HTTP_ADDR": taken.Addr().String()})
		err = app.Run(t.Context(), cfg, app.Options{Logger: slog.New(slog.DiscardHandler)})
		var wrong *app.ConfigError
		require.ErrorAs(t, err, &wrong)
		assert.ErrorContains(t, err, "P28_HTTP_ADDR")
		assert.ErrorContains(t, err, taken.Addr().String())
	})
	t.Run("an address of another machine", func(t *testing.T) {
		cfg := load(t, srv, settings{"P28_HTTP_ADDR": "192.0.2.1:8043"})
		err := app.Run(t.Context(), cfg, app.Options{Logger: slog.New(slog.DiscardHandler)})
		var wrong *app.ConfigError
		require.ErrorAs(t, err, &wrong)
		assert.ErrorContains(t, err, "P28_HTTP_ADDR")
	})
}

// begun is just after the moment that the consumer name holds.
var begun = time.Now()

// TestConsumerIsThisProcess: the consumer name tells this process from any other: on another host, beside it, and before it
// with the same process ID, as in a container that is started again.
func TestConsumerIsThisProcess(t *testing.T) {
	t.Parallel()
	for want, own := range map[string]settings{"test": nil, "a-name-of-ours": {"P28_CONSUMER": "a-name-of-ours"}} {
		srv := redistest.Start(t)
		start(t, srv, own)
		for _, group := range []string{earlyGroup, lateGroup} {
			var name string
			eventually(t, "a consumer", func() error {
				consumers, err := srv.Client().XInfoConsumers(t.Context(), planStream, group).Result()
				if err != nil || len(consumers) != 1 {
					return fmt.Errorf("%v, %w", consumers, err)
				}
				name = consumers[0].Name
				return nil
			})
			started, of := strings.CutPrefix(name, fmt.Sprintf("%s-%d-", want, os.Getpid()))
			require.True(t, of, name)
			ms, err := strconv.ParseInt(started, 36, 64)
			require.NoError(t, err, name)
			assert.WithinRange(t, time.UnixMilli(ms), begun.Add(-time.Minute), begun, name)
		}
	}
}

// TestPlanStreamIsNoStream: what no waiting can mend ends the run with its cause, and leaves nothing behind.
func TestPlanStreamIsNoStream(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	require.NoError(t, srv.Client().Set(t.Context(), planStream, "x", 0).Err())
	o := launch(t, load(t, srv), app.Options{})
	assert.ErrorContains(t, o.wait(), "WRONGTYPE")
}

// TestDeadHandlerEndsTheRun: a subscription that ends though nobody asked it to must not leave a process that looks alive.
func TestDeadHandlerEndsTheRun(t *testing.T) {
	t.Parallel()
	for _, handlers := range []struct {
		dies, late string
	}{{"early", "on"}, {"late", "on"}, {"early", "off"}} {
		t.Run(fmt.Sprintf("%s, late %s", handlers.dies, handlers.late), func(t *testing.T) {
			srv := redistest.Start(t)
			rdb := srv.Client()
			opts, end := app.WithEnd(app.Options{}, handlers.dies)
			o := run(t, load(t, srv, settings{"P28_LATE_OBS_ENABLED": handlers.late}), opts)
			publish(t, rdb, "plan_id", "p", "symbol", "S")
			observe(t, rdb, earlyPoint, "p")
			require.NoError(t, end())
			err := o.wait()
			require.Error(t, err)
			assert.NotErrorIs(t, err, context.Canceled)
			assert.ErrorContains(t, err, "nobody asked it to")
		})
	}
}
