package stream_test

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/stream"
)

// Everything that is shown of a group.
func TestInspect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	inspect := func() stream.GroupState {
		t.Helper()
		state, err := stream.Inspect(w.ctx, w.admin, testStream, testGroup)
		require.NoError(t, err)
		return state
	}
	require.Equal(t, stream.GroupState{Stream: testStream, Group: testGroup, Lag: stream.UnknownLag}, inspect(), "neither stream nor group")

	now, err := w.admin.Time(w.ctx).Result()
	require.NoError(t, err)
	var ids []entry.ID
	for hours := 5; hours > 0; hours-- {
		id := entry.IDAt(now.Add(time.Duration(-hours) * time.Hour))
		ids = append(ids, id)
		require.NoError(t, w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: testStream, ID: id.String(), Values: []string{"n", "1"}}).Err())
	}
	require.False(t, inspect().Exists, "a stream without the group")
	w.group()
	state := inspect()
	require.Empty(t, state.Consumers)
	require.Zero(t, state.OldestPending)
	require.InDelta(t, 5, state.Behind.Hours(), 0.1)

	w.readAs("a", 1)
	w.readAs("b", 2)
	state = inspect()
	require.InDelta(t, 5, state.OldestPending.Hours(), 0.1)
	require.InDelta(t, 2, state.Behind.Hours(), 0.1)
	state.OldestPending, state.Behind = 0, 0
	for i := range state.Consumers {
		require.Less(t, state.Consumers[i].Idle, time.Minute)
		state.Consumers[i].Idle = 0
	}
	require.Equal(t, stream.GroupState{
		Stream: testStream, Group: testGroup, Exists: true, Length: 5, Lag: 2, Pending: 3, LastDelivered: ids[2], LastGenerated: ids[4],
		Consumers: []stream.ConsumerState{{Name: "a", Pending: 1}, {Name: "b", Pending: 2}},
	}, state)

	w.admin.XDel(w.ctx, testStream, ids[3].String(), ids[4].String())
	state = inspect()
	require.Zero(t, state.Lag, "nothing is left to read, whatever Redis says")
	require.Zero(t, state.Behind)

	w.server.Stop()
	_, err = stream.Inspect(w.ctx, w.admin, testStream, testGroup)
	require.ErrorContains(t, err, "inspect group g of in")
}
