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
	heat  event.PackedHeat
	err   error // of event.DecodeHeat
}

// key is all that is known under one plan ID: the state of its by_plan hash, and what each simulation holds of it. One look
// into one map finds it all, which is most of what a replay does.
type key struct {
	planID string
	since  int64 // ID time of the decision that won last
	writes []write
	first  [1]write // room for the usual number of writes
	own    held     // of the first simulation
	others []held   // of those behind it
	refs   int32    // expiries, waiting plans and callers that lead here
}

// held is what one simulation keeps under a plan ID.
type held struct {
	waiting *waiter                  // the plans that wait, in the order of reading
	until   [len(event.Points)]int64 // when the dedupe key of each observation point expires
}

// of is what the simulation with this number keeps.
func (k *key) of(sim int) *held {
	if sim == 0 {
		return &k.own
	}
	for len(k.others) < sim {
		k.others = append(k.others, held{})
	}
	return &k.others[sim-1]
}

// hashes are the by_plan keys as the bridge would have them, rebuilt from decisions.
type hashes struct {
	byPlan map[string]*key
	expire queue[expiry]
	delay  int64
	keep   int64  // how long an expired hash can still be asked for
	free   []*key // to be used again
}

type expiry struct {
	key *key
	at  int64
}

func newHashes(bridgeDelay, keep time.Duration) *hashes {
	return &hashes{byPlan: make(map[string]*key), delay: bridgeDelay.Milliseconds(), keep: keep.Milliseconds()}
}

// hold finds or makes the key of a plan ID, which must be released.
func (h *hashes) hold(planID []byte) *key {
	k := h.byPlan[string(planID)]
	if k == nil {
		if n := len(h.free); n > 0 {
			k, h.free = h.free[n-1], h.free[:n-1]
		} else {
			k = &key{}
		}
		k.planID = string(planID)
		h.byPlan[k.planID] = k
	}
	k.refs++
	return k
}

// release ends one hold, or one other way that leads to a key, and forgets it with the last.
func (h *hashes) release(k *key) {
	if k.refs--; k.refs > 0 {
		return
	}
	delete(h.byPlan, k.planID)
	*k = key{others: k.others[:0]}
	clear(k.others[:cap(k.others)])
	if len(h.free) < 1024 {
		h.free = append(h.free, k)
	}
}

// decide takes a decision and reports whether the bridge writes it; k is that of its plan. Decisions come in the order of
// their IDs.
func (h *hashes) decide(k *key, id entry.ID, heat event.PackedHeat, malformed error) bool {
	at := int64(id.Ms) + h.delay
	h.forget(at)
	if len(k.writes) > 0 && int64(id.Ms)-k.since < repeatWindow.Milliseconds() {
		return false // a repetition, which does not extend the window either
	}
	k.since = int64(id.Ms)
	w := write{by: id, at: at, until: at + hashTTL.Milliseconds(), heat: heat, err: malformed}
	switch len(k.writes) {
	case 0:
		k.writes = k.first[:0]
	case keptWrites:
		k.writes = append(k.writes[:0], k.writes[1:]...)
	}
	k.writes = append(k.writes, w)
	k.refs++
	h.expire.push(expiry{k, w.until})
	return true
}

// forget drops hashes that nobody can ask for any more.
func (h *hashes) forget(now int64) {
	for h.expire.len() > 0 && h.expire.first().at+h.keep <= now {
		e := h.expire.pop()
		if n := len(e.key.writes); n > 0 && e.key.writes[n-1].until <= e.at {
			clear(e.key.writes)
			e.key.writes = nil
		}
		h.release(e.key)
	}
}

// look is what a look at t sees. A hash written in the same millisecond is seen.
func (k *key) look(t int64) event.Look {
	look := event.Look{At: time.UnixMilli(t)}
	w := k.writeAt(t)
	switch {
	case w == nil:
	case w.err != nil:
		look.Kind, look.Err = event.Malformed, w.err
	default:
		look.Kind, look.Heat = event.Found, w.heat.Heat()
	}
	return look
}

// writeAt is the write whose values stand in the hash at t, nil when there is no hash.
func (k *key) writeAt(t int64) *write {
	if k == nil {
		return nil
	}
	for i := len(k.writes) - 1; i >= 0; i-- {
		if w := &k.writes[i]; w.at <= t {
			if t < w.until {
				return w
			}
			return nil
		}
	}
	return nil
}

// writeAfter is the first write after t that is known, nil without one.
func (k *key) writeAfter(t int64) *write {
	if k == nil {
		return nil
	}
	for i := range k.writes {
		if k.writes[i].at > t {
			return &k.writes[i]
		}
	}
	return nil
}
