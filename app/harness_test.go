package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/logtest"
	"heatobserver/internal/redistest"
)

// The names of the wire contract that the tests read and write themselves.
const (
	planStream     = "quantum:stream:apply.plan"
	observedStream = "quantum:stream:apply.heat.observed"
	deadStream     = "quantum:stream:apply.heat.dead"
	redriveStream  = "quantum:stream:apply.heat.redrive"
	totalsKey      = "quantum:p28:totals"
	heatPrefix     = "quantum:harvest:heat:by_plan:"
	earlyGroup     = "p28_early"
	lateGroup      = "p28_late"
	earlyPoint     = "create_apply_plan"
	latePoint      = "publish_plan_post"
)

// patience is how long a test waits for what must come soon, on a machine that is busy.
const patience = 40 * time.Second

// settings are variables of the wire contract; those of several maps are joined, the last wins.
type settings map[string]string

func load(t testing.TB, srv *redistest.Server, own ...settings) config.Config {
	t.Helper()
	flags := settings{
		"P28_HEAT_LOOKUP_PREFIX": heatPrefix,
		"REDIS_URL":              srv.URL(),
		"P28_HTTP_ADDR":          "127.0.0.1:0",
		"P28_BLOCK_MS":           "50",
		"P28_OBS_MAXLEN":         "0",
	}
	for _, s := range own {
		maps.Copy(flags, s)
	}
	cfg, _, err := config.Load(config.Sources{Flags: flags, Hostname: "test"})
	require.NoError(t, err)
	return cfg
}

// observer is one run of the application.
type observer struct {
	t      testing.TB
	addr   string
	logs   *logtest.Log
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run, once ended is closed
}

// start runs the observer until the end of the test, or until stop. It returns when the handlers read.
func start(t testing.TB, srv *redistest.Server, own ...settings) *observer {
	t.Helper()
	return run(t, load(t, srv, own...), app.Options{})
}

func run(t testing.TB, cfg config.Config, opts app.Options) *observer {
	t.Helper()
	o := launch(t, cfg, opts)
	require.NotEmpty(t, o.addr, "the observer ended before it began: %v\n%s", o.err, o.logs)
	return o
}

// launch is run for an observer that may not come to reading.
func launch(t testing.TB, cfg config.Config, opts app.Options) *observer {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o := &observer{t: t, logs: &logtest.Log{}, cancel: cancel, ended: make(chan struct{})}
	started := make(chan net.Addr, 1)
	opts.Started = func(addr net.Addr) { started <- addr }
	opts.Logger = slog.New(slog.NewTextHandler(o.logs, &slog.HandlerOptions{Level: slog.LevelInfo}))
	go func() {
		defer close(o.ended)
		o.err = app.Run(ctx, cfg, opts)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-o.ended:
		case <-time.After(patience):
			t.Error("the observer did not end")
		}
		if t.Failed() {
			t.Logf("log of the observer:\n%s", o.logs)
		}
	})
	select {
	case addr := <-started:
		o.addr = addr.String()
	case <-o.ended:
	case <-time.After(patience):
		t.Fatalf("the observer did not start:\n%s", o.logs)
	}
	return o
}

// stop drains and returns the result of Run.
func (o *observer) stop() error {
	o.t.Helper()
	o.cancel()
	return o.wait()
}

// wait returns the result of Run when it ends by itself.
func (o *observer) wait() error {
	o.t.Helper()
	select {
	case <-o.ended:
	case <-time.After(patience):
		o.t.Fatal("the observer did not end")
	}
	return o.err
}

// httpClient keeps no connection, which would outlive the test.
var httpClient = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (o *observer) get(path string) (status int, body string, err error) {
	resp, err := httpClient.Get("http://" + o.addr + path)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// series are the metrics of a process: name and labels as they are exposed, and the value.
type series map[string]float64

func (o *observer) metrics() series {
	o.t.Helper()
	status, body, err := o.get("/metrics")
	require.NoError(o.t, err)
	require.Equal(o.t, http.StatusOK, status, body)
	all := series{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line = strings.TrimSpace(line)
		name, text, _ := cutLast(line, " ")
		value, err := strconv.ParseFloat(text, 64)
		require.NoError(o.t, err, line)
		all[name] = value
	}
	return all
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func observedSeries(point, found string) string {
	return fmt.Sprintf(`p28_observed_total{heat_found=%q,obs_point=%q}`, found, point)
}

func reasonSeries(point, reason string) string {
	return fmt.Sprintf(`p28_heat_reason_total{obs_point=%q,reason=%q}`, point, reason)
}

const droppedSeries = "p28_late_obs_dropped_total"

// health is an answer of /livez or /readyz.
type health struct {
	status int
	OK     bool     `json:"ok"`
	Wrong  []string `json:"wrong"`
}

func (o *observer) health(path string) (h health, err error) {
	status, body, err := o.get(path)
	if err != nil {
		return h, err
	}
	h.status = status
	err = json.Unmarshal([]byte(body), &h)
	return h, err
}

// awaitReady waits until /readyz says so.
func (o *observer) awaitReady() {
	o.t.Helper()
	eventually(o.t, "ready", func() error {
		h, err := o.health("/readyz")
		if err == nil && h.status != http.StatusOK {
			err = fmt.Errorf("not ready: %v", h.Wrong)
		}
		return err
	})
}

// eventually waits until check returns nil.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(5 * time.Millisecond) // the pace of asking; the condition decides
	}
}
