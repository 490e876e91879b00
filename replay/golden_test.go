package replay_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/archive"
	"heatobserver/event"
	"heatobserver/replay"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares v, as JSON, with a file of testdata.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	require.NoError(t, err)
	goldenText(t, name, append(got, '\n'))
}

func goldenText(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

// recordedHistory is what testdata/record has recorded of the pipeline itself: `make golden-history` does it anew.
func recordedHistory(t *testing.T) *archive.Archive {
	t.Helper()
	a, err := archive.Open(filepath.Join("testdata", "history"))
	require.NoError(t, err)
	return a
}

func asRecorded() replay.AuditSettings {
	return replay.AuditSettings{MaxWait: 2 * time.Second, DedupeTTL: 600 * time.Second, Tolerance: 100 * time.Millisecond, Grace: time.Minute, List: 1000}
}

func TestGoldenReport(t *testing.T) {
	var lines bytes.Buffer
	result, err := replay.Run(t.Context(), recordedHistory(t), replay.Everything, replay.Options{}, usual(), replay.JSONLines(&lines, 400))
	require.NoError(t, err)
	golden(t, "report.json", result.Report())
	all := strings.SplitAfter(lines.String(), "\n")
	require.Greater(t, len(all), 700)
	// Every tenth of them; the report counts the others.
	var some []byte
	for i := 0; i < len(all); i += 10 {
		some = append(some, all[i]...)
	}
	goldenText(t, "observations.jsonl", some)
}

func TestGoldenAudit(t *testing.T) {
	a, err := replay.RunAudit(t.Context(), recordedHistory(t), replay.Everything, replay.Options{}, asRecorded())
	require.NoError(t, err)
	require.False(t, a.Bad(), "the processor neither lost nor doubled anything: %+v", a.Findings)
	matrix := map[string]int64{}
	for cell, n := range a.Matrix {
		matrix[strings.Join(cell[:], " ")] = n
	}
	counts := map[string]int64{
		"plans": a.Plans, "recorded": a.Recorded, "agree": a.Agree, "within": a.Within, "disagree": a.Disagree, "missing": a.Missing,
		"doubled": a.Doubled, "held": a.Held, "undecided": a.Undecided, "unprovable": a.Unprovable, "unjudged": a.Unjudged,
		"foreign": a.Foreign, "overdue": a.Overdue, "unmatched": a.Unmatched, "bad_records": a.BadRecords, "malformed": a.Malformed,
	}
	golden(t, "audit.json", map[string]any{"counts": counts, "matrix": matrix, "findings": a.Findings})
}

func TestGoldenWhatIf(t *testing.T) {
	var settings []replay.Settings
	for _, wait := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second} {
		s := usual()
		s.MaxWait = wait
		settings = append(settings, s)
	}
	polling, few := usual(), usual()
	polling.Notify = false
	few.Inflight, few.Skip = 8, true
	settings = append(settings, polling, few)
	w, err := replay.Compare(t.Context(), recordedHistory(t), replay.Everything, replay.Options{}, settings, 4*time.Second)
	require.NoError(t, err)
	out := map[string]any{}
	for _, c := range w.Choices {
		out[fmt.Sprintf("%v notify=%v inflight=%d skip=%v", c.MaxWait, c.Notify, c.Inflight, c.Skip)] = c.Result.Report()
	}
	curve := map[string]float64{}
	for wait := time.Duration(0); wait <= w.Curve.Longest; wait += 50 * time.Millisecond {
		curve[fmt.Sprintf("%4d", wait.Milliseconds())] = w.Curve.At(wait)
	}
	smallest := map[string]string{}
	for _, target := range []float64{0.5, 0.9, 0.95, 0.99} {
		wait, ok := w.Curve.Smallest(target)
		smallest[fmt.Sprint(target)] = fmt.Sprint(wait, " ", ok)
	}
	golden(t, "what-if.json", map[string]any{"choices": out, "curve": curve, "decided": w.Curve.Decided, "smallest": smallest})

	e, err := replay.EstimateCurve(t.Context(), recordedHistory(t), replay.Everything)
	require.NoError(t, err)
	golden(t, "estimate.json", e)
	// Where both can speak they must agree, but for the milliseconds between a decision and the observation of it.
	for _, s := range e.Steps {
		wait := time.Duration(s.WaitMs) * time.Millisecond
		require.LessOrEqual(t, s.Coverage, w.Curve.At(wait)+0.02, "%d ms", s.WaitMs)
		require.GreaterOrEqual(t, s.Coverage, w.Curve.At(wait-30*time.Millisecond)-0.02, "%d ms", s.WaitMs)
	}
}

// TestGoldenHistoryHoldsTheEdges: a recording without them would prove little.
func TestGoldenHistoryHoldsTheEdges(t *testing.T) {
	result, err := replay.Run(t.Context(), recordedHistory(t), replay.Everything, replay.Options{}, usual(), nil)
	require.NoError(t, err)
	late := result.Points[event.Late]
	require.Positive(t, result.Malformed)
	require.Positive(t, late.Duplicates, "plans that were published twice")
	require.Positive(t, late.Undecided)
	require.Equal(t, []event.Reason{event.OK, event.Timeout}, slices.Sorted(maps.Keys(late.Reasons)))
	require.Positive(t, result.Points[event.Early].Reasons[event.Missing])
}
