package main

import (
	"container/heap"
	"fmt"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/pipeline"
	"heatobserver/replay"
)

// madeHistory is a history out of a seed: plans with all their fields at an even pace, and their decisions after the delay
// of production, 1 % of them never. It is made anew each time and never held.
type madeHistory struct {
	plans   int
	perSec  int
	seed    uint64
	entries [len(replay.Kinds)]int64 // that were made
}

// historyBegin is when every history begins: a fixed moment, so that the same seed gives the same bytes.
const historyBegin = 1_700_000_000_000

// historyStreams are the names of its streams.
var historyStreams = [len(replay.Kinds)]string{planStream, "quantum:stream:harvest.heat.decision", observedStream}

// at is when a plan is published.
func (h *madeHistory) at(plan int) int64 { return historyBegin + int64(plan)*1000/int64(h.perSec) }

// judged is the range of the plans whose wait has ended within the history, so that a live Redis, whose history goes on
// until now, and an archive say the same.
func (h *madeHistory) judged() replay.Range {
	return replay.Range{To: entry.ID{Ms: uint64(h.at(h.plans) - 10_000)}}
}

// make hands over the entries of both streams, each in the order of its IDs. The fields hold until the next call of add.
func (h *madeHistory) make(add func(replay.Kind, entry.ID, entry.Fields) error) error {
	delay, err := pipeline.ParseDelay(pipeline.Production)
	if err != nil {
		return err
	}
	h.entries = [len(replay.Kinds)]int64{}
	var last [len(replay.Kinds)]entry.ID
	put := func(kind replay.Kind, ms int64, fields entry.Fields) error {
		id := entry.ID{Ms: uint64(ms)}
		if last[kind].Ms == id.Ms {
			id.Seq = last[kind].Seq + 1
		}
		last[kind] = id
		h.entries[kind]++
		return add(kind, id, fields)
	}
	var due decisionsDue
	decide := func(until int64) error {
		for len(due) > 0 && due[0].at <= until {
			d := heap.Pop(&due).(dueDecision)
			made := pipeline.Decide(h.seed, d.plan, d.action, time.UnixMilli(d.at))
			if err := put(replay.Decisions, d.at, made.Fields()); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range h.plans {
		at := h.at(i)
		if err := decide(at); err != nil {
			return err
		}
		pairs := pipeline.PlanPairs(h.seed, uint64(i), time.UnixMilli(at))
		if err := put(replay.Plans, at, entry.Make(pairs...)); err != nil {
			return err
		}
		if wait, ever := delay.For(h.seed, pairs[1]); ever {
			plan := event.Plan{ID: last[replay.Plans], PlanID: pairs[1], Symbol: pairs[3]}
			heap.Push(&due, dueDecision{at: at + wait.Milliseconds(), order: i, plan: plan, action: pairs[5]})
		}
	}
	return decide(historyBegin + int64(h.plans)*1000/int64(h.perSec) + time.Hour.Milliseconds())
}

// String is its size, as a table shows it.
func (h *madeHistory) String() string { return fmt.Sprintf("%d plans at %d/s", h.plans, h.perSec) }

// dueDecision is a decision that is still to come.
type dueDecision struct {
	at     int64
	order  int
	plan   event.Plan
	action string
}

// decisionsDue is a heap, the earliest first.
type decisionsDue []dueDecision

func (d decisionsDue) Len() int { return len(d) }
func (d decisionsDue) Less(i, j int) bool {
	return d[i].at < d[j].at || d[i].at == d[j].at && d[i].order < d[j].order
}
func (d decisionsDue) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *decisionsDue) Push(v any)   { *d = append(*d, v.(dueDecision)) }
func (d *decisionsDue) Pop() any {
	old := *d
	last := old[len(old)-1]
	*d = old[:len(old)-1]
	return last
}
