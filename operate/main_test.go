package operate_test

import (
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/redistest"
	"heatobserver/operate"
)

func TestMain(m *testing.M) { redistest.VerifyTestMain(m) }

const (
	planStream     = "quantum:stream:apply.plan"
	observedStream = "quantum:stream:apply.heat.observed"
	deadStream     = "quantum:stream:apply.heat.dead"
	redriveStream  = "quantum:stream:apply.heat.redrive"
	totalsKey      = "quantum:p28:totals"
	earlyGroup     = "p28_early"
	lateGroup      = "p28_late"

	patience = 40 * time.Second
)

// world is a Redis with an operator.
type world struct {
	t      *testing.T
	server *redistest.Server
	rdb    *redis.Client
	cfg    config.Config
}

func newWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	server := redistest.Start(t)
	flags := map[string]string{
		"P28_HEAT_LOOKUP_PREFIX":   "quantum:harvest:heat:by_plan:",
		"REDIS_URL":                server.URL(),
		"P28_HTTP_ADDR":            "127.0.0.1:0",
		"P28_BLOCK_MS":             "50",
		"P28_LATE_OBS_MAX_WAIT_MS": "200", "P28_LATE_OBS_POLL_MS": "50",
		"P28_GROUP_START": "0",
	}
	for i := 0; i < len(settings); i += 2 {
		flags[settings[i]] = settings[i+1]
	}
	cfg, _, err := config.Load(config.Sources{Flags: flags, Hostname: "test"})
	require.NoError(t, err)
	return &world{t: t, server: server, rdb: server.Client(), cfg: cfg}
}

func (w *world) operate(do func(ctx context.Context, o *operate.Operator)) {
	w.t.Helper()
	err := app.Operate(w.t.Context(), w.cfg, func(o *operate.Operator) error {
		do(w.t.Context(), o)
		return nil
	})
	require.NoError(w.t, err)
}

// observe runs the observer until the test ends or stop is called.
func (w *world) observe() (stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, w.cfg, app.Options{
			Logger: slog.New(slog.DiscardHandler), Started: func(net.Addr) { close(started) },
		})
	}()
	over := false
	stop = func() {
		if over {
			return
		}
		over = true
		cancel()
		select {
		case err := <-ended:
			require.NoError(w.t, err)
		case <-time.After(patience):
			w.t.Error("the observer did not end")
		}
	}
	w.t.Cleanup(stop)
	select {
	case <-started:
	case err := <-ended:
		w.t.Fatalf("the observer ended before it began: %v", err)
	case <-time.After(patience):
		w.t.Fatal("the observer did not start")
	}
	return stop
}

func (w *world) add(stream string, pairs ...string) string {
	w.t.Helper()
	id, err := w.rdb.XAdd(w.t.Context(), &redis.XAddArgs{Stream: stream, Values: pairs}).Result()
	require.NoError(w.t, err)
	return id
}

func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	require.Eventually(w.t, ok, patience, 10*time.Millisecond, what)
}

func (w *world) len(stream string) int64 {
	w.t.Helper()
	n, err := w.rdb.XLen(w.t.Context(), stream).Result()
	require.NoError(w.t, err)
	return n
}

// observations are those of a plan, "obs_point heat_reason source_id".
func (w *world) observations(planID string) []string {
	w.t.Helper()
	all, err := w.rdb.XRange(w.t.Context(), observedStream, "-", "+").Result()
	require.NoError(w.t, err)
	var found []string
	for _, m := range all {
		if m.Values["plan_id"] != planID {
			continue
		}
		debug := m.Values["debug_json"].(string)
		_, rest, _ := strings.Cut(debug, `"source_id":"`)
		source, _, _ := strings.Cut(rest, `"`)
		found = append(found, m.Values["obs_point"].(string)+" "+m.Values["heat_reason"].(string)+" "+source)
	}
	return found
}

// idle reports whether both groups have read and acknowledged everything, redriven entries too.
func (w *world) idle() bool {
	for _, stream := range []string{planStream, redriveStream} {
		groups, err := w.rdb.XInfoGroups(w.t.Context(), stream).Result()
		if err != nil || len(groups) != 2 {
			return false
		}
		info, err := w.rdb.XInfoStream(w.t.Context(), stream).Result()
		require.NoError(w.t, err)
		for _, g := range groups {
			if g.Pending > 0 || g.LastDeliveredID != info.LastGeneratedID {
				return false
			}
		}
	}
	return true
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }
