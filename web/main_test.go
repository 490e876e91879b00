package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/redistest"
	"heatobserver/operate"
	"heatobserver/replay"
	"heatobserver/web"
)

func TestMain(m *testing.M) { redistest.VerifyTestMain(m) }

// patience is how long a test waits for what must come soon, on a machine that is busy.
const patience = 30 * time.Second

const (
	planStream     = "quantum:stream:apply.plan"
	decisionStream = "quantum:stream:harvest.heat.decision"
	observedStream = "quantum:stream:apply.heat.observed"
	deadStream     = "quantum:stream:apply.heat.dead"
	earlyGroup     = "p28_early"
	lateGroup      = "p28_late"
	earlyPoint     = "create_apply_plan"
	latePoint      = "publish_plan_post"
	workerPrefix   = "quantum:p28:worker:"
	self           = "host-1-self"
)

// site is a page on a real server, and what the test itself writes and reads with.
type site struct {
	t   *testing.T
	rdb *redis.Client
	url string
	end func() // the page

	client *http.Client
}

// newSite serves a page of what stands in Redis.
func newSite(t *testing.T, server *redistest.Server, changes ...func(*web.Options)) *site {
	t.Helper()
	return newSiteThrough(t, server, server.NewClient(func(o *redis.Options) { o.ContextTimeoutEnabled = true }), changes...)
}

func newSiteThrough(t *testing.T, server *redistest.Server, client *redis.Client, changes ...func(*web.Options)) *site {
	t.Helper()
	opts := web.Options{
		Source: operate.New(client, operate.Setup{
			Parts: []config.Names{{
				Plan: planStream, Observed: observedStream, Dead: deadStream, Redrive: "quantum:stream:apply.heat.redrive",
				DedupePrefix: "quantum:dedupe:p28:", KeyPrefix: "quantum:p28:", RedriveKeyPrefix: "quantum:p28:",
			}},
			Groups:       []operate.Group{{Name: earlyGroup, Expected: true}, {Name: lateGroup, Expected: true}},
			WorkerPrefix: workerPrefix, DecisionStream: decisionStream, LookupPrefix: "quantum:harvest:heat:by_plan:",
			MaxWait: 2 * time.Second, MinIdle: 5 * time.Second, DedupeTTL: 10 * time.Minute,
		}),
		History: app.NewHistory(client, [...]string{
			replay.Plans: planStream, replay.Decisions: decisionStream, replay.Observations: observedStream,
		}),
		Settings: replay.Settings{
			MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond, Notify: true, DedupeTTL: 10 * time.Minute, MaxErrors: 2,
		},
		Early: web.Observer{Group: earlyGroup, Enabled: true}, Late: web.Observer{Group: lateGroup, Enabled: true},
		Plans: planStream, Observed: observedStream, Dead: deadStream, Version: "v1.2.3", Consumer: self,
		Every: 50 * time.Millisecond, CurveLifetime: time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	}
	for _, change := range changes {
		change(&opts)
	}
	page, err := web.New(opts)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		page.Run(ctx)
	}()
	listener := httptest.NewUnstartedServer(page)
	listener.Config.ReadTimeout = 300 * time.Millisecond // as in the application, a stream of events has to outlive it
	listener.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateNew {
			_ = c.(*net.TCPConn).SetWriteBuffer(4096) // who does not read is noticed soon
		}
	}
	listener.Start()
	s := &site{t: t, rdb: server.Client(), url: listener.URL, client: listener.Client()}
	s.end = func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(patience):
			t.Error("the page did not end")
		}
	}
	t.Cleanup(func() {
		s.end()
		listener.Close()
	})
	return s
}

// do sends a command to Redis.
func (s *site) do(args ...any) any {
	s.t.Helper()
	out, err := s.rdb.Do(s.t.Context(), args...).Result()
	require.NoError(s.t, err, args)
	return out
}

// ask asks for a path and returns the status and the body.
func (s *site) ask(path string) (int, http.Header, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, http.NoBody)
	require.NoError(s.t, err)
	resp, err := s.client.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	return resp.StatusCode, resp.Header, string(body)
}

// get reads the JSON of a path.
func get[T any](s *site, path string) (v T) {
	s.t.Helper()
	status, _, body := s.ask("/api/v1/" + path)
	require.Equal(s.t, http.StatusOK, status, "%s: %s", path, body)
	require.NoError(s.t, json.Unmarshal([]byte(body), &v), body)
	return v
}

// eventually asks until what it is told holds.
func eventually[T any](s *site, path string, holds func(T) bool) (v T) {
	s.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		if v = get[T](s, path); holds(v) {
			return v
		}
		if time.Now().After(deadline) {
			text, _ := json.Marshal(v)
			s.t.Fatalf("%s: still %s", path, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// observed is one observation to be written. The entry ID is at, its plan was published wait before.
type observed struct {
	at     time.Time
	plan   string
	point  string
	reason string
	wait   time.Duration
	after  bool // the deadline
	symbol string
}

func (s *site) observe(all ...observed) {
	s.t.Helper()
	pipe := s.rdb.Pipeline()
	for _, o := range all {
		found, debug := "0", fmt.Sprintf(`{"source_id":"%d-0","wait_ms":%d,"noticed":"sweep"`, o.at.Add(-o.wait).UnixMilli(), o.wait.Milliseconds())
		if o.reason == "ok" {
			found = "1"
		}
		if o.after {
			debug += `,"after_deadline":true`
		}
		symbol := o.symbol
		if symbol == "" {
			symbol = "BTCUSDT"
		}
		pipe.XAdd(s.t.Context(), &redis.XAddArgs{Stream: observedStream, ID: fmt.Sprintf("%d-*", o.at.UnixMilli()), Values: []string{
			"ts_epoch", fmt.Sprint(o.at.Unix()), "plan_id", o.plan, "symbol", symbol, "apply_component", "apply", "obs_point", o.point,
			"heat_found", found, "heat_ts_epoch", "1", "heat_level", "warm", "heat_score", "0.5", "heat_action", "NONE", "heat_out_action", "OUT",
			"heat_recommended_partial", "", "heat_reason", o.reason, "apply_decision", "EXECUTE", "debug_json", debug + "}",
		}})
	}
	_, err := pipe.Exec(s.t.Context())
	require.NoError(s.t, err)
}

// now is the time of the server.
func (s *site) now() time.Time {
	s.t.Helper()
	now, err := s.rdb.Time(s.t.Context()).Result()
	require.NoError(s.t, err)
	return now.Truncate(time.Millisecond)
}

// plan publishes a plan, with its heat as long after, negative for never.
func (s *site) plan(id string, at time.Time, heatAfter time.Duration) {
	s.t.Helper()
	s.do("XADD", planStream, fmt.Sprintf("%d-*", at.UnixMilli()), "plan_id", id, "symbol", "BTCUSDT", "decision", "EXECUTE")
	if heatAfter >= 0 {
		s.do("XADD", decisionStream, fmt.Sprintf("%d-*", at.Add(heatAfter).UnixMilli()), "ts_epoch", "1", "symbol", "BTCUSDT", "plan_id", id, "heat_level", "hot", "heat_score", "0.9")
	}
}
