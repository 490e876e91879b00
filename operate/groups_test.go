package operate_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/operate"
)

const cursorEarly = "quantum:p28:cursor:p28_early"

func at(t *testing.T, text string) operate.Position {
	t.Helper()
	p, err := operate.ParsePosition(text)
	require.NoError(t, err)
	return p
}

// readAll is what the group is given from now on.
func (w *world) readAll(group string) (read []string) {
	w.t.Helper()
	for {
		got, err := w.rdb.XReadGroup(w.t.Context(), &redis.XReadGroupArgs{
			Group: group, Consumer: "c", Streams: []string{planStream, ">"}, Count: 700, Block: -1, NoAck: true,
		}).Result()
		if err != nil {
			require.ErrorIs(w.t, err, redis.Nil)
			return read
		}
		for _, m := range got[0].Messages {
			read = append(read, m.ID)
		}
	}
}

// The plan says what is then read, wherever the group goes.
func TestMovePlanIsWhatIsThenRead(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	now := time.Now()
	// 2,500 entries, one a minute up to now, which is as long as this test may take: beyond what one counting script takes
	const n = 2500
	pipe := w.rdb.Pipeline()
	for i := range n {
		id := fmt.Sprintf("%d-0", now.Add(time.Duration(i-n+1)*time.Minute).UnixMilli())
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: planStream, ID: id, Values: []string{"plan_id", fmt.Sprint(i), "symbol", "S"}})
	}
	_, err := pipe.Exec(ctx)
	require.NoError(t, err)
	all, err := w.rdb.XRange(ctx, planStream, "-", "+").Result()
	require.NoError(t, err)
	require.NoError(t, w.rdb.XGroupCreate(ctx, planStream, earlyGroup, "0").Err())

	for _, c := range []struct {
		name, to string
		stands   int // entries before the group
		begins   int // at the entry of this index
	}{
		{"to the beginning", "0", n, 0},
		{"back to an ID, which is not read itself", all[1300].ID, 2000, 1301},
		{"back in time", "-10m", n, n - 10},
		{"back to a time", now.Add(-20 * time.Minute).UTC().Format(time.RFC3339Nano), n, n - 21},
		{"forwards", all[2100].ID, 100, 2101},
		{"to the end", "$", 1, n},
		{"nowhere", all[49].ID, 50, 50},
	} {
		t.Run(c.name, func(t *testing.T) {
			where := "0"
			if c.stands > 0 {
				where = all[c.stands-1].ID
			}
			require.NoError(t, w.rdb.XGroupSetID(ctx, planStream, earlyGroup, where).Err())
			w.operate(func(ctx context.Context, o *operate.Operator) {
				plan, err := o.Move(ctx, planStream, earlyGroup, at(t, c.to), false)
				require.NoError(t, err)
				require.EqualValues(t, max(0, c.stands-c.begins), plan.Again.Count)
				require.EqualValues(t, max(0, c.begins-c.stands), plan.Passed.Count)
				info, err := w.rdb.XInfoGroups(ctx, planStream).Result()
				require.NoError(t, err)
				require.Equal(t, where, info[0].LastDeliveredID, "a plan changes nothing")
				// the dedupe keys of what is older than 10 min are gone
				require.EqualValues(t, max(0, min(c.stands, n-10)-c.begins), plan.Forgotten.Count)

				done, err := o.Move(ctx, planStream, earlyGroup, at(t, c.to), true)
				require.NoError(t, err)
				require.True(t, done.Executed)
				require.Equal(t, plan.Again.Count, done.Again.Count)
				require.Equal(t, done.To, w.rdb.Get(ctx, cursorEarly).Val(), "the cursor goes with the group")

				read := w.readAll(earlyGroup)
				require.Len(t, read, n-c.begins)
				if plan.Again.Count > 0 {
					require.Equal(t, plan.Again.First, read[0])
					require.Equal(t, plan.Again.Last, read[plan.Again.Count-1])
				}
				if plan.Passed.Count > 0 {
					require.Equal(t, all[c.stands].ID, plan.Passed.First)
					require.Equal(t, all[c.begins-1].ID, plan.Passed.Last)
					require.NotContains(t, read, plan.Passed.Last)
				}
			})
		})
	}
}

func TestMoveKeepsTheCursorBelowWhatIsPending(t *testing.T) {
	w := newWorld(t)
	for i := 1; i <= 5; i++ {
		require.NoError(t, w.rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, ID: fmt.Sprintf("%d-0", i*10), Values: []string{"a", "b"}}).Err())
	}
	require.NoError(t, w.rdb.XGroupCreate(t.Context(), planStream, earlyGroup, "20-0").Err())
	require.NoError(t, w.rdb.Do(t.Context(), "XREADGROUP", "GROUP", earlyGroup, "c", "COUNT", 1, "STREAMS", planStream, ">").Err()) // 30-0
	w.operate(func(ctx context.Context, o *operate.Operator) {
		m, err := o.Move(ctx, planStream, earlyGroup, operate.End, true)
		require.NoError(t, err)
		require.EqualValues(t, 1, m.Pending)
		require.Equal(t, "29-18446744073709551615", w.rdb.Get(ctx, cursorEarly).Val())
		_, err = o.Move(ctx, planStream, earlyGroup, at(t, "10-0"), true)
		require.NoError(t, err)
		require.Equal(t, "10-0", w.rdb.Get(ctx, cursorEarly).Val())
		_, err = o.Move(ctx, planStream, earlyGroup, at(t, "51-0"), true)
		require.ErrorContains(t, err, "the stream ends at 50-0")
		_, err = o.Move(ctx, planStream, lateGroup, operate.End, true)
		require.ErrorIs(t, err, operate.ErrNotFound)
		_, err = o.Move(ctx, "no:stream", lateGroup, operate.End, false)
		require.ErrorIs(t, err, operate.ErrNotFound)
	})
}

func TestParsePosition(t *testing.T) {
	for _, bad := range []string{"", "yesterday", "--24h", "-24", "-", "*", ">", "1-1-1", "+24h"} {
		_, err := operate.ParsePosition(bad)
		require.Error(t, err, bad)
	}
}

func TestRemoveConsumer(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	const n = 1200 // more than one script hands over
	var ids []string
	for range n {
		ids = append(ids, w.add(planStream, "plan_id", "p", "symbol", "S"))
	}
	require.NoError(t, w.rdb.XGroupCreate(ctx, planStream, earlyGroup, "0").Err())
	require.NoError(t, w.rdb.Do(ctx, "XREADGROUP", "GROUP", earlyGroup, "gone", "COUNT", n, "STREAMS", planStream, ">").Err())
	for _, name := range []string{"heir", "empty"} {
		require.NoError(t, w.rdb.XGroupCreateConsumer(ctx, planStream, earlyGroup, name).Err())
	}
	require.NoError(t, w.rdb.XDel(ctx, planStream, ids[3], ids[700]).Err())
	names := func() (list []string) {
		for _, c := range w.rdb.XInfoConsumers(ctx, planStream, earlyGroup).Val() {
			list = append(list, c.Name)
		}
		return list
	}
	nudged := w.rdb.Subscribe(ctx, "quantum:p28:nudge")
	defer nudged.Close()
	_, err := nudged.Receive(ctx)
	require.NoError(t, err)

	w.operate(func(ctx context.Context, o *operate.Operator) {
		_, err := o.RemoveConsumer(ctx, planStream, earlyGroup, "gone", "", true)
		require.ErrorIs(t, err, operate.ErrPending)
		for _, heir := range []string{"nobody", "gone"} {
			_, err = o.RemoveConsumer(ctx, planStream, earlyGroup, "gone", heir, true)
			require.ErrorContains(t, err, "cannot take over")
		}
		_, err = o.RemoveConsumer(ctx, planStream, earlyGroup, "unknown", "", true)
		require.ErrorIs(t, err, operate.ErrNotFound)

		plan, err := o.RemoveConsumer(ctx, planStream, earlyGroup, "gone", "heir", false)
		require.NoError(t, err)
		require.EqualValues(t, n, plan.Pending)
		require.Len(t, names(), 3, "a plan changes nothing")

		done, err := o.RemoveConsumer(ctx, planStream, earlyGroup, "gone", "heir", true)
		require.NoError(t, err)
		require.EqualValues(t, n-2, done.Handed)
		require.EqualValues(t, 2, done.Trimmed)
		require.Equal(t, "2", w.rdb.HGet(ctx, totalsKey, "trimmed:"+earlyGroup).Val())
		empty, err := o.RemoveConsumer(ctx, planStream, earlyGroup, "empty", "", true)
		require.NoError(t, err)
		require.True(t, empty.Executed)
	})
	require.Equal(t, []string{"heir"}, names())
	message, err := nudged.ReceiveTimeout(ctx, patience)
	require.NoError(t, err)
	require.Equal(t, earlyGroup, message.(*redis.Message).Payload)
	claimed, _, err := w.rdb.XAutoClaimJustID(ctx, &redis.XAutoClaimArgs{
		Stream: planStream, Group: earlyGroup, Consumer: "another", MinIdle: 5 * time.Second, Start: "0", Count: n,
	}).Result()
	require.NoError(t, err)
	require.Len(t, claimed, n-2, "anybody can claim it at once")
	_, err = entry.ParseID(claimed[0])
	require.NoError(t, err)
}

// interruptedWhen runs do through a slow connection, and cancels its context once Redis has carried out what done looks for.
func (w *world) interruptedWhen(done func() bool, do func(ctx context.Context, o *operate.Operator)) {
	w.t.Helper()
	proxy := redistest.NewProxy(w.t, w.server.Addr())
	w.cfg.Redis.URL = "redis://" + proxy.Addr()
	w.operate(func(ctx context.Context, o *operate.Operator) {
		proxy.Latency(500 * time.Millisecond)
		ctx, cancel := context.WithCancel(ctx)
		var looking sync.WaitGroup
		looking.Go(func() {
			defer cancel()
			for tick := time.Tick(10 * time.Millisecond); !done() && ctx.Err() == nil; {
				<-tick
			}
		})
		do(ctx, o)
		cancel()
		looking.Wait()
	})
}

// Once the group has moved, it is told what that means, even to somebody who has stopped waiting.
func TestMoveIsCountedThoughInterrupted(t *testing.T) {
	w := newWorld(t)
	first := w.add(planStream, "plan_id", "p1", "symbol", "S")
	last := w.add(planStream, "plan_id", "p2", "symbol", "S")
	require.NoError(t, w.rdb.XGroupCreate(t.Context(), planStream, earlyGroup, "0").Err())
	moved := func() bool {
		groups, err := w.rdb.XInfoGroups(t.Context(), planStream).Result()
		return err == nil && groups[0].LastDeliveredID == last
	}
	w.interruptedWhen(moved, func(ctx context.Context, o *operate.Operator) {
		m, err := o.Move(ctx, planStream, earlyGroup, operate.End, true)
		require.ErrorIs(t, ctx.Err(), context.Canceled)
		require.NoError(t, err)
		require.True(t, m.Executed)
		require.Equal(t, operate.Range{Count: 2, First: first, Last: last}, m.Passed)
	})
}

// What was handed over before an error is told, to the workers too.
func TestRemoveConsumerInterrupted(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	const n = 1200 // more than one script hands over
	pipe := w.rdb.Pipeline()
	for range n {
		pipe.XAdd(ctx, &redis.XAddArgs{Stream: planStream, Values: []string{"plan_id", "p", "symbol", "S"}})
	}
	pipe.XGroupCreate(ctx, planStream, earlyGroup, "0")
	pipe.Do(ctx, "XREADGROUP", "GROUP", earlyGroup, "gone", "COUNT", n, "STREAMS", planStream, ">")
	pipe.XGroupCreateConsumer(ctx, planStream, earlyGroup, "heir")
	_, err := pipe.Exec(ctx)
	require.NoError(t, err)
	nudged := w.rdb.Subscribe(ctx, "quantum:p28:nudge")
	defer nudged.Close()
	_, err = nudged.Receive(ctx)
	require.NoError(t, err)
	pending := func() (n int64) {
		for _, c := range w.rdb.XInfoConsumers(ctx, planStream, earlyGroup).Val() {
			if c.Name == "heir" {
				n = c.Pending
			}
		}
		return n
	}
	w.interruptedWhen(func() bool { return pending() > 0 }, func(ctx context.Context, o *operate.Operator) {
		r, err := o.RemoveConsumer(ctx, planStream, earlyGroup, "gone", "heir", true)
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, r.Executed)
		require.Positive(t, r.Handed)
		require.Equal(t, pending(), r.Handed)
	})
	message, err := nudged.ReceiveTimeout(ctx, patience)
	require.NoError(t, err)
	require.Equal(t, earlyGroup, message.(*redis.Message).Payload)
}
