package pipeline

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/internal/redistest"
)

func TestPlanPairs(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0)
	want := []string{
		"plan_id", "symbol", "action", "kill_score", "k_regime_flip", "k_sigma_spike", "k_ts_drop", "k_age_penalty",
		"new_sl_proposed", "R_net", "decision", "reason_codes", "steps", "qty", "side", "source", "price", "reduceOnly", "timestamp",
	}
	seen := map[string]bool{}
	for n := range uint64(1000) {
		pairs := PlanPairs(1, n, at)
		var names []string
		for i := 0; i < len(pairs); i += 2 {
			names = append(names, pairs[i])
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Fatalf("the 19 names differ (-want +got):\n%s", diff)
		}
		plan, err := event.DecodePlan(entry.ID{}, entry.Make(pairs...))
		if err != nil || plan.PlanID != PlanID(1, n) || seen[plan.PlanID] {
			t.Fatalf("plan %d: %+v, %v", n, plan, err)
		}
		seen[plan.PlanID] = true
		if diff := cmp.Diff(pairs, PlanPairs(1, n, at)); diff != "" {
			t.Fatalf("the same plan differs:\n%s", diff)
		}
	}
	if PlanID(1, 0) == PlanID(2, 0) {
		t.Error("the seed changes nothing")
	}
}

func TestMalformedPlansAreMalformed(t *testing.T) {
	reasons := map[event.DeadReason]int{}
	for n := range uint64(1000) {
		_, err := event.DecodePlan(entry.ID{}, entry.Make(malformedPairs(1, n, time.Unix(0, 0))...))
		var bad *event.MalformedError
		if !errors.As(err, &bad) {
			t.Fatalf("entry %d is well formed: %v", n, err)
		}
		reasons[bad.Reason]++
	}
	for _, reason := range []event.DeadReason{event.NoPlanID, event.NoSymbol, event.BadField, event.BadEnvelope, event.TooLarge} {
		if reasons[reason] == 0 {
			t.Errorf("none is %s", reason)
		}
	}
}

func TestPlannerWrites(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		require.EqualValues(t, 1000, written(t, client, PlannerConfig{Rate: 5000, plans: 1000, Seed: 3}))
		messages, err := client.XRange(t.Context(), PlanStream, "-", "+").Result()
		require.NoError(t, err)
		require.Len(t, messages, 1000)
		for i, message := range messages {
			plan, err := event.DecodePlan(entry.ID{}, fields(message))
			require.NoError(t, err)
			require.Equal(t, PlanID(3, uint64(i)), plan.PlanID)
		}
	})
}

// TestPlannerKeepsRate: the load does not yield to a slow Redis.
func TestPlannerKeepsRate(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	proxy.Latency(30 * time.Millisecond)
	client := server.NewClient(func(o *redis.Options) { o.Addr = proxy.Addr() })
	began := time.Now()
	count := written(t, client, PlannerConfig{Rate: 2000, plans: 1000})
	if took := time.Since(began); count != 1000 || took < 450*time.Millisecond || took > 3*time.Second {
		t.Errorf("%d after %v, want 1000 in half a second", count, took)
	}
}

func TestPlannerOutlivesRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Addr())
	client := server.NewClient(func(o *redis.Options) { o.Addr = proxy.Addr() })
	planner, err := NewPlanner(client, PlannerConfig{Rate: 1000, plans: 600}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	runs(t, planner.Run)
	eventually(t, "the first plans are written", func() bool { return planner.Written() > 50 })
	proxy.Refuse(true)
	proxy.Cut()
	eventually(t, "it falls behind", func() bool { return planner.due(time.Since(began)) > planner.Written()+50 })
	proxy.Refuse(false)
	eventually(t, "all are written", func() bool { return planner.Written() == 600 })
	ids := map[any]bool{}
	for _, message := range server.Client().XRange(t.Context(), PlanStream, "-", "+").Val() {
		ids[message.Values["plan_id"]] = true
	}
	if len(ids) != 600 {
		t.Errorf("%d plans are in the stream, want 600", len(ids))
	}
}

func TestPlannerTrims(t *testing.T) {
	t.Parallel()
	client := embeddedClient(t)
	written(t, client, PlannerConfig{Rate: 1e6, plans: 300, MaxLen: 100})
	if n := client.XLen(t.Context(), PlanStream).Val(); n != 100 {
		t.Errorf("%d entries, want 100", n)
	}
	written(t, client, PlannerConfig{Rate: 1e6, plans: 300, MaxLen: -1, Streams: []string{"other"}})
	if n := client.XLen(t.Context(), "other").Val(); n != 300 {
		t.Errorf("%d entries, want 300", n)
	}
}

func TestPlannerGivesUpOnWrongType(t *testing.T) {
	client := embeddedClient(t)
	client.Set(t.Context(), PlanStream, "x", 0)
	planner, err := NewPlanner(client, PlannerConfig{Rate: 100}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := planner.Run(ctx); !redis.HasErrorPrefix(err, "WRONGTYPE") {
		t.Errorf("got %v, want WRONGTYPE", err)
	}
}

func TestSettingsAreChecked(t *testing.T) {
	client := embeddedClient(t)
	for _, config := range []PlannerConfig{{}, {Rate: -1}, {Rate: 1e9}} {
		if _, err := NewPlanner(client, config, quiet()); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
}
