package replay_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/replay"
)

func (m *memory) observed(at int64, source entry.ID, planID string, point event.Point, reason event.Reason, wait int64) {
	o := event.Observation{TsEpoch: at / 1000, PlanID: planID, Symbol: "BTCUSDT", Point: point, Reason: reason, SourceID: source, WaitMs: wait}
	m.add(replay.Observations, at, o.AppendFields(nil, 400))
}

func audit(t *testing.T, m *memory) *replay.Audit {
	a, err := replay.RunAudit(context.Background(), m, replay.Everything, replay.Options{}, replay.AuditSettings{
		MaxWait: 2 * time.Second, DedupeTTL: 600 * time.Second, Tolerance: 100 * time.Millisecond, Grace: time.Minute, List: 10,
	})
	require.NoError(t, err)
	return a
}

func TestAudit(t *testing.T) {
	m := &memory{end: 1_000_000}
	a, b, c := m.plan(1000, "a"), m.plan(1001, "b"), m.plan(1002, "c")
	m.decision(1100, "a", "0.5")
	m.decision(2201, "b", "0.5")
	m.observed(1001, a, "a", event.Early, event.Missing, 0)
	m.observed(1002, b, "b", event.Early, event.Missing, 0)
	m.observed(1101, a, "a", event.Late, event.OK, 101)
	m.observed(1103, a, "a", event.Late, event.OK, 101)
	m.observed(3001, b, "b", event.Late, event.Timeout, 2000)
	m.observed(3003, c, "c", event.Late, event.Timeout, 2000)
	got := audit(t, m)
	require.True(t, got.Bad())
	require.EqualValues(t, 1, got.Missing)
	require.EqualValues(t, 1, got.Doubled)
	require.EqualValues(t, 1, got.Disagree)
	require.EqualValues(t, 5, got.Agree)
	var why string
	for _, f := range got.Findings {
		if f.Kind == replay.Disagrees {
			why = f.Why
		}
	}
	require.Contains(t, why, "800 ms before the deadline")
}

// TestAuditOfWhatStillGrows: what is recorded while the audit reads may rest on a decision that was read too early to be there.
func TestAuditOfWhatStillGrows(t *testing.T) {
	m := &memory{end: 1_000_000}
	a, b := m.plan(999_800, "a"), m.plan(999_900, "b")
	m.observed(1_000_000, a, "a", event.Late, event.OK, 150)
	m.observed(1_000_001, b, "b", event.Late, event.OK, 101)
	got := audit(t, m)
	require.EqualValues(t, 1, got.Disagree, "of what was known when the audit began")
	require.EqualValues(t, 1, got.Unprovable)
	require.False(t, got.Bad())
}

func TestAuditOfAGoodRecording(t *testing.T) {
	m := &memory{end: 1_000_000}
	a := m.plan(1000, "a")
	m.plan(1500, "a") // held back by the dedupe keys
	m.decision(1100, "a", "0.5")
	m.observed(1001, a, "a", event.Early, event.Missing, 0)
	m.observed(1101, a, "a", event.Late, event.OK, 101)
	got := audit(t, m)
	require.False(t, got.Bad())
	require.Zero(t, got.Disagree)
	require.EqualValues(t, 2, got.Held)
	text, err := json.Marshal(got.Report())
	require.NoError(t, err)
	require.Contains(t, string(text), `"findings":[]`)
}

// TestAuditOfAPart: what was observed before the range, or by another observer, holds back what is in it.
func TestAuditOfAPart(t *testing.T) {
	m := &memory{end: 1_000_000}
	first := m.plan(1000, "a")
	again := m.plan(200_000, "a")
	m.observed(1001, first, "a", event.Early, event.Missing, 0)
	m.observed(3001, entry.ID{}, "a", event.Late, event.Timeout, 0)
	got, err := replay.RunAudit(context.Background(), m, replay.Range{From: again, To: entry.MaxID}, replay.Options{}, replay.AuditSettings{
		MaxWait: 2 * time.Second, DedupeTTL: 600 * time.Second, Tolerance: 100 * time.Millisecond, Grace: time.Minute, List: 10,
	})
	require.NoError(t, err)
	require.False(t, got.Bad())
	require.EqualValues(t, 2, got.Held)
	require.Zero(t, got.Unmatched)
	require.EqualValues(t, 1, got.Foreign)
}

// TestKaplanMeier is the textbook case: arrivals at 1 and 3, one wait censored at 2.
func TestKaplanMeier(t *testing.T) {
	m := &memory{end: 1_000_000}
	for i, x := range []struct {
		wait   int64
		reason event.Reason
	}{{1, event.OK}, {2, event.Timeout}, {3, event.OK}, {4, event.Timeout}} {
		m.observed(1000+int64(i), entry.ID{Ms: 900}, "a", event.Late, x.reason, x.wait)
	}
	e, err := replay.EstimateCurve(context.Background(), m, replay.Everything)
	require.NoError(t, err)
	require.Len(t, e.Steps, 2)
	require.InDelta(t, 0.25, e.Steps[0].Coverage, 1e-9)
	require.InDelta(t, 0.625, e.Steps[1].Coverage, 1e-9)
	// Greenwood: 1/(4·3) + 1/(2·1) = 0.58333; the band on the log-log scale.
	require.InDelta(t, 0.19200, e.Steps[1].Lower, 1e-5)
	require.Less(t, e.Steps[1].Coverage, e.Steps[1].Upper)
	require.EqualValues(t, 2, e.Censored)
}
