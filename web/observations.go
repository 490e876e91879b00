package web

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
)

// Observation is one observation as JSON.
type Observation struct {
	ID            string    `json:"id"`
	Time          time.Time `json:"time"`
	PlanID        string    `json:"plan_id"`
	Symbol        string    `json:"symbol"`
	Point         string    `json:"obs_point"`
	Found         bool      `json:"heat_found"`
	Reason        string    `json:"reason"`
	Level         string    `json:"heat_level"`
	Score         string    `json:"heat_score"`
	Action        string    `json:"heat_action"`
	OutAction     string    `json:"heat_out_action"`
	Recommended   string    `json:"heat_recommended_partial"`
	Decision      string    `json:"decision"`
	WaitMs        *int64    `json:"wait_ms"`
	Noticed       string    `json:"noticed"`
	AfterDeadline bool      `json:"after_deadline"`
	SourceID      string    `json:"source_id"`
	Error         string    `json:"error"`
}

func observation(it *item) Observation {
	o := &it.obs
	out := Observation{
		ID: it.id.String(), Time: it.id.Time().UTC(), PlanID: o.PlanID, Symbol: o.Symbol, Point: o.Point.String(), Found: o.Found(),
		Reason: string(o.Reason), Level: o.Heat.Level, Score: o.Heat.Score, Action: o.Heat.Action, OutAction: o.Heat.OutAction,
		Recommended: o.Heat.RecommendedPartial, Decision: o.Decision, AfterDeadline: o.AfterDeadline, Error: o.Error,
	}
	if ours(o) {
		out.WaitMs, out.Noticed, out.SourceID = ptr(o.WaitMs), o.Noticed.String(), o.SourceID.String()
	}
	return out
}

// Observations are the newest that match.
type Observations struct {
	Time         time.Time     `json:"time"`
	Matching     int           `json:"matching"`
	Observations []Observation `json:"observations"`
	History      History       `json:"history"`
}

// filter selects observations; what is empty selects all.
type filter struct {
	symbol, planID string
	reason         event.Reason
	point          string
	before         entry.ID
}

func (f *filter) matches(it *item) bool {
	return !it.bad &&
		(f.symbol == "" || it.obs.Symbol == f.symbol) &&
		(f.planID == "" || it.obs.PlanID == f.planID) &&
		(f.reason == "" || it.obs.Reason == f.reason) &&
		(f.point == "" || it.obs.Point.String() == f.point) &&
		(f.before == entry.ID{} || it.id.Compare(f.before) < 0)
}

// observations lists so many, and those that have the entry ID of the last one beside them, as several partitions may write
// it: whoever reads on asks for what is before that ID.
func (s *snapshot) observations(f filter, limit int) Observations {
	out := Observations{Time: s.time, Observations: []Observation{}, History: historyOf(s.items)}
	var last entry.ID // that is listed
	for i := len(s.items) - 1; i >= 0; i-- {
		if !f.matches(&s.items[i]) {
			continue
		}
		if out.Matching++; out.Matching <= limit || s.items[i].id == last {
			last = s.items[i].id
			out.Observations = append(out.Observations, observation(&s.items[i]))
		}
	}
	return out
}

func (p *Page) observations(w http.ResponseWriter, r *http.Request) {
	q := params{values: r.URL.Query()}
	limit := q.number("limit", 50, 1, 500)
	f := filter{
		symbol: q.text("symbol", 200), planID: q.text("plan_id", 200),
		reason: event.Reason(q.oneOf("reason", reasonNames...)), point: q.oneOf("obs_point", pointNames...), before: q.id("before"),
	}
	if q.refuse(w, "limit", "symbol", "plan_id", "reason", "obs_point", "before") {
		return
	}
	if s := p.snapshot(w, r); s != nil {
		writeJSON(w, s.observations(f, limit))
	}
}

var reasonNames, pointNames = func() (reasons, points []string) {
	for _, reason := range event.Reasons {
		reasons = append(reasons, string(reason))
	}
	for _, point := range event.Points {
		points = append(points, point.String())
	}
	return reasons, points
}()

// NewObservations are those that came since.
type NewObservations struct {
	Time         time.Time     `json:"time"`
	More         int           `json:"more"`
	Observations []Observation `json:"observations"`
}

const newMost = 50 // in one event

// newSince are the observations behind an ID as JSON, nil without one. Most clients ask for the same.
func (s *snapshot) newSince(behind entry.ID) []byte {
	fresh := after(s.items, behind)
	if len(fresh) == 0 {
		return nil
	}
	return s.memo.get("new "+behind.String(), func() any {
		out := NewObservations{Time: s.time, Observations: []Observation{}}
		for i := len(fresh) - 1; i >= 0; i-- {
			switch {
			case fresh[i].bad:
			case len(out.Observations) < newMost:
				out.Observations = append(out.Observations, observation(&fresh[i]))
			default:
				out.More++
			}
		}
		return out
	})
}

// memo keeps the JSON of what many ask for of one snapshot.
type memo struct {
	mu   sync.Mutex
	made map[string][]byte
}

const memoMost = 64

// get is the JSON under a name, made once. Beyond a number of names it is made each time.
func (m *memo) get(name string, value func() any) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.made[name]; ok {
		return b
	}
	b, err := json.Marshal(value())
	if err != nil {
		panic("web: " + err.Error()) // our own types
	}
	if m.made == nil {
		m.made = map[string][]byte{}
	}
	if len(m.made) < memoMost {
		m.made[name] = b
	}
	return b
}
