package heat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"heatobserver/event"
)

var errDown = errors.New("redis is down")

// fakeRedis is a Looker over a map. Every batch takes latency and shows what is there at its end.
type fakeRedis struct {
	latency time.Duration

	mu       sync.Mutex
	looks    map[string]event.Look
	down     bool
	panics   bool
	batches  []int
	swept    int // of the batches, those of LookMany
	lookedAt map[string][]time.Time
	underWay int
	mostBusy int
}

var _ Looker = (*fakeRedis)(nil)

func newFake(latency time.Duration) *fakeRedis {
	return &fakeRedis{latency: latency, looks: map[string]event.Look{}, lookedAt: map[string][]time.Time{}}
}

func (f *fakeRedis) write(id string, look event.Look) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks[id] = look
}

func (f *fakeRedis) writeHeat(id string) {
	f.write(id, event.Look{Kind: event.Found, Heat: event.Heat{Level: "hot", Action: id}})
}

func (f *fakeRedis) setDown(down bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = down
}

func (f *fakeRedis) setMostBusy(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mostBusy = n
}

func (f *fakeRedis) LookEach(ctx context.Context, dst []event.Look, ids []string) []event.Look {
	return f.look(ctx, dst, ids)
}

func (f *fakeRedis) LookMany(ctx context.Context, dst []event.Look, ids []string) []event.Look {
	f.mu.Lock()
	f.swept++
	f.mu.Unlock()
	return f.look(ctx, dst, ids)
}

func (f *fakeRedis) look(ctx context.Context, dst []event.Look, ids []string) []event.Look {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.underWay++
	f.mostBusy = max(f.mostBusy, f.underWay)
	f.mu.Unlock()
	if f.latency > 0 {
		select {
		case <-time.After(f.latency):
		case <-ctx.Done():
		}
	}
	f.mu.Lock()
	f.underWay--
	if f.panics {
		panic("the looker broke")
	}
	f.batches = append(f.batches, len(ids))
	for _, id := range ids {
		look := f.looks[id]
		if f.down {
			look = event.Look{Kind: event.Failed, Err: errDown}
		}
		if err := ctx.Err(); err != nil {
			look = event.Look{Kind: event.Failed, Err: err}
		}
		look.At = time.Now()
		f.lookedAt[id] = append(f.lookedAt[id], look.At)
		dst = append(dst, look)
	}
	return dst
}

var testRules = event.Rules{MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond, MaxErrors: 2}

// result is what one call of Wait returned.
type result struct {
	planID  string
	verdict event.Verdict
	err     error
	at      time.Time
}

// waits starts calls of Wait and collects what they return.
type waits struct {
	t       testing.TB
	w       *Waiter
	results chan result
}

func newWaits(t testing.TB, looker Looker, change func(*WaiterOptions)) *waits {
	t.Helper()
	opts := WaiterOptions{Rules: testRules}
	if change != nil {
		change(&opts)
	}
	w, err := NewWaiter(looker, opts)
	if err != nil {
		t.Fatal(err)
	}
	return &waits{t: t, w: w, results: make(chan result, 10000)}
}

func (ws *waits) start(ctx context.Context, id string, published time.Time) {
	go func() {
		v, err := ws.w.Wait(ctx, event.Plan{PlanID: id}, published)
		ws.results <- result{id, v, err, time.Now()}
	}()
}

// next is the next result; under synctest a wait that never ends is a deadlock that fails the test.
func (ws *waits) next() result {
	ws.t.Helper()
	select {
	case r := <-ws.results:
		return r
	case <-time.After(time.Hour):
		ws.t.Fatal("no wait ended within an hour")
		panic("unreachable")
	}
}

func planName(i int) string { return fmt.Sprintf("plan-%d", i) }

// empty fails the test unless nothing is left in the Waiter.
func (ws *waits) empty() {
	ws.t.Helper()
	ws.w.mu.Lock()
	defer ws.w.mu.Unlock()
	w := ws.w
	if w.waits != 0 || len(w.plans) != w.watched || w.urgent.first != nil || len(w.schedule.plans) != w.watched {
		ws.t.Errorf("left in the waiter: %d waits, %d plans, %d watched, %d scheduled, urgent %v",
			w.waits, len(w.plans), w.watched, len(w.schedule.plans), w.urgent.first)
	}
}
