package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// waitingCase is plans that all wait at once in one process, for heat that comes much later.
type waitingCase struct {
	Scheme scheme `json:"scheme"`
	Plans  int    `json:"plans"`
	// MinIdle is P28_CLAIM_MIN_IDLE_MS: what waits is refreshed at a third of it.
	MinIdle time.Duration `json:"min_idle_ns"`

	window time.Duration // of measuring
}

// waiting is what a case showed.
type waiting struct {
	waitingCase
	MB         float64            `json:"rss_mb"`           // while they wait
	PeakMB     float64            `json:"peak_rss_mb"`      // until all are observed
	EmptyMB    float64            `json:"rss_mb_before"`    // with no plan
	PerPlanKB  float64            `json:"kb_per_plan"`      // (MB - EmptyMB) ÷ plans
	EmptyRedis float64            `json:"redis_cpu_before"` // with no plan, percent of a core
	CPU        map[string]float64 `json:"cpu_percent_of_a_core"`
	// Interval is the time between two looks at one plan, in ms: looks in the window ÷ plans.
	Interval float64 `json:"look_interval_ms"`
	// Noticed is as in flow, with the heat written at 2000/s when all wait.
	Noticed spread   `json:"written_to_observation"`
	Invalid []string `json:"invalid,omitempty"`
}

// run measures one case.
func (c waitingCase) run(t *trial, binary string) waiting {
	const writeRate, heatRate = 20_000, 2_000
	l := newLoad(heatRate, c.Plans, fixed(0))
	h := observe(t, binary, c.Scheme, startServer(t), inFlight(c.Plans), maxWait(10*time.Minute), minIdle(c.MinIdle))
	w := waiting{waitingCase: c}
	w.settle(t)
	before := w.memory(t, h)
	w.EmptyMB = before.now
	idle := startMeter(t, h.pids())
	pauseUntil(t.ctx, time.Now().Add(c.window/2))
	w.EmptyRedis = idle.cpu()["redis"]

	plansOnly := newLoad(writeRate, c.Plans, func(*rand.Rand) time.Duration { return never })
	plansOnly.run(t, h.server.Addr())
	t.await(fmt.Sprintf("%d plans wait", c.Plans), func() bool { return h.child.series("heat_observer_waiting_plans") == float64(c.Plans) })
	w.settle(t)

	looks := w.looks(t, h)
	meter := startMeter(t, h.pids())
	start := time.Now()
	pauseUntil(t.ctx, start.Add(c.window))
	w.CPU = meter.cpu()
	took := time.Since(start)
	if n := w.looks(t, h) - looks; n > 0 {
		w.Interval = millis(took) / (n / float64(c.Plans))
	}
	w.MB = w.memory(t, h).now
	w.PerPlanKB = (w.MB - w.EmptyMB) * 1000 / float64(c.Plans)
	w.resolve(t, h, l)
	w.PeakMB = w.memory(t, h).peak
	return w
}

// settle lets start-up and its garbage pass.
func (waiting) settle(t *trial) { pauseUntil(t.ctx, time.Now().Add(5*time.Second)) }

func (waiting) memory(t *trial, h *house) memory {
	m, err := memoryOf(h.child.pid())
	t.check("measure the observer", err)
	return m
}

func (waiting) looks(t *trial, h *house) float64 {
	all, err := h.child.scrape()
	t.check("read the metrics", err)
	sum := 0.0
	for _, result := range []string{"found", "absent", "failed"} {
		sum += all[`heat_observer_lookups_total{result="`+result+`"}`]
	}
	return sum
}

// resolve writes the heat of all and sees to it that each is observed exactly once.
func (w *waiting) resolve(t *trial, h *house, l *load) {
	tail := startTail(t.ctx, h.newClient(), l)
	t.Cleanup(func() { _ = tail.end() })
	_, err := l.writeHeat(t.ctx, dialWire(t, h.server.Addr()), time.Now())
	t.check("write the heat", err)
	limit := time.Now().Add(time.Minute)
	for tail.saw.Load() < 2*int64(w.Plans) && time.Now().Before(limit) && t.ctx.Err() == nil {
		pauseUntil(t.ctx, time.Now().Add(20*time.Millisecond))
	}
	t.check("read the observed stream", tail.end())
	f := flow{flowCase: flowCase{Scheme: w.Scheme}, Plans: w.Plans}
	f.count(l, tail)
	w.Noticed, w.Invalid = f.Noticed, f.Invalid
	if f.Coverage != 100 {
		w.Invalid = append(w.Invalid, fmt.Sprintf("%.2f %% found", f.Coverage))
	}
}
