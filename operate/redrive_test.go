package operate_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/operate"
	"heatobserver/stream"
)

func ids(t *testing.T, list []operate.DeadLetter) []entry.ID {
	t.Helper()
	var out []entry.ID
	for _, d := range list {
		id, err := entry.ParseID(d.ID)
		require.NoError(t, err)
		out = append(out, id)
	}
	return out
}

// A plan without a symbol is a dead letter of both groups. Redriven as it is it fails again; completed it is observed
// once by each group, as the entry that it was.
func TestRedriveEndToEnd(t *testing.T) {
	w := newWorld(t)
	old := w.add(planStream, "plan_id", "p1", "decision", "EXECUTE")
	w.observe()
	w.eventually("both groups park it", func() bool { return w.len(deadStream) == 2 })

	w.operate(func(ctx context.Context, o *operate.Operator) {
		report, err := o.Redrive(ctx, operate.Selection{}, nil, true)
		require.NoError(t, err)
		require.Equal(t, operate.RedriveCounts{Redriven: 2}, report.Counts)
		w.eventually("it is parked again, by each group for itself", func() bool { return w.len(deadStream) == 2 && w.idle() })
		list, total, err := o.List(ctx, operate.Filter{})
		require.NoError(t, err)
		require.EqualValues(t, 2, total)
		groups := []string{}
		for _, d := range list {
			groups = append(groups, d.Group)
			require.Equal(t, planStream, d.Stream)
			require.Equal(t, old, d.EntryID, "it names the original")
			require.Equal(t, "no_symbol", d.Reason)
			require.JSONEq(t, `{"plan_id":"p1","decision":"EXECUTE"}`, string(d.Raw))
		}
		require.ElementsMatch(t, []string{earlyGroup, lateGroup}, groups)
		require.Empty(t, w.observations("p1"))

		// the plan is far in the past for the late group: it looks once, and its publish time is that of the original
		early := operate.Selection{Filter: operate.Filter{Group: earlyGroup}}
		set := []string{"symbol", "BTCUSDT"}
		plan, err := o.Redrive(ctx, early, set, false)
		require.NoError(t, err)
		require.Equal(t, operate.RedriveCounts{WouldRedrive: 1}, plan.Counts)
		require.EqualValues(t, 2, w.len(deadStream), "a plan changes nothing")

		done, err := o.Redrive(ctx, early, set, true)
		require.NoError(t, err)
		require.Equal(t, 1, done.Counts.Redriven)
		w.eventually("early observes it", func() bool { return len(w.observations("p1")) == 1 && w.idle() })
		require.Equal(t, []string{"create_apply_plan missing " + old}, w.observations("p1"), "for its own group only")

		again, err := o.Redrive(ctx, operate.Selection{IDs: []entry.ID{mustID(t, done.Items[0].ID)}}, set, true)
		require.NoError(t, err)
		require.Equal(t, operate.RedriveCounts{Gone: 1}, again.Counts, "a dead letter is redriven once")

		_, err = o.Redrive(ctx, operate.Selection{Filter: operate.Filter{Group: lateGroup}}, set, true)
		require.NoError(t, err)
		w.eventually("late observes it", func() bool { return len(w.observations("p1")) == 2 && w.idle() })
		require.Equal(t, "publish_plan_post", strings.Fields(w.observations("p1")[1])[0])
		require.Equal(t, old, strings.Fields(w.observations("p1")[1])[2])

		status, err := o.Status(ctx, operate.Limits{})
		require.NoError(t, err)
		require.Empty(t, status.Stuck)
		require.Equal(t, operate.Totals{Dead: 2, Redriven: 2}, status.Totals[earlyGroup])
	})
	require.LessOrEqual(t, w.len(redriveStream), int64(2), "what everybody has read was trimmed away")
}

func TestRedriveOfWhatWasObservedIsADuplicate(t *testing.T) {
	w := newWorld(t)
	good := w.add(planStream, "plan_id", "p2", "symbol", "BTCUSDT")
	bad := w.add(planStream, "plan_id", "p2")
	w.observe()
	w.eventually("the good one is observed", func() bool { return len(w.observations("p2")) == 2 && w.len(deadStream) == 2 })
	w.operate(func(ctx context.Context, o *operate.Operator) {
		_, err := o.Redrive(ctx, operate.Selection{}, []string{"symbol", "BTCUSDT"}, true)
		require.NoError(t, err)
		w.eventually("duplicates are counted", func() bool {
			n, _ := w.rdb.HMGet(ctx, totalsKey, "duplicate:"+earlyGroup, "duplicate:"+lateGroup).Result()
			return len(n) == 2 && n[0] == "1" && n[1] == "1"
		})
	})
	for _, o := range w.observations("p2") {
		require.NotContains(t, o, bad)
		require.Contains(t, o, good)
	}
	require.Len(t, w.observations("p2"), 2)
}

// Whatever stands in the redrive stream, the subscription goes on.
func TestMalformedRedriveEntries(t *testing.T) {
	w := newWorld(t)
	w.add(planStream, "plan_id", "first", "symbol", "S")
	w.observe()
	w.add(redriveStream, "plan_id", "x")                                                                                // no head at all: one for each group
	w.add(redriveStream, "redrive_group", earlyGroup, "redrive_stream", planStream, "redrive_id", "nonsense", "a", "b") // early's
	w.add(redriveStream, "redrive_stream", planStream, "redrive_group", earlyGroup, "redrive_id", "1-1")                // wrong order: each
	w.add(redriveStream, "redrive_group", "elsewhere", "redrive_stream", "s", "redrive_id", "1-1", "a", "b")            // nobody's
	w.add(redriveStream, "redrive_group", earlyGroup, "redrive_stream", planStream, "redrive_id", "1700000000000-7",
		"plan_id", "p3", "symbol", "S", "redrive_group", "a field of the plan", "redrive_id", "another")
	w.eventually("everything is read", func() bool { return w.idle() && w.len(deadStream) == 5 && len(w.observations("p3")) == 1 })
	require.Equal(t, []string{"create_apply_plan missing 1700000000000-7"}, w.observations("p3"))

	w.operate(func(ctx context.Context, o *operate.Operator) {
		list, _, err := o.List(ctx, operate.Filter{})
		require.NoError(t, err)
		for _, d := range list {
			require.Equal(t, "bad_field", d.Reason)
			require.Equal(t, redriveStream, d.Stream)
			require.Contains(t, d.Refused, "no original")
		}
		report, err := o.Redrive(ctx, operate.Selection{IDs: ids(t, list)}, nil, true)
		require.NoError(t, err)
		require.Equal(t, operate.RedriveCounts{Refused: 5}, report.Counts)
	})
	w.add(planStream, "plan_id", "last", "symbol", "S")
	w.eventually("plans are observed as before", func() bool { return len(w.observations("last")) == 2 })
}

func TestRedriveRestoresBytesAndRefusesWhatIsCut(t *testing.T) {
	w := newWorld(t)
	park := func(raw string, change ...string) string {
		fields := []string{"reason", "no_symbol", "error", "e", "stream", planStream, "group", earlyGroup,
			"entry_id", "1700000000000-3", "failures", "1", "ts_epoch", "1700000000", "raw", raw}
		for i := 0; i < len(change); i += 2 {
			for j := 0; j < len(fields); j += 2 {
				if fields[j] == change[i] {
					fields[j+1] = change[i+1]
				}
			}
		}
		return w.add(deadStream, fields...)
	}
	bytes := entry.Make("plan_id", "p\x00\xff", "\xfe", "<&> \u2028", "b64:QQ==", "", "plan_id", "twice")
	whole := park(stream.RawJSON(bytes))
	long := entry.Make("plan_id", "p", "big", strings.Repeat("x", 70_000), "more", "y")
	refused := map[string]string{
		park(stream.RawJSON(long)):                 "was cut",
		park(`{"plan_id":"p","_left_out":3}`):      "3 fields were left out",
		park(`{"plan_id":1.5e`):                    "read raw",
		park(`{}`):                                 "no fields",
		park(`{"plan_id":"p"}`, "group", "nobody"): `no worker reads for its group "nobody"`,
		park(`{"plan_id":"p"}`, "entry_id", "x"):   "invalid entry ID",
		park(`{"_watermill_message_uuid":"u","metadata":"","payload":"{}"}`): "Watermill envelope",
		park(`{` + strings.Repeat(`"":"",`, 4000) + `"a":"b"}`):              "4002 fields",
	}
	w.operate(func(ctx context.Context, o *operate.Operator) {
		report, err := o.Redrive(ctx, operate.Selection{}, []string{"symbol", "S"}, true)
		require.NoError(t, err)
		require.Equal(t, operate.RedriveCounts{Redriven: 1, Refused: len(refused)}, report.Counts)
		for _, item := range report.Items {
			if item.ID == whole {
				require.Equal(t, operate.Redriven, item.Result)
				continue
			}
			require.Contains(t, item.Why, refused[item.ID])
		}
		require.EqualValues(t, len(refused), w.len(deadStream), "what is refused stays")
	})
	reply, err := w.rdb.Do(t.Context(), "XRANGE", redriveStream, "-", "+").Result()
	require.NoError(t, err)
	require.Equal(t, []any{
		"redrive_group", earlyGroup, "redrive_stream", planStream, "redrive_id", "1700000000000-3",
		"plan_id", "p\x00\xff", "\xfe", "<&> \u2028", "b64:QQ==", "", "plan_id", "twice", "symbol", "S",
	}, reply.([]any)[0].([]any)[1])
}

// Nothing is trimmed that a group has not read or not acknowledged.
func TestRedriveTrimsOnlyWhatIsDone(t *testing.T) {
	w := newWorld(t)
	redrive := func() {
		w.add(deadStream, "reason", "no_symbol", "stream", planStream, "group", earlyGroup, "entry_id", "1-1", "raw", `{"plan_id":"p"}`)
		w.operate(func(ctx context.Context, o *operate.Operator) {
			_, err := o.Redrive(ctx, operate.Selection{}, nil, true)
			require.NoError(t, err)
		})
	}
	read := func(group string, n string) {
		require.NoError(t, w.rdb.Do(t.Context(), "XREADGROUP", "GROUP", group, "c", "COUNT", n, "STREAMS", redriveStream, ">").Err())
	}
	ackAll := func(group string) {
		p, err := w.rdb.Do(t.Context(), "XPENDING", redriveStream, group, "-", "+", 100).Result()
		require.NoError(t, err)
		for _, e := range p.([]any) {
			require.NoError(t, w.rdb.XAck(t.Context(), redriveStream, group, e.([]any)[0].(string)).Err())
		}
	}
	for range 3 {
		redrive()
	}
	require.EqualValues(t, 3, w.len(redriveStream), "nobody has read yet")
	require.NoError(t, w.rdb.XGroupCreate(t.Context(), redriveStream, lateGroup, "0").Err())
	read(lateGroup, "9")
	ackAll(lateGroup)
	read(earlyGroup, "2")
	redrive()
	require.EqualValues(t, 4, w.len(redriveStream), "early has two pending")
	ackAll(earlyGroup)
	redrive()
	require.EqualValues(t, 4, w.len(redriveStream), "the first is gone; the mark itself, the unread and the new ones stay")
}

func TestPurge(t *testing.T) {
	w := newWorld(t)
	for i := range 250 {
		reason := "no_symbol"
		if i%2 == 0 {
			reason = "bad_field"
		}
		w.add(deadStream, "reason", reason, "group", earlyGroup, "raw", "{}")
	}
	w.operate(func(ctx context.Context, o *operate.Operator) {
		odd := operate.Selection{Filter: operate.Filter{Reason: "bad_field"}}
		plan, err := o.Purge(ctx, odd, false)
		require.NoError(t, err)
		require.EqualValues(t, 125, plan.Count)
		require.Zero(t, plan.Deleted)
		require.EqualValues(t, 250, w.len(deadStream))
		done, err := o.Purge(ctx, odd, true)
		require.NoError(t, err)
		require.EqualValues(t, 125, done.Deleted)
		require.Equal(t, map[string]int{"bad_field": 125}, done.ByReason)
		none, err := o.Purge(ctx, operate.Selection{Filter: operate.Filter{To: time.Now().Add(-time.Hour)}}, true)
		require.NoError(t, err)
		require.Zero(t, none.Count)
		list, total, err := o.List(ctx, operate.Filter{Limit: 110})
		require.NoError(t, err)
		require.EqualValues(t, 125, total)
		require.Len(t, list, 110)
		require.Greater(t, list[0].ID, list[109].ID, "the newest first")
	})
}

func mustID(t *testing.T, text string) entry.ID {
	t.Helper()
	id, err := entry.ParseID(text)
	require.NoError(t, err)
	return id
}

// The mark that keeps an entry from being parked twice belongs to one stream: a redriven entry may have the ID of another.
func TestRedrivenEntryWithTheIDOfAParkedOne(t *testing.T) {
	w := newWorld(t)
	id := w.add(planStream, "plan_id", "p4")
	w.observe()
	w.eventually("it is parked", func() bool { return w.len(deadStream) == 2 && w.idle() })
	require.NoError(t, w.rdb.Do(t.Context(), "XADD", redriveStream, id,
		"redrive_group", earlyGroup, "redrive_stream", planStream, "redrive_id", id, "plan_id", "p4").Err())
	w.eventually("it is parked again", func() bool { return w.len(deadStream) == 3 && w.idle() })
}

// What fails again while the others are still being redriven is not redriven for ever.
func TestRedriveAllEndsThoughEverythingComesBack(t *testing.T) {
	w := newWorld(t)
	w.observe()
	const n = 350
	for range n {
		w.add(deadStream, "reason", "no_symbol", "stream", planStream, "group", earlyGroup, "entry_id", "1700000000000-3", "raw", `{"plan_id":"p"}`)
	}
	w.operate(func(ctx context.Context, o *operate.Operator) {
		report, err := o.Redrive(ctx, operate.Selection{}, nil, true)
		require.NoError(t, err)
		require.Equal(t, operate.RedriveCounts{Redriven: n}, report.Counts)
	})
	w.eventually("all are parked again", func() bool { return w.len(deadStream) == n && w.idle() })
}
