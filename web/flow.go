package web

import (
	"slices"
	"strings"
	"time"

	"heatobserver/event"
	"heatobserver/operate"
)

// Flow is the way of plans as nodes and edges.
type Flow struct {
	Time        time.Time `json:"time"`
	Redis       Redis     `json:"redis"`
	Nodes       []Node    `json:"nodes"`
	Edges       []Edge    `json:"edges"`
	DeadLetters int64     `json:"dead_letters"`
	Stuck       []string  `json:"stuck"`
}

// Node is a stream or an observer.
type Node struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Enabled bool     `json:"enabled"`
	Length  *int64   `json:"length"`
	PerSec  *float64 `json:"rate_per_sec"`
}

// Edge is what runs from one node to another.
type Edge struct {
	ID            string   `json:"id"`
	From          string   `json:"from"`
	To            string   `json:"to"`
	PerSec        *float64 `json:"rate_per_sec"`
	Lag           *int64   `json:"lag"`
	Behind        float64  `json:"behind_seconds"`
	Pending       int64    `json:"pending"`
	InFlight      int64    `json:"in_flight"`
	OldestPending float64  `json:"oldest_pending_seconds"`
	DeadLetters   int64    `json:"dead_letters"`
	Dropped       int64    `json:"dropped"`
	Trimmed       int64    `json:"trimmed"`
	Stuck         bool     `json:"stuck"`
	Why           []string `json:"why"`
}

func (s *snapshot) flow(o *Options) Flow {
	early, late := s.rate(event.Early), s.rate(event.Late)
	both := sum(early, late)
	plans, observed, dead := s.streams.Plans.Length, s.streams.Observed.Length, s.status.DeadLetters
	return Flow{
		Time: s.time, Redis: s.redis, DeadLetters: dead, Stuck: orEmpty(s.status.Stuck),
		Nodes: []Node{
			{ID: "plans", Name: o.Plans, Kind: "stream", Enabled: true, Length: &plans, PerSec: s.plans},
			{ID: "early", Name: o.Early.Group, Kind: "observer", Enabled: o.Early.Enabled, PerSec: early},
			{ID: "late", Name: o.Late.Group, Kind: "observer", Enabled: o.Late.Enabled, PerSec: late},
			{ID: "observed", Name: o.Observed, Kind: "stream", Enabled: true, Length: &observed, PerSec: both},
			{ID: "dead", Name: o.Dead, Kind: "stream", Enabled: true, Length: &dead},
		},
		Edges: []Edge{
			s.reading("early", o.Early.Group, early), s.reading("late", o.Late.Group, late),
			{ID: "early-observed", From: "early", To: "observed", PerSec: early, Why: []string{}},
			{ID: "late-observed", From: "late", To: "observed", PerSec: late, Why: []string{}},
		},
	}
}

// reading is the edge from the plans to an observer: its group on every stream that it reads.
func (s *snapshot) reading(to, group string, rate *float64) Edge {
	e := Edge{ID: "plans-" + to, From: "plans", To: to, PerSec: rate, Why: []string{}}
	var lag int64
	known, any := true, false
	for _, g := range s.status.Groups {
		if g.Group != group {
			continue
		}
		any = true
		if g.Lag == nil {
			known = false
		} else {
			lag += *g.Lag
		}
		e.Pending += g.Pending
		e.InFlight += g.InHand
		e.Behind = max(e.Behind, g.Behind)
		e.OldestPending = max(e.OldestPending, g.OldestPending)
	}
	if any && known {
		e.Lag = &lag
	}
	t := s.status.Totals[group]
	e.DeadLetters, e.Dropped, e.Trimmed = t.Dead, t.Dropped, t.Trimmed
	for _, why := range s.status.Stuck {
		if strings.HasPrefix(why, "group "+group+" of ") {
			e.Why = append(e.Why, why)
		}
	}
	e.Stuck = len(e.Why) > 0
	return e
}

// rate is how many observations of a point are written in a second; nil while nothing is held that long.
func (s *snapshot) rate(point event.Point) *float64 {
	if !s.redis.Reachable {
		return nil
	}
	lately := since(s.items, s.time.Add(-rateOver))
	n, all := 0, int64(0)
	for i := range lately {
		if i > 0 {
			all += lately[i].skipped
		}
		all++
		if !lately[i].bad && lately[i].obs.Point == point {
			n++
		}
	}
	perSec := 0.0
	if len(lately) > 0 {
		// What is held may begin within these seconds, because more is written than is held.
		seconds := rateOver.Seconds()
		if len(lately) == len(s.items) && len(lately) >= readPage {
			seconds = max(0.1, s.time.Sub(lately[0].id.Time()).Seconds())
		}
		perSec = float64(n) / float64(len(lately)) * float64(all) / seconds
	}
	return &perSec
}

func sum(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	c := *a + *b
	return &c
}

// Workers is the fleet.
type Workers struct {
	Time    time.Time `json:"time"`
	Redis   Redis     `json:"redis"`
	Total   int       `json:"total"`
	Workers []Worker  `json:"workers"`
}

// Worker is one process.
type Worker struct {
	Name    string        `json:"name"`
	State   string        `json:"state"`
	This    bool          `json:"this"`
	Version *string       `json:"version"`
	Started *time.Time    `json:"started"`
	Idle    *float64      `json:"idle_seconds"`
	Share   *float64      `json:"share"`
	PerSec  *float64      `json:"rate_per_sec"`
	Groups  []WorkerGroup `json:"groups"`
}

// WorkerGroup is a worker as a consumer of one group.
type WorkerGroup struct {
	Group   string  `json:"group"`
	Pending int64   `json:"pending"`
	Idle    float64 `json:"idle_seconds"`
}

const workersMost = 500

// The states of a worker.
const (
	alive    = "alive"
	draining = "draining"
	drained  = "drained"
	dead     = "dead"
)

func (s *snapshot) workers(o *Options) Workers {
	byName := map[string]*Worker{}
	lives := map[string]bool{}
	for _, g := range s.status.Groups {
		for _, c := range g.Consumers {
			w := byName[c.Name]
			if w == nil {
				w = &Worker{Name: c.Name, Groups: []WorkerGroup{}}
				byName[c.Name] = w
			}
			w.join(g, c)
			lives[c.Name] = lives[c.Name] || c.Alive
		}
	}
	out := Workers{Time: s.time, Redis: s.redis, Total: len(byName), Workers: []Worker{}}
	all := 0.0
	for name := range byName {
		if a, said := s.said[name]; said && lives[name] {
			all += a.PerSec
		}
	}
	for name, w := range byName {
		a, said := s.said[name]
		w.This = name == o.Consumer
		w.State = state(lives[name], a.State)
		if said {
			started := a.Started.UTC()
			w.Version, w.Started = ptr(clip(a.Version, textMost)), &started
		}
		switch {
		case !lives[name]:
			w.Share, w.PerSec = ptr(0.0), ptr(0.0)
		case said:
			w.PerSec = ptr(a.PerSec)
			if all > 0 {
				w.Share = ptr(a.PerSec / all)
			}
		}
		w.Name = clip(name, 2*textMost)
		out.Workers = append(out.Workers, *w)
	}
	slices.SortFunc(out.Workers, func(a, b Worker) int { return strings.Compare(a.Name, b.Name) })
	out.Workers = out.Workers[:min(len(out.Workers), workersMost)]
	return out
}

// join adds what a worker is in one group on one stream.
func (w *Worker) join(g operate.GroupStatus, c operate.ConsumerStatus) {
	c.Idle = max(0, c.Idle) // Redis has been seen to say -1 ms
	if w.Idle == nil || c.Idle < *w.Idle {
		w.Idle = ptr(c.Idle)
	}
	for i := range w.Groups { // the same group on another stream
		if w.Groups[i].Group == g.Group {
			w.Groups[i].Pending += c.Pending
			w.Groups[i].Idle = min(w.Groups[i].Idle, c.Idle)
			return
		}
	}
	w.Groups = append(w.Groups, WorkerGroup{g.Group, c.Pending, c.Idle})
}

// state is that of a worker that lives, or not, and has said of itself what it does.
func state(lives bool, said string) string {
	switch {
	case said == operate.WorkerDrained:
		return drained
	case !lives:
		return dead
	case said == operate.WorkerDraining:
		return draining
	}
	return alive
}

func ptr[T any](v T) *T { return &v }
