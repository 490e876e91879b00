package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// Each run writes plans of its own, unless it is told which.
func TestWhichPlans(t *testing.T) {
	seven := uint64(7)
	for _, w := range []whichPlans{{Seed: &seven}, {First: new(uint64)}, {Seed: &seven, First: &seven}} {
		seed, first := w.numbers()
		again, firstAgain := w.numbers()
		require.Equal(t, []uint64{seed, first}, []uint64{again, firstAgain})
		require.Contains(t, []uint64{0, 7}, first)
	}
	_, first := whichPlans{}.numbers()
	_, next := whichPlans{}.numbers()
	require.Greater(t, next, first)

	server := redistest.Start(t)
	env := []string{"REDIS_URL=" + server.URL()}
	seen := map[any]int{}
	count := func(args ...string) int {
		t.Helper()
		code, _, stderr := processor(t, env, append([]string{"load", "--plans", "20", "--rate", "10000"}, args...)...)
		require.Zero(t, code, stderr)
		entries, err := server.Client().XRange(t.Context(), pipeline.PlanStream, "-", "+").Result()
		require.NoError(t, err)
		clear(seen)
		for _, e := range entries {
			seen[e.Values["plan_id"]]++
		}
		return len(seen)
	}
	require.Equal(t, 20, count())
	require.Equal(t, 40, count())
	require.Equal(t, 60, count("--seed", "1"))
	require.Equal(t, 60, count("--first", "0"), "the same as with --seed 1")
}
