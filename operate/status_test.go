package operate_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/operate"
)

// Each way of being stuck is said, and what is well is not.
func TestStatusSaysWhatIsStuck(t *testing.T) {
	read := func(t *testing.T, w *world, group, consumer string, n int) {
		require.NoError(t, w.rdb.Do(t.Context(), "XREADGROUP", "GROUP", group, consumer, "COUNT", n, "STREAMS", planStream, ">").Err())
	}
	old := func(w *world, ago time.Duration) {
		id := time.Now().Add(-ago).UnixMilli()
		require.NoError(w.t, w.rdb.XAdd(w.t.Context(), &redis.XAddArgs{Stream: planStream, ID: itoa(id) + "-0", Values: []string{"plan_id", "p"}}).Err())
	}
	groups := func(t *testing.T, w *world) {
		for _, g := range []string{earlyGroup, lateGroup} {
			require.NoError(t, w.rdb.XGroupCreateMkStream(t.Context(), planStream, g, "0").Err())
		}
	}
	for _, c := range []struct {
		name     string
		settings []string
		limits   operate.Limits
		prepare  func(t *testing.T, w *world)
		want     []string // a part of each line
	}{
		{
			name: "nothing has run yet", prepare: func(*testing.T, *world) {},
			want: []string{"group p28_early of quantum:stream:apply.plan does not exist", "group p28_late of quantum:stream:apply.plan does not exist"},
		},
		{
			name: "switched off", settings: []string{"P28_LATE_OBS_ENABLED", "false"}, prepare: func(*testing.T, *world) {},
			want: []string{"group p28_early of quantum:stream:apply.plan does not exist"},
		},
		{name: "groups with nothing to do", prepare: groups},
		{
			name: "unread and nobody there", prepare: func(t *testing.T, w *world) { groups(t, w); old(w, time.Second) },
			want: []string{"p28_early of quantum:stream:apply.plan has no live consumer while 1 entries are unread", "p28_late"},
		},
		{
			name: "behind",
			prepare: func(t *testing.T, w *world) {
				groups(t, w)
				old(w, 2*time.Minute+time.Second)
				old(w, 2*time.Minute)
				for _, g := range []string{earlyGroup, lateGroup} {
					read(t, w, g, "c", 1)
				}
			},
			want: []string{"p28_early of quantum:stream:apply.plan is 2m0s behind, more than 1m0s", "p28_late"},
		},
		{
			name:   "pending for too long",
			limits: operate.Limits{Confirm: 10 * time.Millisecond},
			prepare: func(t *testing.T, w *world) {
				groups(t, w)
				old(w, 30*time.Second)
				read(t, w, earlyGroup, "c", 1)
				read(t, w, lateGroup, "c", 1)
				require.NoError(t, w.rdb.Do(t.Context(), "XACK", planStream, lateGroup, firstID(w)).Err())
			},
			want: []string{"p28_early of quantum:stream:apply.plan has entry"},
		},
		{
			name:   "pending, but just old because the group catches up",
			limits: operate.Limits{Confirm: 10 * time.Millisecond, MaxBehind: time.Hour},
			prepare: func(t *testing.T, w *world) {
				groups(t, w)
				old(w, 10*time.Minute)
				old(w, 10*time.Minute-time.Second)
				for _, g := range []string{earlyGroup, lateGroup} {
					read(t, w, g, "c", 1)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.settings...)
			c.prepare(t, w)
			w.operate(func(ctx context.Context, o *operate.Operator) {
				s, err := o.Status(ctx, c.limits)
				require.NoError(t, err)
				require.Len(t, s.Stuck, len(c.want), "%q", s.Stuck)
				for i, part := range c.want {
					require.Contains(t, s.Stuck[i], part)
				}
			})
		})
	}
}

func TestStatusShowsUnknownLagAsUnknown(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 4 {
		ids = append(ids, w.add(planStream, "plan_id", "p"))
	}
	require.NoError(t, w.rdb.XGroupCreate(t.Context(), planStream, earlyGroup, ids[1]).Err())
	require.NoError(t, w.rdb.XDel(t.Context(), planStream, ids[2]).Err())
	w.operate(func(ctx context.Context, o *operate.Operator) {
		s, err := o.Status(ctx, operate.Limits{})
		require.NoError(t, err)
		require.Nil(t, s.Groups[0].Lag)
		require.Contains(t, strings.Join(s.Stuck, "\n"), "Redis does not know how many")
	})
}

func firstID(w *world) string {
	all, err := w.rdb.XRange(w.t.Context(), planStream, "-", "+").Result()
	require.NoError(w.t, err)
	return all[0].ID
}
