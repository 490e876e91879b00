package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
)

// Redis 7.0 forgets a group's count of entries over a restart, and what had been read would pass for lost.
func TestTendCountsNothingLostAfterARestart(t *testing.T) {
	server := redistest.Start(t, redistest.WithAOF("always"))
	s := newBench(t, backend{real: true, client: server.Client(), server: server})
	lost := func(want int64) {
		t.Helper()
		_, got := s.tend()
		require.Equal(t, want, got)
	}
	s.add("1-0", "2-0", "3-0", "4-0")
	s.read("me", 1)
	require.NoError(t, s.client.XTrimMaxLen(s.ctx, "in", 2).Err())
	lost(1) // and the count is set right, which Redis persists
	s.read("me", 2)
	s.add("5-0", "6-0", "7-0")
	s.read("me", 3)
	lost(0)

	server.Kill()
	server.Restart()
	require.Eventually(t, func() bool { return s.client.Ping(s.ctx).Err() == nil }, 30*time.Second, 10*time.Millisecond)
	lost(0)

	s.add("8-0", "9-0", "10-0")
	s.read("me", 1)
	require.NoError(t, s.client.XTrimMaxLen(s.ctx, "in", 1).Err())
	lost(1) // what is lost from then on is found again
}

// TestGroupRests: a group of which nothing was taken and nothing is in hand need not be tended each second.
func TestGroupRests(t *testing.T) {
	t.Parallel()
	s := subscription{held: map[entry.ID]*Delivery{}}
	require.False(t, s.stirred())
	id := entry.ID{Ms: 1}
	s.take([]Entry{{ID: id}}, nil)
	require.True(t, s.stirred())
	require.True(t, s.stirred(), "it is in hand")
	delete(s.held, id)
	require.False(t, s.stirred())
	s.take([]Entry{{ID: id}}, nil)
	delete(s.held, id)
	require.True(t, s.stirred(), "it came and went between two ticks")
	require.False(t, s.stirred())
}
