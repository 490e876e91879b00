package heat

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"heatobserver/event"
)

// model is the naive statement of what a Waiter does: per plan ID what its key holds and since when, and per
// wait when it began. It says of each end whether it may be so.
type model struct {
	fake  *fakeRedis
	ws    *waits
	keys  map[string]key // what is there now
	plans map[string][]*modelWait

	announced   bool // writes are told to the Waiter, at once
	redisEvents []time.Time
	cancelled   int
}

type key struct {
	kind  event.LookKind
	since time.Time
	told  bool
}

type modelWait struct {
	begun, deadline time.Time
	cancel          context.CancelFunc
	gone            bool
}

var errDrain = errors.New("drain")

// park is begin for a plan for which nobody stands and waits; it cannot be cancelled.
func (m *model) park(t *rapid.T, id string, age time.Duration) {
	published := time.Now().Add(-age)
	w := &modelWait{begun: time.Now(), deadline: published.Add(testRules.MaxWait), cancel: func() {}}
	m.plans[id] = append(m.plans[id], w)
	done := func(v event.Verdict) func() {
		return func() { m.ws.results <- result{fmt.Sprintf("%s/%p", id, w), v, nil, time.Now()} }
	}
	switch p := m.ws.w.Park([]Parking{{PlanID: id, Published: published, Done: done}})[0]; {
	case p.Refused:
		t.Fatalf("%s was refused", id)
	case p.Over:
		done(p.Verdict)()
	}
	m.settle(t)
}

func (m *model) begin(t *rapid.T, id string, age time.Duration) {
	ctx, cancel := context.WithCancelCause(context.Background())
	published := time.Now().Add(-age)
	w := &modelWait{begun: time.Now(), deadline: published.Add(testRules.MaxWait), cancel: func() { cancel(errDrain) }}
	m.plans[id] = append(m.plans[id], w)
	go func() {
		v, err := m.ws.w.Wait(ctx, event.Plan{PlanID: id}, published)
		m.ws.results <- result{fmt.Sprintf("%s/%p", id, w), v, err, time.Now()}
	}()
	synctest.Wait()
	m.settle(t)
}

// settle takes the waits that have ended and judges them.
func (m *model) settle(t *rapid.T) {
	synctest.Wait()
	for len(m.ws.results) > 0 {
		r := <-m.ws.results
		id, w := m.find(r.planID)
		if w == nil {
			t.Fatalf("%s ended twice", r.planID)
		}
		w.gone = true
		m.judge(t, id, w, r)
	}
	waiting := 0
	for id, ws := range m.plans {
		for _, w := range ws {
			if w.gone {
				continue
			}
			waiting++
			m.mustGoOn(t, id, w)
		}
	}
	if n := m.ws.w.Len(); n != waiting {
		t.Fatalf("%d wait, the model says %d", n, waiting)
	}
}

func (m *model) find(name string) (string, *modelWait) {
	for id, ws := range m.plans {
		for _, w := range ws {
			if fmt.Sprintf("%s/%p", id, w) == name && !w.gone {
				return id, w
			}
		}
	}
	return "", nil
}

// judge says whether this wait may have ended now in this way.
func (m *model) judge(t *rapid.T, id string, w *modelWait, r result) {
	now, k := time.Now(), m.keys[id]
	if r.err != nil {
		if !errors.Is(r.err, errDrain) {
			t.Fatalf("%s: error %v", id, r.err)
		}
		m.cancelled++
		return
	}
	v := r.verdict
	legal := false
	switch v.Reason {
	case event.OK:
		legal = k.kind == event.Found && !v.At.Before(k.since) && v.AfterDeadline == v.At.After(w.deadline)
		// Seen at once where writes are told.
		if k.told && k.since.After(w.begun) && !m.disturbedSince(w.begun) {
			legal = legal && v.At.Equal(k.since)
		}
	case event.Timeout:
		legal = k.kind == event.Absent && !v.At.Before(w.deadline) && w.begun.Before(w.deadline)
		if !m.disturbedSince(w.begun) {
			legal = legal && v.At.Equal(w.deadline)
		}
	case event.Missing:
		legal = k.kind == event.Absent && !w.begun.Before(w.deadline)
	case event.ParseError:
		legal = k.kind == event.Malformed && (!v.At.Before(w.deadline) || v.At.Sub(w.begun) >= testRules.Poll)
	case event.RedisError:
		legal = m.disturbedSince(w.begun) && v.At.Sub(w.begun) >= testRules.Poll
	}
	if !legal || v.At.After(now) {
		t.Fatalf("%s ended with %v (%v) at %v: begun %v, deadline %v, key %d since %v",
			id, v.Reason, v.Noticed, v.At, w.begun, w.deadline, k.kind, k.since)
	}
}

// mustGoOn says whether a wait may still be going on.
func (m *model) mustGoOn(t *rapid.T, id string, w *modelWait) {
	now, k := time.Now(), m.keys[id]
	slack := testRules.Poll + testRules.Poll/5
	switch {
	case now.Sub(w.deadline) > slack && now.Sub(w.begun) > slack:
		// Two failures or a failure and a look lie one interval apart.
		t.Fatalf("%s still waits %v past its deadline", id, now.Sub(w.deadline))
	case k.kind == event.Found && k.told && !m.fake.down && !m.disturbedSince(w.begun):
		t.Fatalf("%s still waits, but its heat was announced %v ago", id, now.Sub(k.since))
	case k.kind == event.Found && !m.announced && !m.fake.down && now.Sub(k.since) > slack && !m.disturbedSince(k.since):
		t.Fatalf("%s still waits, but its heat is there for %v", id, now.Sub(k.since))
	}
}

func (m *model) disturbed() { m.redisEvents = append(m.redisEvents, time.Now()) }

// disturbedSince says whether Redis was down at some time from t on.
func (m *model) disturbedSince(t time.Time) bool {
	return m.fake.down || len(m.redisEvents) > 0 && !m.redisEvents[len(m.redisEvents)-1].Before(t)
}

func (m *model) write(id string, kind event.LookKind, tell bool) {
	if old := m.keys[id]; old.kind != kind {
		m.keys[id] = key{kind, time.Now(), tell}
	}
	m.fake.write(id, event.Look{Kind: kind, Err: map[event.LookKind]error{event.Malformed: errors.New("malformed")}[kind]})
	if tell {
		m.ws.w.Notify(id)
	}
}

// Random plans, writes, failures, cancellations and losses of the announcements, against the model.
func TestWaiterAgainstModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Without the methods of testing.T that must not be called within a bubble.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			fake := newFake(0)
			m := &model{fake: fake, keys: map[string]key{}, plans: map[string][]*modelWait{}}
			m.ws = newWaits(t, fake, func(o *WaiterOptions) { o.MaxWorkers, o.MaxWatched, o.WatchFor = 2, 2, time.Second })
			defer m.ws.w.Close()
			id := rapid.SampledFrom([]string{"a", "b", "c"})
			rt.Repeat(map[string]func(*rapid.T){
				"begin": func(rt *rapid.T) {
					age := rapid.SampledFrom([]time.Duration{0, 0, 0, 150 * time.Millisecond, 1990 * time.Millisecond, 3 * time.Second})
					begin := m.begin
					if rapid.Bool().Draw(rt, "parked") {
						begin = m.park
					}
					begin(rt, id.Draw(rt, "plan"), age.Draw(rt, "age"))
				},
				"write": func(rt *rapid.T) {
					kind := rapid.SampledFrom([]event.LookKind{event.Found, event.Found, event.Malformed})
					tell := m.announced && rapid.Bool().Draw(rt, "tell")
					m.write(id.Draw(rt, "plan"), kind.Draw(rt, "kind"), tell)
				},
				"delete":   func(rt *rapid.T) { m.write(id.Draw(rt, "plan"), event.Absent, m.announced) },
				"spurious": func(rt *rapid.T) { m.ws.w.Notify(id.Draw(rt, "plan")) },
				"cancel": func(rt *rapid.T) {
					for _, w := range m.plans[id.Draw(rt, "plan")] {
						w.cancel()
					}
				},
				"announce": func(rt *rapid.T) {
					m.announced = rapid.Bool().Draw(rt, "announced")
					m.ws.w.Reset(m.announced)
				},
				"redis": func(rt *rapid.T) {
					m.disturbed()
					fake.setDown(rapid.Bool().Draw(rt, "down"))
				},
				"time": func(rt *rapid.T) {
					time.Sleep(time.Duration(rapid.IntRange(1, 700).Draw(rt, "ms")) * time.Millisecond)
				},
				"": m.settle,
			})
			// However it went, a little later nothing is left.
			fake.setDown(false)
			m.disturbed()
			time.Sleep(10 * time.Second)
			m.settle(rt)
			m.ws.empty()
			if m.ws.w.Len() != 0 || m.ws.w.watched != 0 {
				rt.Fatalf("%d wait and %d are watched at the end", m.ws.w.Len(), m.ws.w.watched)
			}
		})
	})
}
