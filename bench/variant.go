package main

import (
	"fmt"
	"maps"
	"os"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
	"heatobserver/internal/redistest"
)

// variant is one way to observe the same plans.
type variant struct {
	Key  string
	Name string
	// share of the plans that it is given; a slow one would take minutes for all.
	share float64
	aof   bool
	// peer and workers start a peer, else processes of ours.
	peer      string
	workers   int
	processes int
	early     bool
	late      bool
	// started is told of the processes as soon as they observe; nil for nobody.
	started func(t *trial, processes []*child)
}

// The variants, in the order in which they run.
var variants = []variant{
	{Key: "a1", Name: "hand-written, slim script, 1 worker", share: 1, peer: "script", workers: 1, early: true},
	{Key: "a4", Name: "hand-written, slim script, 4 workers", share: 1, peer: "script", workers: 4, early: true},
	{Key: "u4", Name: "hand-written, the same without a fence", share: 1, peer: "unfenced", workers: 4, early: true},
	{Key: "b4", Name: "hand-written, plain pipelines, 4 workers", share: 1, peer: "pipelines", workers: 4, early: true},
	{Key: "c1", Name: "watermill-redisstream, 1 subscription", share: 0.08, peer: "stock", workers: 1, early: true},
	{Key: "c16", Name: "watermill-redisstream, 16 subscriptions", share: 0.2, peer: "stock", workers: 16, early: true},
	{Key: "d", Name: "us, early", share: 1, processes: 1, early: true},
	{Key: "e", Name: "us, late", share: 1, processes: 1, late: true},
	{Key: "f", Name: "us, early and late", share: 1, processes: 1, early: true, late: true},
	{Key: "ag", Name: "hand-written as a4, AOF everysec", share: 1, peer: "script", workers: 4, early: true, aof: true},
	{Key: "g", Name: "us, early, AOF everysec", share: 1, processes: 1, early: true, aof: true},
	{Key: "h2", Name: "us, early, 2 processes", share: 1, processes: 2, early: true},
	{Key: "h4", Name: "us, early, 4 processes", share: 1, processes: 4, early: true},
}

func (v variant) points() (points, groups []string) {
	if v.early {
		points, groups = append(points, event.Early.String()), append(groups, earlyGroup)
	}
	if v.late {
		points, groups = append(points, event.Late.String()), append(groups, lateGroup)
	}
	return points, groups
}

// start starts the processes of a variant on a server.
func (v variant) start(t *trial, binary string, server *redistest.Server, own settings) []*child {
	if v.peer != "" {
		self, err := os.Executable()
		t.check("find the program itself", err)
		return []*child{startChild(t, self, []string{"peer", "--redis", server.URL(), "--kind", v.peer, "--workers", strconv.Itoa(v.workers)}, nil)}
	}
	env := settings{
		"REDIS_URL":                 server.URL(),
		"P28_HEAT_LOOKUP_PREFIX":    heatPrefix,
		"P28_HTTP_ADDR":             "127.0.0.1:0",
		"P28_LOG_FORMAT":            "json",
		"P28_OBS_MAXLEN":            "0", // every observation is counted at the end, so none may be trimmed
		"P28_LATE_OBS_ENABLED":      strconv.FormatBool(v.late),
		"P28_LATE_OBS_MAX_INFLIGHT": "1024", // as early has it; what waits is not what is measured here
	}
	if profile := os.Getenv("BENCH_PPROF"); profile != "" {
		env["P28_PPROF"], env["P28_HTTP_ADDR"] = "true", profile
	}
	maps.Copy(env, own)
	var all []*child
	for range v.processes {
		all = append(all, startChild(t, binary, []string{"run"}, env))
	}
	return all
}

// result is one run of a variant.
type result struct {
	Variant   string   `json:"variant"`
	Round     int      `json:"round"`
	Plans     int      `json:"plans"`
	Seconds   float64  `json:"seconds"`      // from the first observation to the last, by the clock of Redis
	PerSecond float64  `json:"plans_per_s"`  // each plan counts once, also where two observe it
	ClientCPU float64  `json:"client_cpu_s"` // per 100,000 plans, all processes, from their start
	RedisCPU  float64  `json:"redis_cpu_s"`  // per 100,000 plans
	PeakRSS   float64  `json:"peak_rss_mb"`  // of the largest process
	Invalid   []string `json:"invalid,omitempty"`
}

// run measures a variant on a fresh copy of the data.
func (v variant) run(t *trial, binary string, data *dataset) result {
	return v.observe(t, binary, data, data.serve(t, v.aof), "0", nil)
}

// observe measures a variant on the plans behind an entry of the plan stream, which must be those of the data.
func (v variant) observe(t *trial, binary string, data *dataset, server *redistest.Server, from string, own settings) result {
	r := result{Variant: v.Key, Plans: data.plans}
	client := server.NewClient(func(o *redis.Options) { o.ReadTimeout = 30 * time.Second })
	points, groups := v.points()
	for _, group := range groups {
		t.check("create the group", client.XGroupCreate(t.ctx, planStream, group, from).Err())
	}
	if !v.early { // there is no switch for late alone: early finds everything read
		t.check("create the group", client.XGroupCreate(t.ctx, planStream, earlyGroup, "$").Err())
	}
	before, err := usageOf(server.PID())
	t.check("measure Redis", err)
	children := v.start(t, binary, server, own)
	if v.started != nil {
		v.started(t, children)
	}
	v.await(t, client, groups, data)
	after, err := usageOf(server.PID())
	t.check("measure Redis", err)
	per := 100_000 / float64(data.plans)
	r.RedisCPU = (after.cpu - before.cpu).Seconds() * per
	for _, c := range children {
		used, err := usageOf(c.pid())
		t.check("measure the client", err)
		r.ClientCPU += used.cpu.Seconds() * per
		m, err := memoryOf(c.pid())
		t.check("measure the client", err)
		r.PeakRSS = max(r.PeakRSS, m.peak)
	}
	tally := data.count(t, client, expectation{plans: data.plans, points: points, ordered: v.peer != "stock"})
	r.Invalid = tally.invalid()
	r.Seconds = tally.last.Time().Sub(tally.first.Time()).Seconds()
	r.PerSecond = float64(data.plans) / r.Seconds
	return r
}

// lastID is the ID of the newest plan.
func (t *trial) lastID(client *redis.Client) string {
	newest, err := client.XRevRangeN(t.ctx, planStream, "+", "-", 1).Result()
	t.check("find the newest plan", err)
	if len(newest) == 0 {
		t.Fatalf("the plan stream is empty")
	}
	return newest[0].ID
}

// await waits until the groups have read everything and nothing is pending.
func (v variant) await(t *trial, client *redis.Client, groups []string, data *dataset) {
	last := t.lastID(client)
	end := time.Now().Add(2 * time.Minute)
	for {
		infos, err := client.XInfoGroups(t.ctx, planStream).Result()
		t.check("look at the groups", err)
		done, state := 0, ""
		for _, info := range infos {
			for _, group := range groups {
				if info.Name != group {
					continue
				}
				state += fmt.Sprintf(" %s: up to %s of %s, %d pending", group, info.LastDeliveredID, last, info.Pending)
				if info.LastDeliveredID == last && info.Pending == 0 {
					done++
				}
			}
		}
		if done == len(groups) {
			return
		}
		if time.Now().After(end) || t.ctx.Err() != nil {
			t.Fatalf("not all of %d plans were observed in time:%s", data.plans, state)
		}
		pauseUntil(t.ctx, time.Now().Add(20*time.Millisecond))
	}
}
