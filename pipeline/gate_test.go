package pipeline

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/internal/redistest"
)

func startGate(t *testing.T, client redis.UniversalClient, config GateConfig) (*Gate, func()) {
	t.Helper()
	gate := NewGate(client, config, quiet())
	return gate, runs(t, gate.Run)
}

func pendingCount(t *testing.T, client *redis.Client, stream, group string) int64 {
	t.Helper()
	pending, err := client.XPending(t.Context(), stream, group).Result()
	if err != nil {
		t.Fatal(err)
	}
	return pending.Count
}

func TestGateDecidesAfterDelay(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		const plans = 400
		delay := mustDelay(t, "50ms-200ms,slow=5%:300ms,never=5%")
		never := 0
		for n := range uint64(plans) {
			if _, ok := delay.For(9, PlanID(1, n)); !ok {
				never++
			}
		}
		gate, _ := startGate(t, client, GateConfig{Delay: delay, Seed: 9})
		count := written(t, client, PlannerConfig{Rate: 1000, plans: plans + 40, Seed: 1})
		client.XAdd(t.Context(), &redis.XAddArgs{Stream: PlanStream, Values: []string{"symbol", "s"}})
		eventually(t, "all plans are decided", func() bool {
			return gate.decided.Load()+gate.never.Load()+gate.malformed.Load() == count+1
		})
		published := map[string]time.Time{}
		for _, message := range client.XRange(t.Context(), PlanStream, "-", "+").Val() {
			id, err := entry.ParseID(message.ID)
			if err != nil {
				t.Fatal(err)
			}
			if planID, ok := message.Values["plan_id"].(string); ok {
				published[planID] = id.Time()
			}
		}
		decisions := client.XRange(t.Context(), DecisionStream, "-", "+").Val()
		for _, message := range decisions {
			id, err := entry.ParseID(message.ID)
			if err != nil {
				t.Fatal(err)
			}
			d, err := event.DecodeDecision(id, fields(message))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := d.Heat(); err != nil || len(message.Values) != 14 {
				t.Fatalf("%d fields, %v", len(message.Values), err)
			}
			want, ok := delay.For(9, d.PlanID)
			took := id.Time().Sub(published[d.PlanID])
			if !ok || took < want-2*time.Millisecond || took > want+10*time.Second { // too early is wrong, late may be a busy machine
				t.Errorf("plan %s is decided after %v, want %v (%v)", d.PlanID, took, want, ok)
			}
		}
		if int(gate.decided.Load()) != len(decisions) || gate.malformed.Load() != 1 || int(gate.never.Load()) < never {
			t.Errorf("%d decided, %d never, %d malformed, %d decisions", gate.decided.Load(), gate.never.Load(), gate.malformed.Load(), len(decisions))
		}
		eventually(t, "all is acknowledged", func() bool { return pendingCount(t, client, PlanStream, GateGroup) == 0 })
	})
}

func TestGateResumes(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		written(t, client, PlannerConfig{Rate: 1e6, plans: 100})
		first, stop := startGate(t, client, GateConfig{Delay: mustDelay(t, "1h")})
		eventually(t, "plans wait", func() bool {
			pending, err := client.XPending(t.Context(), PlanStream, GateGroup).Result()
			return err == nil && pending.Count == 100
		})
		stop()
		if n := first.decided.Load(); n != 0 {
			t.Fatalf("%d are decided", n)
		}
		second, _ := startGate(t, client, GateConfig{})
		eventually(t, "they are decided", func() bool { return second.decided.Load() == 100 })
		eventually(t, "all is acknowledged", func() bool { return pendingCount(t, client, PlanStream, GateGroup) == 0 })
		if n := client.XLen(t.Context(), DecisionStream).Val(); n != 100 {
			t.Errorf("%d decisions", n)
		}
	})
}

func TestGateBoundsWhatWaits(t *testing.T) {
	t.Parallel()
	client := embeddedClient(t)
	written(t, client, PlannerConfig{Rate: 1e6, plans: 5000})
	_, stop := startGate(t, client, GateConfig{Delay: mustDelay(t, "1h"), waiting: 1500})
	eventually(t, "the gate is full", func() bool {
		pending, err := client.XPending(t.Context(), PlanStream, GateGroup).Result()
		return err == nil && pending.Count >= 1500
	})
	stop()
	if n := pendingCount(t, client, PlanStream, GateGroup); n > 1500+readCount {
		t.Errorf("%d plans wait", n)
	}
}

func TestGateMakesGroupAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		gate, _ := startGate(t, client, GateConfig{})
		written(t, client, PlannerConfig{Rate: 1e6, plans: 50})
		eventually(t, "the first are decided", func() bool { return gate.decided.Load() == 50 })
		if err := client.XGroupDestroy(t.Context(), PlanStream, GateGroup).Err(); err != nil {
			t.Fatal(err)
		}
		written(t, client, PlannerConfig{Rate: 1e6, plans: 50, First: 50})
		eventually(t, "the others are decided, and those alone", func() bool { return gate.decided.Load() >= 100 })
		if n := gate.decided.Load(); n != 100 {
			t.Errorf("%d are decided", n)
		}
	})
}

func TestGateFindsWhatALostReplyHeld(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	gate, _ := startGate(t, server.NewClient(func(o *redis.Options) { o.Addr = proxy.Addr() }), GateConfig{})
	planner, err := NewPlanner(server.Client(), PlannerConfig{Rate: 500, plans: 500}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	runs(t, planner.Run) // so fast that no read is empty
	for lost := 1; lost <= 3; lost++ {
		eventually(t, "plans are decided", func() bool { return gate.decided.Load() > uint64(100*lost) })
		proxy.DropReplies(1, "xreadgroup")
		eventually(t, "a reply is lost", func() bool { return proxy.Dropped() == lost })
	}
	eventually(t, "all are decided", func() bool { return gate.decided.Load() == 500 })
	eventually(t, "all is acknowledged", func() bool { return pendingCount(t, server.Client(), PlanStream, GateGroup) == 0 })
}

// TestGateDecidesTheNextOneDue: a plan that waits long holds up none that does not.
func TestGateDecidesTheNextOneDue(t *testing.T) {
	t.Parallel()
	client := embeddedClient(t)
	delay := mustDelay(t, "10ms,slow=50%:1h")
	fast := uint64(0)
	for n := range uint64(100) {
		if d, _ := delay.For(0, PlanID(0, n)); d < time.Hour {
			fast++
		}
	}
	gate, _ := startGate(t, client, GateConfig{Delay: delay})
	written(t, client, PlannerConfig{Rate: 1000, plans: 100})
	eventually(t, "the fast ones are decided", func() bool { return gate.decided.Load() == fast })
}
