package pipeline

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestForeign(t *testing.T) {
	ours := []string{"p28_early", "p28_late", GateGroup}
	plan := func(c redis.UniversalClient, source string) {
		c.XAdd(t.Context(), &redis.XAddArgs{Stream: PlanStream, Values: []string{"plan_id", "p", "symbol", "s", "source", source}})
	}
	tests := []struct {
		name  string
		setUp func(t *testing.T, c redis.UniversalClient)
		want  string // part of the reason, "" when it is ours
	}{
		{"absent", func(*testing.T, redis.UniversalClient) {}, ""},
		{"ours", func(t *testing.T, c redis.UniversalClient) {
			loaded(t, c, LoadConfig{Rate: 1e6, Plans: 300, Malformed: 0.3})
			c.XGroupCreate(t.Context(), PlanStream, "p28_early", "0")
			gate, _ := startGate(t, c, GateConfig{})
			eventually(t, "the gate has read", func() bool { return gate.decided.Load() > 0 })
		}, ""},
		{"no stream", func(t *testing.T, c redis.UniversalClient) { c.Set(t.Context(), PlanStream, "x", 0) }, "is a string"},
		{"foreign group", func(t *testing.T, c redis.UniversalClient) {
			c.XGroupCreateMkStream(t.Context(), PlanStream, "execution", "0")
		}, `group "execution"`},
		{"the heat gate of production", func(t *testing.T, c redis.UniversalClient) {
			c.XGroupCreateMkStream(t.Context(), PlanStream, GateGroup, "0")
			c.XGroupCreateConsumer(t.Context(), PlanStream, GateGroup, "heat_gate_1")
		}, `read by "heat_gate_1"`},
		{"foreign entry at the end", func(t *testing.T, c redis.UniversalClient) {
			written(t, c, PlannerConfig{Rate: 1e6, plans: 300})
			plan(c, "apply_layer")
		}, "not written by a stand-in"},
		{"foreign entry at the beginning", func(t *testing.T, c redis.UniversalClient) {
			plan(c, "")
			written(t, c, PlannerConfig{Rate: 1e6, plans: 300})
		}, "not written by a stand-in"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, client *redis.Client) {
				test.setUp(t, client)
				err := Foreign(t.Context(), client, []string{"another", PlanStream}, ours)
				if errors.Is(err, ErrForeign) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %q", err, test.want)
				}
			})
		})
	}
}

func TestForeignReaders(t *testing.T) {
	onBoth(t, func(t *testing.T, client *redis.Client) {
		look := func() error {
			return ForeignReaders(t.Context(), client, []string{DecisionStream}, []string{BridgeGroup})
		}
		require.NoError(t, look(), "absent")
		require.NoError(t, client.XGroupCreateMkStream(t.Context(), DecisionStream, BridgeGroup, "0").Err())
		client.XGroupCreateConsumer(t.Context(), DecisionStream, BridgeGroup, standIn)
		client.XAdd(t.Context(), &redis.XAddArgs{Stream: DecisionStream, Values: []string{"plan_id", "p"}})
		require.NoError(t, look(), "ours, whoever writes")
		client.XGroupCreateConsumer(t.Context(), DecisionStream, BridgeGroup, "b1")
		require.ErrorIs(t, look(), ErrForeign)
		require.ErrorContains(t, look(), `read by "b1"`)
		client.XGroupDelConsumer(t.Context(), DecisionStream, BridgeGroup, "b1")
		require.NoError(t, client.XGroupCreate(t.Context(), DecisionStream, "another", "0").Err())
		require.ErrorContains(t, look(), `group "another"`)
		client.Set(t.Context(), DecisionStream, "x", 0)
		require.ErrorContains(t, look(), "is a string")
	})
}
