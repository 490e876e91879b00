package replay

import (
	"time"

	"heatobserver/entry"
	"heatobserver/event"
)

// What the heat bridge does (wire contract, "Lookup").
const (
	hashTTL      = 1800 * time.Second // how long a by_plan hash lives
	repeatWindow = 120 * time.Second  // within it the first decision about a plan wins
)

// keptWrites is how many writes of one hash are remembered, for questions about the past. One is usual: the second can
// come no sooner than the repeat window allows.
const keptWrites = 4

// write is one time that the bridge wrote a plan's hash.
type write struct {
	by    entry.ID // the decision
	at    int64    // milliseconds, as every time here
	until int64    // when the hash expires
	heat  event.Heat
	err   error // of event.DecodeHeat
}

// hash is the state of one by_plan key.
type hash struct {
	since  int64 // ID time of the decision that won last
	writes []write
}

// hashes are the by_plan keys as the bridge would have them, rebuilt from decisions.
type hashes struct {
	byPlan map[string]*hash
	expire queue[expiry]
	delay  int64
	keep   int64 // how long an expired hash can still be asked for
}

type expiry struct {
	planID string
	at     int64
}

func newHashes(bridgeDelay, keep time.Duration) *hashes {
	return &hashes{byPlan: make(map[string]*hash), delay: bridgeDelay.Milliseconds(), keep: keep.Milliseconds()}
}

// decide takes a decision and reports whether the bridge writes it. Decisions come in the order of their IDs.
func (h *hashes) decide(d *event.Decision) bool {
	at := int64(d.ID.Ms) + h.delay
	h.forget(at)
	key := h.byPlan[d.PlanID]
	switch {
	case key == nil:
		key = &hash{}
		h.byPlan[d.PlanID] = key
	case int64(d.ID.Ms)-key.since < repeatWindow.Milliseconds():
		return false // a repetition, which does not extend the window either
	}
	key.since = int64(d.ID.Ms)
	w := write{by: d.ID, at: at, until: at + hashTTL.Milliseconds()}
	w.heat, w.err = d.Heat()
	if len(key.writes) == keptWrites {
		key.writes = append(key.writes[:0], key.writes[1:]...)
	}
	key.writes = append(key.writes, w)
	h.expire.push(expiry{d.PlanID, w.until})
	return true
}

// forget drops hashes that nobody can ask for any more.
func (h *hashes) forget(now int64) {
	for h.expire.len() > 0 && h.expire.first().at+h.keep <= now {
		e := h.expire.pop()
		if key := h.byPlan[e.planID]; key != nil && key.writes[len(key.writes)-1].until <= e.at {
			delete(h.byPlan, e.planID)
		}
	}
}

// look is what a look at t sees. A hash written in the same millisecond is seen.
func (h *hashes) look(planID string, t int64) event.Look {
	look := event.Look{At: time.UnixMilli(t)}
	w := h.writeAt(planID, t)
	switch {
	case w == nil:
	case w.err != nil:
		look.Kind, look.Err = event.Malformed, w.err
	default:
		look.Kind, look.Heat = event.Found, w.heat
	}
	return look
}

// writeAt is the write whose values stand in the hash at t, nil when there is no hash.
func (h *hashes) writeAt(planID string, t int64) *write {
	key := h.byPlan[planID]
	if key == nil {
		return nil
	}
	for i := len(key.writes) - 1; i >= 0; i-- {
		if w := &key.writes[i]; w.at <= t {
			if t < w.until {
				return w
			}
			return nil
		}
	}
	return nil
}

// writeAfter is the first write after t that is known, nil without one.
func (h *hashes) writeAfter(planID string, t int64) *write {
	key := h.byPlan[planID]
	if key == nil {
		return nil
	}
	for i := range key.writes {
		if key.writes[i].at > t {
			return &key.writes[i]
		}
	}
	return nil
}
