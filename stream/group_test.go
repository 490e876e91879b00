package stream

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
)

// heals counts what is told of groups.
type heals struct {
	NoEvents
	n atomic.Int64
}

func (h *heals) Healed(string, string) { h.n.Add(1) }

// TestEnsureGroup: where a group begins, what is remembered of it, and when that is healing.
func TestEnsureGroup(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client()
	const cursor = "stream:cursor:g:in"
	past := entry.ID{Ms: 7, Seq: 3}
	add := func(id string) {
		require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: "in", ID: id, Values: []string{"a", "b"}}).Err())
	}
	old := func() { add("7-3") }
	lookback := func(id entry.ID) bool {
		return time.Since(id.Time()) > time.Minute && time.Since(id.Time()) < time.Hour
	}
	at := func(want entry.ID) func(entry.ID) bool { return func(id entry.ID) bool { return id == want } }
	for _, c := range []struct {
		name   string
		begin  string // SubscriberConfig.Start
		before func()
		fails  string
		start  func(entry.ID) bool
		heals  int64
	}{
		{name: "no stream", begin: StartAuto, start: at(entry.ID{})},
		{name: "old history", begin: StartAuto, before: old, start: at(past)},
		{name: "history", begin: StartAuto, before: func() { old(); add("*") }, start: lookback},
		{name: "history, from its beginning", begin: StartFirst, before: old, start: at(entry.ID{})},
		{name: "history, from its end", begin: StartNew, before: old, start: at(past)},
		{name: "a cursor at the end", begin: StartNew, before: func() { old(); client.Set(t.Context(), cursor, "7-3", 0) }, start: at(past), heals: 1},
		{name: "a cursor before the end", begin: StartNew, before: func() { old(); client.Set(t.Context(), cursor, "7-2", 0) },
			start: at(entry.ID{Ms: 7, Seq: 2}), heals: 1},
		{name: "a cursor behind the end", begin: StartNew, before: func() { old(); client.Set(t.Context(), cursor, "7-4", 0) }, start: at(entry.ID{}), heals: 1},
		{name: "it is there", begin: StartAuto, before: func() {
			old()
			client.XGroupCreate(t.Context(), "in", "g", "7-3")
			client.Set(t.Context(), cursor, "7-3", 0)
		}, start: at(past)},
		{name: "another type", begin: StartAuto, before: func() { client.Set(t.Context(), "in", "x", 0) }, fails: "inspect stream in: WRONGTYPE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, client.FlushAll(t.Context()).Err())
			if c.before != nil {
				c.before()
			}
			var told heals
			s, err := NewSubscriber(client, SubscriberConfig{Group: "g", Consumer: "me", Start: c.begin, Lookback: time.Minute, Events: &told,
				Logger: slog.New(slog.DiscardHandler)})
			require.NoError(t, err)
			sub := newSubscription(t.Context(), s, "in")
			err = sub.ensureGroup(t.Context())
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				require.False(t, sub.state().GroupExists)
				return
			}
			require.NoError(t, err)
			began := func() entry.ID {
				groups := client.XInfoGroups(t.Context(), "in").Val()
				require.Len(t, groups, 1)
				id, err := entry.ParseID(groups[0].LastDeliveredID)
				require.NoError(t, err)
				return id
			}
			first := began()
			require.True(t, c.start(first), first)
			require.Equal(t, c.heals, told.n.Load())
			require.True(t, sub.state().GroupExists)

			// It vanishes before a cursor is written: it begins again where it began.
			require.NoError(t, client.XGroupDestroy(t.Context(), "in", "g").Err())
			require.NoError(t, sub.heal(t.Context()))
			require.Equal(t, c.heals+1, told.n.Load())
			require.Equal(t, first, began())
		})
	}
}
