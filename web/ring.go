package web

import (
	"sort"
	"strings"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/operate"
)

const (
	ringMost  = 12_000 // observations that are held
	readPage  = 500    // entries of one command
	readBurst = 2000   // new entries of one round that are all read
	textMost  = 256    // bytes of one value that are held
)

// item is one entry of the observed stream as it is held.
type item struct {
	id      entry.ID
	obs     event.Observation
	bad     bool  // it is no observation
	skipped int64 // entries before it that were not read
}

// ring holds the newest observations, the oldest first. What it has handed out is never changed: it is appended to and
// cut at the front.
type ring struct{ items []item }

// view is what the ring holds now, for good.
func (r *ring) view() []item { return r.items[:len(r.items):len(r.items)] }

func (r *ring) last() entry.ID {
	if len(r.items) == 0 {
		return entry.ID{}
	}
	return r.items[len(r.items)-1].id
}

// add appends what was read, the newest first, behind a gap of so many entries.
func (r *ring) add(read []operate.Observed, skipped int64) {
	for i := len(read) - 1; i >= 0; i-- {
		it := item{id: read[i].ID, bad: read[i].Err != nil, skipped: skipped}
		skipped = 0
		if !it.bad {
			it.obs = held(read[i].Observation)
		}
		r.items = append(r.items, it)
	}
	if over := len(r.items) - ringMost; over > 0 {
		r.cut(over)
	}
}

// trim drops what the stream no longer has.
func (r *ring) trim(first entry.ID) {
	r.cut(sort.Search(len(r.items), func(i int) bool { return r.items[i].id.Compare(first) >= 0 }))
}

// cut drops the oldest. The array behind is left to the views that were handed out, and with the next growth to nobody.
func (r *ring) cut(n int) { r.items = r.items[n:] }

// held is an observation whose texts are bounded and keep no reply alive.
func held(o event.Observation) event.Observation {
	for _, s := range []*string{
		&o.PlanID, &o.Symbol, &o.Decision, &o.Error, &o.Heat.TsEpoch, &o.Heat.Level, &o.Heat.Score, &o.Heat.Action,
		&o.Heat.OutAction, &o.Heat.RecommendedPartial, &o.Heat.InAction, &o.Heat.Mode,
	} {
		*s = clip(*s, textMost)
	}
	return o
}

// clip is a copy of s of at most so many bytes, marked where it was cut.
func clip(s string, most int) string {
	if len(s) <= most {
		return strings.Clone(s)
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// since are the items that were observed at or after a moment.
func since(items []item, t time.Time) []item {
	from := entry.IDAt(t)
	return items[sort.Search(len(items), func(i int) bool { return items[i].id.Compare(from) >= 0 }):]
}

// after are the items behind an ID.
func after(items []item, id entry.ID) []item {
	return items[sort.Search(len(items), func(i int) bool { return items[i].id.Compare(id) > 0 }):]
}

// History says which observations numbers are of.
type History struct {
	First        *time.Time `json:"first"`
	Last         *time.Time `json:"last"`
	Observations int        `json:"observations"`
	Skipped      int64      `json:"skipped"`
	Unreadable   int        `json:"unreadable"`
}

func historyOf(items []item) History {
	h := History{}
	if len(items) > 0 {
		first, last := items[0].id.Time().UTC(), items[len(items)-1].id.Time().UTC()
		h.First, h.Last = &first, &last
	}
	for i := range items {
		if i > 0 { // what is before the first is not missed
			h.Skipped += items[i].skipped
		}
		if items[i].bad {
			h.Unreadable++
		} else {
			h.Observations++
		}
	}
	return h
}
