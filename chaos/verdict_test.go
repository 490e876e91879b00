package chaos

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// observation is one entry of the observed stream, read as an operator would.
type observation struct {
	id     entry.ID
	plan   string
	point  string
	reason string
	source entry.ID
	wait   time.Duration
	late   bool // after_deadline
}

// rule is one line of the table of invariants.
type rule struct {
	name    string
	checked int
	wrong   []string // evidence, with the plan
	note    string
}

func (r *rule) fail(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// verdict is what the run comes to. It follows from what Redis holds, what the load was told, and the harm that was done;
// nothing of it asks the observer.
type verdict struct {
	rules   []*rule
	once    *rule    // that of the promise
	waits   *rule    // that of the waits
	invalid []string // why the run proves nothing

	observed map[string][]observation // by point and plan
	all      []observation
	present  map[entry.ID]bool   // entries of the plan stream
	standing map[string]bool     // plans with such an entry
	dead     map[string]int      // dead letters by group and entry ID
	totals   map[string]int64    // of our own
	missing  map[string]int      // plans without an observation that were trimmed, by group
	lost     map[string]entry.ID // plans that Redis forgot
}

func (v *verdict) rule(name string) *rule {
	r := &rule{name: name}
	v.rules = append(v.rules, r)
	return r
}

// duplicates is how many plans were observed more than once at one point.
func (v *verdict) duplicates() (n int) {
	for _, list := range v.observed {
		if len(list) > 1 {
			n++
		}
	}
	return n
}

// judge reads Redis completely and checks every invariant.
func (r *run) judge() *verdict {
	r.t.Helper()
	v := &verdict{
		observed: map[string][]observation{}, present: map[entry.ID]bool{}, standing: map[string]bool{},
		dead: map[string]int{}, totals: map[string]int64{}, missing: map[string]int{}, lost: map[string]entry.ID{},
	}
	mustDo(r.t, "read what Redis holds", r.read(v))
	r.judgePlans(v)
	r.judgeMalformed(v)
	r.judgeReasons(v)
	r.judgeWaits(v)
	r.judgeCalm(v)
	r.judgeEnd(v)
	r.judgeRun(v)
	return v
}

func (r *run) read(v *verdict) error {
	if err := r.page(planStream, func(m redis.XMessage) error {
		id, err := entry.ParseID(m.ID)
		v.present[id] = true
		if plan, ok := m.Values["plan_id"].(string); ok {
			v.standing[plan] = true
		}
		return err
	}); err != nil {
		return err
	}
	if err := r.page(observedStream, func(m redis.XMessage) error {
		o, err := readObservation(m)
		v.all = append(v.all, o)
		v.observed[o.point+" "+o.plan] = append(v.observed[o.point+" "+o.plan], o)
		return err
	}); err != nil {
		return err
	}
	if err := r.page(deadStream, func(m redis.XMessage) error {
		v.dead[fmt.Sprint(m.Values["group"], " ", m.Values["entry_id"])]++
		return nil
	}); err != nil {
		return err
	}
	ctx, cancel := deadline()
	defer cancel()
	totals, err := r.control.HGetAll(ctx, totalsKey).Result()
	if err != nil {
		return err
	}
	for name, text := range totals {
		if strings.HasPrefix(name, "server:") { // which server has counted
			continue
		}
		if v.totals[name], err = strconv.ParseInt(text, 10, 64); err != nil {
			return err
		}
	}
	return nil
}

func readObservation(m redis.XMessage) (o observation, err error) {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	var debug struct {
		SourceID      string `json:"source_id"`
		WaitMs        int64  `json:"wait_ms"`
		AfterDeadline bool   `json:"after_deadline"`
	}
	if err := json.Unmarshal([]byte(text("debug_json")), &debug); err != nil {
		return o, fmt.Errorf("read debug_json: %w", err)
	}
	o = observation{
		plan: text("plan_id"), point: text("obs_point"), reason: text("heat_reason"),
		wait: time.Duration(debug.WaitMs) * time.Millisecond, late: debug.AfterDeadline,
	}
	if o.id, err = entry.ParseID(m.ID); err != nil {
		return o, err
	}
	o.source, err = entry.ParseID(debug.SourceID)
	return o, err
}

// fate is what became of an entry that was acknowledged and is not in the stream any more.
func (r *run) fate(id entry.ID) (trimmed, lost bool) {
	for _, below := range r.trims {
		trimmed = trimmed || id.Compare(below) < 0
	}
	for _, loss := range r.losses {
		lost = lost || id.Compare(loss.above) > 0 && id.Compare(loss.upTo) <= 0
	}
	return trimmed, lost
}

// judgePlans: every plan that Redis has kept is observed exactly once at each point, and the others at most once, with a
// record.
func (r *run) judgePlans(v *verdict) {
	v.once = v.rule("every plan × observation point has exactly one observation")
	kept := v.rule("nothing acknowledged without an observation, a dead letter or a record")
	forgot := v.rule("nothing missing beyond what Redis itself lost")
	plans := map[string]entry.ID{} // the last entry of each
	for _, e := range r.load.acknowledged() {
		if !e.malformed {
			plans[e.plan] = e.id
		}
	}
	for plan, id := range plans {
		trimmed, mayBeLost := r.fate(id)
		for i, point := range points {
			v.once.checked++
			n := v.observed[point+" "+plan]
			switch {
			case len(n) > 1:
				v.once.fail("plan %s has %d observations at %s: %v", plan, len(n), point, ids(n))
			case len(n) == 1:
			case v.standing[plan]:
				kept.fail("plan %s, entry %s, is in the stream, acknowledged and not observed at %s", plan, id, point)
			case mayBeLost: // also when what came after it was trimmed later
				v.lost[plan] = id
			case trimmed:
				v.missing[groups[i]]++
			default:
				forgot.fail("plan %s, entry %s, is neither in the stream nor observed at %s, and Redis lost nothing then", plan, id, point)
			}
		}
		if !v.standing[plan] && (mayBeLost || !trimmed) {
			forgot.checked++
		}
	}
	for key, list := range v.observed {
		if _, ok := plans[list[0].plan]; !ok {
			v.once.fail("%s was observed and never published", key)
		}
	}
	kept.checked = v.once.checked
	for _, g := range groups {
		if recorded := v.totals["trimmed:"+g]; int64(v.missing[g]) > recorded {
			kept.fail("group %s: %d plans were trimmed and not observed, and only %d are recorded as trimmed", g, v.missing[g], recorded)
		}
	}
	kept.note = fmt.Sprintf("trimmed and not observed: %d early, %d late; workers counted as lost %.0f and %.0f, observed though trimmed %.0f and %.0f; recorded: %v",
		v.missing[groupEarly], v.missing[groupLate],
		r.fleet.sum("entries_lost_to_retention_total{", groupEarly), r.fleet.sum("entries_lost_to_retention_total{", groupLate),
		r.fleet.sum("commits_total{", `"trimmed"`, pointEarly), r.fleet.sum("commits_total{", `"trimmed"`, pointLate), v.totals)
	forgot.note = fmt.Sprintf("Redis lost %d acknowledged plans, %d of them were not observed", forgot.checked, len(v.lost))
}

func ids(list []observation) (out []string) {
	for _, o := range list {
		out = append(out, o.id.String()+" of "+o.source.String())
	}
	return out
}

// judgeMalformed: each malformed entry that Redis kept has exactly one dead letter of each group, and no plan has one.
func (r *run) judgeMalformed(v *verdict) {
	parked := v.rule("every malformed entry has one dead letter of each group")
	for _, e := range r.load.acknowledged() {
		for _, g := range groups {
			n := v.dead[g+" "+e.id.String()]
			switch {
			case !e.malformed && n > 0:
				parked.fail("plan %s, entry %s, is a dead letter of group %s and was not malformed", e.plan, e.id, g)
			case e.malformed && (n > 1 || n == 0 && v.present[e.id]):
				parked.fail("malformed entry %s has %d dead letters of group %s", e.id, n, g)
			case e.malformed:
				parked.checked++
			}
		}
	}
}
