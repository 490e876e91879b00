package pipeline

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"heatobserver/event"
	"heatobserver/internal/redistest"
)

// decide adds a decision about a plan at a moment of the stream's clock.
func decide(t *testing.T, client redis.UniversalClient, id, planID, level string) event.Decision {
	t.Helper()
	d := event.Decision{
		TsEpoch: "1700000000", Symbol: "BTCUSDT", PlanID: planID, InAction: "FULL_CLOSE", OutAction: "HOLD", Action: "FULL_CLOSE",
		HeatLevel: level, HeatScore: "0.5", HeatAction: "NONE", Reason: "r", InputsAgeSec: "1", Mode: "shadow", DebugJSON: "{}",
	}
	if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: DecisionStream, ID: id, Values: d.Pairs()}).Err(); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestBridgeWritesHashes(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		ctx := t.Context()
		const begin = 1_700_000_000_000
		at := func(seconds float64) string { return strconv.Itoa(begin+int(seconds*1000)) + "-0" }
		level := func(planID string) string { return client.HGet(ctx, LookupPrefix+planID, "heat_level").Val() }

		bridge := NewBridge(client, BridgeConfig{}, quiet())
		runs(t, bridge.Run)
		d := decide(t, client, at(0), "a", "cold")
		eventually(t, "the hash is there", func() bool { return level("a") == "cold" })
		want := map[string]string{}
		for pairs := d.HashPairs(); len(pairs) > 0; pairs = pairs[2:] {
			want[pairs[0]] = pairs[1]
		}
		if diff := cmp.Diff(want, client.HGetAll(ctx, LookupPrefix+"a").Val()); diff != "" || len(want) != 12 {
			t.Errorf("the hash differs (-want +got):\n%s", diff)
		}
		eventually(t, "the hash expires", func() bool { return client.TTL(ctx, LookupPrefix+"a").Val() > 0 })
		if ttl := client.TTL(ctx, LookupPrefix+"a").Val(); ttl > 1800*time.Second || ttl < 1790*time.Second {
			t.Errorf("it has %v left", ttl)
		}

		decide(t, client, at(119.9), "a", "hot")
		decide(t, client, at(119.95), "b", "warm")
		eventually(t, "the repetition has been seen", func() bool { return level("b") == "warm" })
		if got := level("a"); got != "cold" {
			t.Errorf("a repetition within the window wins: %s", got)
		}
		decide(t, client, at(120), "a", "hot") // 120 s after the first, a moment after the repetition
		eventually(t, "a later decision wins", func() bool { return level("a") == "hot" })

		decide(t, client, at(121), "a", "cold") // and begins a window of its own

		if err := client.Set(ctx, LookupPrefix+"c", "no hash", 0).Err(); err != nil {
			t.Fatal(err)
		}
		decide(t, client, at(130), "c", "hot")
		client.XAdd(ctx, &redis.XAddArgs{Stream: DecisionStream, Values: []string{"no", "plan"}})
		eventually(t, "all is acknowledged", func() bool {
			return counts(bridge) == [3]uint64{3, 2, 2} && pendingCount(t, client, DecisionStream, BridgeGroup) == 0
		})
		if got := level("a"); got != "hot" {
			t.Errorf("a repetition of the later decision wins: %s", got)
		}
		if got := client.Get(ctx, LookupPrefix+"c").Val(); got != "no hash" {
			t.Errorf("a foreign key was changed: %q", got)
		}
	})
}

// counts are the hashes that were written, the repetitions, and what was malformed.
func counts(b *Bridge) [3]uint64 {
	return [3]uint64{b.written.Load(), b.repeated.Load(), b.malformed.Load()}
}

func TestBridgeRepetitionInOneBatch(t *testing.T) {
	client := embeddedClient(t)
	decide(t, client, "1700000000000-0", "a", "cold")
	decide(t, client, "1700000000001-0", "a", "hot")
	bridge := NewBridge(client, BridgeConfig{}, quiet())
	runs(t, bridge.Run)
	eventually(t, "both are read", func() bool { return counts(bridge) == [3]uint64{1, 1, 0} })
	if got := client.HGet(t.Context(), LookupPrefix+"a", "heat_level").Val(); got != "cold" {
		t.Errorf("heat_level is %s", got)
	}
}

func TestBridgeOutlivesRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	bridge := NewBridge(server.NewClient(func(o *redis.Options) { o.Addr = proxy.Addr() }), BridgeConfig{}, quiet())
	runs(t, bridge.Run)
	ctx := t.Context()
	for n := range 200 {
		switch n {
		case 50:
			proxy.DropReplies(1, "hset")
		case 100:
			proxy.Cut()
		case 150:
			proxy.DropReplies(1, "xack")
		}
		decide(t, server.Client(), fmt.Sprintf("%d-0", 1_700_000_000_000+n), fmt.Sprint("p", n), "cold")
		eventually(t, "the hash is there", func() bool {
			return server.Client().Exists(ctx, fmt.Sprint(LookupPrefix, "p", n)).Val() == 1
		})
	}
	eventually(t, "all is acknowledged", func() bool { return pendingCount(t, server.Client(), DecisionStream, BridgeGroup) == 0 })
	if proxy.Dropped() != 2 {
		t.Errorf("%d replies were lost, want 2", proxy.Dropped())
	}
	for _, key := range server.Client().Keys(ctx, LookupPrefix+"*").Val() {
		if server.Client().TTL(ctx, key).Val() <= 0 {
			t.Errorf("%s never expires", key)
		}
	}
}

func TestRecentIsBounded(t *testing.T) {
	r := recent{since: map[string]time.Time{}}
	begin := time.UnixMilli(1_700_000_000_000)
	for n := range 3000 {
		r.add(fmt.Sprint("p", n%1500), begin.Add(time.Duration(n)*time.Second))
	}
	if len(r.since) != 120 || len(r.order) != 120 {
		t.Errorf("%d plans, %d in order, want 120", len(r.since), len(r.order))
	}
}

// TestAll runs the three together, as the demo does.
func TestAll(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		bridge := NewBridge(client, BridgeConfig{}, quiet())
		runs(t, bridge.Run)
		startGate(t, client, GateConfig{Delay: mustDelay(t, "20ms-40ms")})
		written(t, client, PlannerConfig{Rate: 1000, plans: 300, Seed: 5})
		eventually(t, "every plan has heat", func() bool { return bridge.written.Load() == 300 })
		for n := range uint64(300) {
			hash := client.HGetAll(t.Context(), LookupPrefix+PlanID(5, n)).Val()
			if hash["plan_id"] != PlanID(5, n) {
				t.Fatalf("plan %d: %v", n, hash)
			}
		}
	})
}
