package main

import (
	"fmt"
	"time"
)

// idle is what the observer costs while no plan comes.
type idle struct {
	Scheme scheme             `json:"scheme"`
	CPU    map[string]float64 `json:"cpu_percent_of_a_core"`
	MB     float64            `json:"rss_mb"`
}

func runIdle(t *trial, binary string, s scheme, window time.Duration) idle {
	h := observe(t, binary, s, startServer(t))
	pauseUntil(t.ctx, time.Now().Add(5*time.Second))
	meter := startMeter(t, h.pids())
	pauseUntil(t.ctx, time.Now().Add(window))
	m, err := memoryOf(h.child.pid())
	t.check("measure the observer", err)
	return idle{Scheme: s, CPU: meter.cpu(), MB: m.now}
}

// backlog is plans that were all past their deadline when the observer came, as after an outage of the observer.
type backlog struct {
	Plans         int      `json:"plans"`
	InFlight      int      `json:"in_flight"`
	Seconds       float64  `json:"seconds"` // from the first to the last late observation
	PerSecond     float64  `json:"plans_per_s"`
	AfterDeadline int      `json:"late_after_deadline"`
	Missing       int      `json:"late_missing"`
	Warned        bool     `json:"warned_saturated"`
	Invalid       []string `json:"invalid,omitempty"`
}

// runBacklog writes plans, and heat for four fifths of them, and starts the observer after their deadlines.
func runBacklog(t *trial, binary string, plans int) backlog {
	const wait = 500 * time.Millisecond
	l := newLoad(20_000, plans, mostly(0.8, fixed(0)))
	server := startServer(t)
	l.run(t, server.Addr())
	pauseUntil(t.ctx, time.Now().Add(2*wait))

	tail := startTail(t.ctx, server.NewClient(nil), l)
	t.Cleanup(func() { _ = tail.end() })
	h := observe(t, binary, us, server, maxWait(wait), settings{"P28_GROUP_START": "0"})
	b := backlog{Plans: plans, InFlight: loneInFlight}
	for limit := time.Now().Add(2 * time.Minute); tail.saw.Load() < 2*int64(plans) && time.Now().Before(limit) && t.ctx.Err() == nil; {
		pauseUntil(t.ctx, time.Now().Add(20*time.Millisecond))
	}
	t.check("read the observed stream", tail.end())
	f := flow{flowCase: flowCase{Scheme: us}, Plans: plans}
	f.count(l, tail)
	b.AfterDeadline, b.Missing, b.Invalid = f.AfterDeadline, f.Missing, f.Invalid
	if f.AfterDeadline+f.Missing != plans {
		b.Invalid = append(b.Invalid, fmt.Sprintf("%d observations are neither after_deadline nor missing", plans-f.AfterDeadline-f.Missing))
	}
	first, last := time.Duration(1<<62), time.Duration(0)
	for _, s := range tail.late {
		first, last = min(first, s.at), max(last, s.at)
	}
	b.Seconds = (last - first).Seconds()
	b.PerSecond = float64(plans) / b.Seconds
	b.Warned = warnedSaturated(h.child)
	return b
}
