package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/web"
)

// events follows a stream of events until stop; the channel is closed when it ends.
func events(s *site, path string) (next func() (name, data string), stop func()) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, http.NoBody)
	require.NoError(s.t, err)
	resp, err := s.client.Do(req) //nolint:bodyclose // stop closes it
	require.NoError(s.t, err)
	require.Equal(s.t, http.StatusOK, resp.StatusCode)
	require.Equal(s.t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	next = func() (name, data string) {
		for lines.Scan() {
			line := lines.Text()
			if v, ok := strings.CutPrefix(line, "event: "); ok {
				name = v
			}
			if v, ok := strings.CutPrefix(line, "data: "); ok {
				return name, v
			}
		}
		return "", ""
	}
	return next, func() { cancel(); _ = resp.Body.Close() }
}

// hasRoom asks for a stream of events and leaves it at once.
func hasRoom(s *site) bool {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/api/v1/events", http.NoBody)
	require.NoError(s.t, err)
	resp, err := s.client.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func TestEventsTellWhatIsNew(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	history(s, s.now())
	next, stop := events(s, "/api/v1/events")
	defer stop()
	seen := map[string]bool{}
	for !seen["summary"] || !seen["flow"] || !seen["workers"] {
		name, data := next()
		require.NotEmpty(t, name, "the stream has ended")
		require.True(t, json.Valid([]byte(data)))
		require.NotEqual(t, "observations", name, "what was there already is not new")
		seen[name] = true
	}
	// It outlives the time that the server has for reading a request (300 ms here).
	for began := time.Now(); time.Since(began) < time.Second; {
		name, _ := next()
		require.NotEmpty(t, name, "the stream has ended")
	}
	var all []observed
	for i := range 60 {
		all = append(all, observed{at: s.now(), plan: fmt.Sprint("new", i), point: latePoint, reason: "ok"})
	}
	s.observe(all...)
	told := 0
	for told < 60 {
		name, data := next()
		require.NotEmpty(t, name, "the stream has ended")
		if name != "observations" {
			continue
		}
		var fresh web.NewObservations
		require.NoError(t, json.Unmarshal([]byte(data), &fresh))
		require.LessOrEqual(t, len(fresh.Observations), 50)
		told += len(fresh.Observations) + fresh.More
	}
	require.Equal(t, 60, told)
}

func TestEventsHaveRoomForSome(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t), func(o *web.Options) { o.MaxClients = 3 })
	var stops []func()
	for range 3 {
		_, stop := events(s, "/api/v1/events")
		stops = append(stops, stop)
	}
	status, header, _ := s.ask("/api/v1/events")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.NotEmpty(t, header.Get("Retry-After"))
	for _, stop := range stops {
		stop()
	}
	require.Eventually(t, func() bool { // the server notices that they have gone
		return hasRoom(s)
	}, patience, 10*time.Millisecond)
}

// TestEventsDropWhoDoesNotRead opens a connection and reads nothing: the only place frees itself.
func TestEventsDropWhoDoesNotRead(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t), func(o *web.Options) {
		o.MaxClients, o.WriteTimeout, o.Every = 1, 100*time.Millisecond, time.Millisecond
	})
	history(s, s.now())
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.(*net.TCPConn).SetReadBuffer(1))
	_, err = io.WriteString(conn, "GET /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		status, _, _ := s.ask("/api/v1/events?every=61")
		require.Equal(t, http.StatusBadRequest, status)
		return hasRoom(s)
	}, patience, 20*time.Millisecond)
}

func TestEventsEndWithThePage(t *testing.T) {
	t.Parallel()
	s := newSite(t, redistest.Start(t))
	next, stop := events(s, "/api/v1/events")
	defer stop()
	name, _ := next()
	require.NotEmpty(t, name)
	s.end()
	for name != "" { // what was under way
		name, _ = next()
	}
}

// TestNobodyLooks finds that Redis is left alone when nobody has asked for a while.
func TestNobodyLooks(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits until the page takes nobody to be looking")
	}
	s := newSite(t, redistest.Start(t))
	get[web.Summary](s, "summary")
	commands := func() string {
		stats, err := s.rdb.Info(t.Context(), "commandstats").Result()
		require.NoError(t, err)
		for line := range strings.Lines(stats) {
			if strings.HasPrefix(line, "cmdstat_time:") {
				return line
			}
		}
		return ""
	}
	require.Eventually(t, func() bool {
		before := commands()
		time.Sleep(500 * time.Millisecond) // ten rounds
		return before == commands()
	}, patience, time.Millisecond)
	history(s, s.now())
	require.Equal(t, 8, get[web.Summary](s, "summary").Late.Observations, "whoever comes again gets what is")
}

func TestPageSurvivesAnOutage(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	client := server.NewClient(func(o *redis.Options) { o.Addr, o.ContextTimeoutEnabled = proxy.Addr(), true })
	s := newSiteThrough(t, server, client, func(o *web.Options) { o.PollTimeout = 500 * time.Millisecond })
	history(s, s.now())
	require.True(t, get[web.Summary](s, "summary").Redis.Reachable)
	for _, outage := range []struct{ begin, end func() }{
		{func() { proxy.Refuse(true); proxy.Cut() }, func() { proxy.Refuse(false) }},
		{func() { proxy.Blackhole(true) }, func() { proxy.Blackhole(false) }},
	} {
		outage.begin()
		away := eventually(s, "summary", func(v web.Summary) bool { return !v.Redis.Reachable })
		require.Equal(t, "unknown", away.Verdict.State)
		require.Contains(t, away.Verdict.Text, "Redis cannot be read")
		require.NotEmpty(t, away.Redis.Error)
		require.Equal(t, 8, away.Late.Observations, "what was read last is still shown")
		require.Equal(t, 15, get[web.Observations](s, "observations").Matching)
		status, _, _ := s.ask("/")
		require.Equal(t, 200, status)
		outage.end()
		eventually(s, "summary", func(v web.Summary) bool { return v.Redis.Reachable })
	}
	s.do("FLUSHALL")
	eventually(s, "summary", func(v web.Summary) bool { return v.Late.Observations == 0 && v.History.First == nil })
}
