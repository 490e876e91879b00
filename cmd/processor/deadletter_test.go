package main

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/config"
	"heatobserver/internal/redistest"
	"heatobserver/operate"
)

// hourBehind is a Redis whose clock is an hour behind that of this machine.
type hourBehind struct{}

func (hourBehind) DialHook(next redis.DialHook) redis.DialHook { return next }

func (hourBehind) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (hourBehind) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if now, is := cmd.(*redis.TimeCmd); is {
			now.SetVal(now.Val().Add(-time.Hour))
		}
		return err
	}
}

// TestDeadLettersAgeByTheClockOfRedis: what was parked just now stays, whatever the time is here.
func TestDeadLettersAgeByTheClockOfRedis(t *testing.T) {
	const dead = "dead"
	rdb := redistest.Start(t).Client()
	rdb.AddHook(hourBehind{})
	now := rdb.Time(t.Context()).Val()
	var ids []string
	for _, age := range []time.Duration{50 * time.Minute, 10 * time.Minute, time.Minute} {
		id := strconv.FormatInt(now.Add(-age).UnixMilli(), 10) + "-0"
		ids = append(ids, id)
		require.NoError(t, rdb.XAdd(t.Context(), &redis.XAddArgs{
			Stream: dead, ID: id, Values: []string{"reason", "no_symbol", "group", "p28_late", "raw", "{}"},
		}).Err())
	}
	o := operate.New(rdb, operate.Setup{Parts: []config.Names{{Dead: dead}}})

	filter, err := deadletterFilter{From: "-30m", To: "-5m"}.filter(t.Context(), o)
	require.NoError(t, err)
	list, _, err := o.List(t.Context(), filter)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, ids[1], list[0].ID)

	purge := deadletterPurge{OlderThan: 30 * time.Minute, Execute: true}
	report, err := purge.purge(t.Context(), o)
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Deleted)
	left, err := rdb.XRange(t.Context(), dead, "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, left, 2)
	require.Equal(t, ids[1], left[0].ID)
}
