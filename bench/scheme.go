package main

import (
	"encoding/json"
	"maps"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
)

// scheme is a way to observe that is compared with the others.
type scheme string

// The schemes.
const (
	us           scheme = "us"
	polling      scheme = "us, polling"
	pythonScheme scheme = "python-like"
)

// loneInFlight is what the report's observer, and ours by default, has in flight.
const loneInFlight = 200

// settings are variables of the wire contract beside those that every run needs.
type settings map[string]string

func inFlight(n int) settings { return settings{"P28_LATE_OBS_MAX_INFLIGHT": strconv.Itoa(n)} }

// maxWait is the allowed wait; what is remembered of a plan must live longer.
func maxWait(d time.Duration) settings {
	return settings{"P28_LATE_OBS_MAX_WAIT_MS": strconv.FormatInt(d.Milliseconds(), 10), "P28_DEDUPE_TTL_SEC": "3600"}
}

func minIdle(d time.Duration) settings {
	return settings{"P28_CLAIM_MIN_IDLE_MS": strconv.FormatInt(d.Milliseconds(), 10)}
}

// house is a redis-server with one scheme at work on it.
type house struct {
	scheme scheme
	server *redistest.Server
	child  *child
}

// startServer starts a redis-server as they are deployed, without persistence.
func startServer(t *trial) *redistest.Server { return redistest.Start(t) }

// observe starts the scheme on a server.
func observe(t *trial, binary string, s scheme, server *redistest.Server, own ...settings) *house {
	h := &house{scheme: s, server: server}
	if s == pythonScheme {
		self, err := os.Executable()
		t.check("find the program itself", err)
		h.child = startChild(t, self, []string{"python", "--redis", server.URL()}, nil)
		return h
	}
	env := settings{
		"REDIS_URL":              server.URL(),
		"P28_HEAT_LOOKUP_PREFIX": heatPrefix,
		"P28_HTTP_ADDR":          "127.0.0.1:0",
		"P28_LOG_FORMAT":         "json",
		"P28_OBS_MAXLEN":         "0", // nothing may be trimmed before it is counted here
	}
	if s == polling {
		env["P28_LATE_OBS_NOTIFY"] = "off"
	}
	for _, o := range own {
		maps.Copy(env, o)
	}
	h.child = startChild(t, binary, []string{"run"}, env)
	if s == us {
		t.await("writes of heat are announced", func() bool { return h.child.series("heat_observer_notifications_healthy") == 1 })
	}
	return h
}

// pids are the processes to measure.
func (h *house) pids() map[string]int {
	return map[string]int{"observer": h.child.pid(), "redis": h.server.PID(), "bench": os.Getpid()}
}

// dropped is how many plans the scheme gave up, as it says itself. The Python-like one has to be stopped for it.
func (h *house) dropped(t *trial) int {
	if h.scheme != pythonScheme {
		return int(h.child.series("p28_late_obs_dropped_total"))
	}
	var counts pythonCounts
	t.check("read what was dropped", json.Unmarshal([]byte(h.child.output()), &counts))
	if counts.Failed > 0 {
		t.Errorf("%d lookups or writes failed", counts.Failed)
	}
	return int(counts.Dropped)
}

// newClient is a client of the bench itself.
func (h *house) newClient() *redis.Client {
	return h.server.NewClient(func(o *redis.Options) { o.ReadTimeout = 10 * time.Second })
}
