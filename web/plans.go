package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"heatobserver/entry"
	"heatobserver/operate"
)

// readTimeout bounds what is read for one request.
const readTimeout = 10 * time.Second

// Plan is the timeline of one plan.
type Plan struct {
	PlanID string               `json:"plan_id"`
	Found  bool                 `json:"found"`
	Events []operate.TraceEvent `json:"events"`
	Notes  []string             `json:"notes"`
}

func (p *Page) plan(w http.ResponseWriter, r *http.Request) {
	// Not a part of the path: browsers and servers take ".." and "a/../b" away there, even percent-encoded.
	q := params{values: r.URL.Query()}
	planID := q.values.Get("plan_id")
	if !usable(planID) {
		q.say("plan_id has to be 1 to 200 bytes of UTF-8 without control characters")
	}
	if q.refuse(w, "plan_id") {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	if !p.traces.enter(ctx) {
		p.unavailable(w, r, context.Cause(ctx))
		return
	}
	defer p.traces.leave()
	trace, err := p.opts.Source.Trace(ctx, planID, time.Time{})
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	writeJSON(w, Plan{PlanID: planID, Found: trace.Found, Events: trace.Events, Notes: orEmpty(trace.Notes)})
}

// usable reports whether a plan ID may become part of a key: the rule of the wire contract.
func usable(planID string) bool {
	return planID != "" && len(planID) <= 200 && utf8.ValidString(planID) && !strings.ContainsFunc(planID, unicode.IsControl)
}

const (
	lettersMost = 200  // dead letters that are looked at
	rawMost     = 4096 // bytes of the raw fields in a list
)

// DeadLetters are the newest.
type DeadLetters struct {
	Time        time.Time    `json:"time"`
	Total       int64        `json:"total"`
	DeadLetters []DeadLetter `json:"dead_letters"`
}

// DeadLetter is one entry that a group gave up.
type DeadLetter struct {
	ID         string          `json:"id"`
	Time       time.Time       `json:"time"`
	Reason     string          `json:"reason"`
	Error      string          `json:"error"`
	Stream     string          `json:"stream"`
	Group      string          `json:"group"`
	EntryID    string          `json:"entry_id"`
	Failures   int64           `json:"failures"`
	Raw        json.RawMessage `json:"raw"`
	RawBytes   int             `json:"raw_bytes"`
	Redrivable bool            `json:"redrivable"`
	Refused    string          `json:"refused"`
}

// deadLetter is one with its raw fields, unless they are longer than most.
func deadLetter(d operate.DeadLetter, most int) DeadLetter {
	out := DeadLetter{
		ID: d.ID, Time: d.Time, Reason: clip(d.Reason, textMost), Error: clip(d.Error, rawMost), Stream: clip(d.Stream, 2*textMost),
		Group: clip(d.Group, 2*textMost), EntryID: clip(d.EntryID, textMost), Failures: d.Failures, Raw: d.Raw, RawBytes: len(d.Raw),
		Redrivable: d.Refused == "", Refused: clip(d.Refused, rawMost),
	}
	if len(d.Raw) > most {
		out.Raw = nil
	}
	return out
}

func (p *Page) deadLetters(w http.ResponseWriter, r *http.Request) {
	q := params{values: r.URL.Query()}
	limit := q.number("limit", 50, 1, 100)
	reason, group := q.text("reason", 40), q.text("group", 512)
	if q.refuse(w, "limit", "reason", "group") {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	if !p.letters.enter(ctx) {
		p.unavailable(w, r, context.Cause(ctx))
		return
	}
	defer p.letters.leave()
	most := lettersMost
	if reason == "" && group == "" {
		most = limit
	}
	list, total, err := p.opts.Source.List(ctx, operate.Filter{Limit: most})
	if err != nil {
		p.unavailable(w, r, err)
		return
	}
	out := DeadLetters{Time: time.Now().UTC(), Total: total, DeadLetters: []DeadLetter{}}
	if s, _ := p.current(); s != nil {
		out.Time = s.time
	}
	for _, d := range list {
		if (reason == "" || d.Reason == reason) && (group == "" || d.Group == group) && len(out.DeadLetters) < limit {
			out.DeadLetters = append(out.DeadLetters, deadLetter(d, rawMost))
		}
	}
	writeJSON(w, out)
}

func (p *Page) deadLetter(w http.ResponseWriter, r *http.Request) {
	q := params{values: r.URL.Query()}
	id, err := entry.ParseID(r.PathValue("id"))
	if err != nil || !strings.Contains(r.PathValue("id"), "-") {
		q.fault = "id has to be an entry ID"
	}
	stream := q.text("stream", 2*textMost)
	if q.refuse(w, "stream") {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	d, err := p.opts.Source.Show(ctx, id, stream)
	switch {
	case errors.Is(err, operate.ErrNotFound):
		problem(w, http.StatusNotFound, "There is no such dead letter, or no longer.")
	case err != nil:
		p.unavailable(w, r, err)
	default:
		writeJSON(w, deadLetter(d, 1<<20))
	}
}
