package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/replay"
)

// memory is a history in memory that hands out a few entries at a time and ends as it is told.
type memory struct {
	streams [len(replay.Kinds)][]replay.Entry
	end     int64
	trimmed bool
	broken  map[replay.Kind]error // in place of io.EOF
	abrupt  bool                  // the error comes with the last entries
	gap     *replay.GapError      // told where it stands
	open    int                   // readers that are not closed
}

func (m *memory) Extent(_ context.Context, kind replay.Kind) (replay.Extent, error) {
	s := m.streams[kind]
	if len(s) == 0 {
		return replay.Extent{}, nil
	}
	return replay.Extent{First: s[0].ID, Last: s[len(s)-1].ID, Trimmed: m.trimmed}, nil
}

func (m *memory) End(context.Context) (time.Time, error) { return time.UnixMilli(m.end), nil }

func (m *memory) Open(_ context.Context, kind replay.Kind, r replay.Range) (replay.Reader, error) {
	m.open++
	reader := &memoryReader{end: io.EOF, abrupt: m.abrupt, close: func() { m.open-- }}
	if err := m.broken[kind]; err != nil {
		reader.end = err
	}
	for _, e := range m.streams[kind] {
		if r.Contains(e.ID) {
			if m.gap != nil && m.gap.Kind == kind && e.ID == m.gap.Before {
				reader.gap, reader.before = m.gap, len(reader.rest)
			}
			reader.rest = append(reader.rest, e)
		}
	}
	return reader, nil
}

type memoryReader struct {
	rest   []replay.Entry
	end    error
	abrupt bool // end comes with the last entries
	gap    *replay.GapError
	before int // entries before the gap that are left
	close  func()
}

func (r *memoryReader) Next() ([]replay.Entry, error) {
	if len(r.rest) == 0 {
		return nil, r.end
	}
	n := min(3, len(r.rest))
	if r.gap != nil {
		n = min(n, r.before)
		r.before -= n
	}
	batch := r.rest[:n]
	r.rest = r.rest[n:]
	if r.abrupt && len(r.rest) == 0 {
		return batch, r.end
	}
	if r.gap != nil && r.before == 0 {
		gap := r.gap
		r.gap = nil
		return batch, gap
	}
	return batch, nil
}

func (r *memoryReader) Close() error {
	r.close()
	return nil
}

func (m *memory) add(kind replay.Kind, ms int64, fields entry.Fields) entry.ID {
	id := entry.ID{Ms: uint64(ms)}
	if s := m.streams[kind]; len(s) > 0 && s[len(s)-1].ID.Ms == id.Ms {
		id.Seq = s[len(s)-1].ID.Seq + 1
	}
	m.streams[kind] = append(m.streams[kind], replay.Entry{ID: id, Fields: fields})
	return id
}

func (m *memory) plan(ms int64, planID string) entry.ID {
	return m.add(replay.Plans, ms, entry.Make("plan_id", planID, "symbol", "BTCUSDT", "decision", "EXECUTE"))
}

func (m *memory) decision(ms int64, planID, score string) entry.ID {
	return m.add(replay.Decisions, ms, entry.Make("plan_id", planID, "heat_score", score, "heat_level", "hot"))
}

func usual() replay.Settings {
	return replay.Settings{MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond, Notify: true, DedupeTTL: 600 * time.Second}
}

// told is one observation in a form that is compared and printed easily.
func told(o *event.Observation) string {
	return fmt.Sprintf("%s %s %s %s %d", o.SourceID, o.Point, o.Reason, o.Heat.Score, o.WaitMs)
}

func simulate(t require.TestingT, m *memory, s replay.Settings) (*replay.Result, []string) {
	var out []string
	result, err := replay.Run(context.Background(), m, replay.Everything, replay.Options{}, s, func(o *event.Observation) error {
		out = append(out, told(o))
		return nil
	})
	require.NoError(t, err)
	require.Zero(t, m.open, "readers that are left open")
	return result, out
}

// TestAgainstBruteForce compares the simulation with the rules of the contract restated over whole lists.
func TestAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &memory{}
		// Gaps around every edge: the wait, the repeat window, the dedupe TTL and the TTL of a hash.
		gap := rapid.SampledFrom([]int64{0, 1, 50, 1999, 2000, 2001, 119_999, 120_000, 599_999, 600_000, 602_000, 1_799_999, 1_800_000, 1_800_001})
		now := int64(10_000_000)
		for range rapid.IntRange(1, 40).Draw(t, "entries") {
			now += gap.Draw(t, "gap")
			id := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "plan")
			if rapid.Bool().Draw(t, "is plan") {
				m.plan(now, id)
			} else {
				m.decision(now, id, rapid.SampledFrom([]string{"0.1", "0.2"}).Draw(t, "score"))
			}
		}
		m.end = now + gap.Draw(t, "end")
		s := usual()
		_, got := simulate(t, m, s)
		want := bruteForce(m, s)
		sort.Strings(got)
		sort.Strings(want)
		require.Equal(t, want, got)
	})
}

// bruteForce is the event-time join without an index, a queue or a clock.
func bruteForce(m *memory, s replay.Settings) (out []string) {
	type written struct {
		at           int64
		score, heats string
	}
	var writes []written
	won := map[string]int64{}
	for _, d := range m.streams[replay.Decisions] {
		id, _ := d.Fields.Get("plan_id")
		score, _ := d.Fields.Get("heat_score")
		if at := int64(d.ID.Ms); won[id] == 0 || at-won[id] >= 120_000 {
			won[id] = at
			writes = append(writes, written{at, score, id})
		}
	}
	state := func(id string, t int64) (score string) { // at t; "" without a hash
		for _, w := range writes {
			if w.heats == id && w.at <= t {
				if score = ""; t < w.at+1_800_000 {
					score = w.score
				}
			}
		}
		return score
	}
	type commit struct {
		at   int64
		text string
		id   string
	}
	var commits [2][]commit
	for _, p := range m.streams[replay.Plans] {
		id, _ := p.Fields.Get("plan_id")
		for point, wait := range []int64{0, s.MaxWait.Milliseconds()} {
			at := int64(p.ID.Ms)
			end := at + wait
			if end > m.end {
				continue
			}
			score := state(id, at)
			if score == "" {
				at = end
				for _, w := range writes {
					if w.heats == id && w.at > int64(p.ID.Ms) && w.at <= end {
						at, score = w.at, w.score
						break
					}
				}
			}
			reason := event.OK
			if score == "" {
				reason = [...]event.Reason{event.Missing, event.Timeout}[point]
			}
			commits[point] = append(commits[point], commit{at, fmt.Sprintf("%s %s %s %s %d", p.ID, event.Point(point), reason, score, at-int64(p.ID.Ms)), id})
		}
	}
	for _, list := range commits {
		sort.SliceStable(list, func(i, j int) bool { return list[i].at < list[j].at })
		until := map[string]int64{}
		for _, c := range list {
			if c.at >= until[c.id] {
				until[c.id] = c.at + s.DedupeTTL.Milliseconds()
				out = append(out, c.text)
			}
		}
	}
	return out
}

func TestUndecidedIsNoTimeout(t *testing.T) {
	m := &memory{end: 2999}
	m.plan(1000, "a")
	result, out := simulate(t, m, usual())
	require.Equal(t, []string{"1000-0 create_apply_plan missing  0"}, out)
	require.EqualValues(t, 1, result.Points[event.Late].Undecided)
	m.end = 3000
	_, out = simulate(t, m, usual())
	require.Equal(t, []string{"1000-0 create_apply_plan missing  0", "1000-0 publish_plan_post timeout  2000"}, out)
}

// TestTrimmedDecisions: where they are gone nothing is known of a plan, and a timeout would be made up.
func TestTrimmedDecisions(t *testing.T) {
	m := &memory{end: 10_000, trimmed: true}
	m.plan(1000, "a")
	m.plan(1001, "b")
	m.decision(1002, "b", "0.5")
	m.plan(1002, "c")
	result, out := simulate(t, m, usual())
	require.Equal(t, []string{"1002-0 create_apply_plan missing  0", "1002-0 publish_plan_post timeout  2000"}, out)
	require.EqualValues(t, 2, result.TooEarly)
	require.EqualValues(t, 2, result.Points[event.Late].Undecided)
}

func TestPollingFindsLater(t *testing.T) {
	m := &memory{end: 10_000}
	m.plan(1000, "a")
	m.decision(1101, "a", "0.5")
	s := usual()
	s.Notify = false
	_, out := simulate(t, m, s)
	require.Equal(t, "1000-0 publish_plan_post ok 0.5 200", out[1])
}

// steady is a plan each millisecond whose heat comes after delay.
func steady(n, delay int64) *memory {
	m := &memory{end: 1_000_000_000}
	for i := range n {
		m.plan(1000+i, fmt.Sprint("p", i))
		m.decision(1000+i+delay, fmt.Sprint("p", i), "0.5")
	}
	return m
}

// TestSkipDropsAsTheOldObserver: 200 in flight and 1000 plans/s observe 200 ÷ delay plans/s (half of them at 400 ms).
func TestSkipDropsAsTheOldObserver(t *testing.T) {
	s := usual()
	s.Inflight, s.Skip = 200, true
	for delay, share := range map[int64]float64{100: 1, 400: 0.5, 1600: 0.125} {
		result, _ := simulate(t, steady(20_000, delay), s)
		late := result.Points[event.Late]
		require.InDelta(t, share, float64(late.Found)/20_000, 0.02, "delay %d", delay)
		require.EqualValues(t, 20_000, late.Total+result.Dropped)
		require.LessOrEqual(t, result.InflightPeak, 200)
	}
	s.Skip = false
	result, _ := simulate(t, steady(2000, 400), s)
	require.Zero(t, result.Dropped)
	require.EqualValues(t, 2000, result.Points[event.Late].Total)
	require.Positive(t, result.Added.Max())
}

func TestErrorsKeepWhatWasGood(t *testing.T) {
	m := steady(100, 10)
	m.broken = map[replay.Kind]error{replay.Decisions: errors.New("segment 3, line 7: checksum")}
	result, err := replay.Run(context.Background(), m, replay.Everything, replay.Options{}, usual(), nil)
	require.ErrorContains(t, err, "segment 3, line 7")
	require.True(t, result.Incomplete)
	require.Positive(t, result.Points[event.Early].Total)
	m = steady(3, 10)
	m.streams[replay.Plans][1], m.streams[replay.Plans][2] = m.streams[replay.Plans][2], m.streams[replay.Plans][1]
	_, err = replay.Run(context.Background(), m, replay.Everything, replay.Options{}, usual(), nil)
	require.ErrorContains(t, err, "out of order")
}

// TestWhatComesWithAnErrorIsGood: a reader may hand over its last entries and the error behind them at once.
func TestWhatComesWithAnErrorIsGood(t *testing.T) {
	for _, kind := range []replay.Kind{replay.Plans, replay.Decisions} {
		results := map[bool]*replay.Result{}
		for _, abrupt := range []bool{false, true} {
			m := steady(100, 10)
			m.abrupt = abrupt
			m.broken = map[replay.Kind]error{kind: errors.New("segment 3, line 7")}
			result, err := replay.Run(t.Context(), m, replay.Everything, replay.Options{}, usual(), nil)
			require.ErrorContains(t, err, "segment 3, line 7")
			require.EqualValues(t, 100, result.Points[event.Early].Total)
			results[abrupt] = result
		}
		require.Equal(t, results[false], results[true])
	}
}

// TestGapsBeforeTheRangeDoNotMatter: the margin of the decisions may reach over one, the range itself must not.
func TestGapsBeforeTheRangeDoNotMatter(t *testing.T) {
	m := steady(100, 10)
	gap := &replay.GapError{Kind: replay.Decisions, After: entry.ID{Ms: 1010}, Before: entry.ID{Ms: 1020}, Err: errors.New("file:7")}
	m.gap = gap
	for from, fails := range map[uint64]bool{0: true, 1019: true, 1020: false} {
		result, err := replay.Run(context.Background(), m, replay.Range{From: entry.ID{Ms: from}, To: entry.MaxID}, replay.Options{}, usual(), nil)
		if fails {
			require.ErrorIs(t, err, gap)
			require.ErrorContains(t, err, "decisions between 1010-0 and 1020-0 may be missing")
			require.True(t, result.Incomplete)
			continue
		}
		require.NoError(t, err)
		require.EqualValues(t, 80, result.Points[event.Late].Found)
	}
}

func TestSameBytes(t *testing.T) {
	var first bytes.Buffer
	for range 3 {
		var out bytes.Buffer
		_, err := replay.Run(context.Background(), steady(50, 10), replay.Everything, replay.Options{}, usual(), replay.JSONLines(&out, 400))
		require.NoError(t, err)
		if first.Len() == 0 {
			first = out
			require.Contains(t, out.String(), `"entry_id":"1000-0","wait_ms":0}`)
		}
		require.Equal(t, first.String(), out.String())
	}
}

func TestCurveAgreesWithEachSetting(t *testing.T) {
	m := &memory{end: 1_000_000}
	for i := range int64(100) {
		m.plan(1000+i*50, fmt.Sprint("p", i))
	}
	for i := range int64(100) {
		m.decision(1000+i*50+i*30, fmt.Sprint("p", i), "0.5")
	}
	var settings []replay.Settings
	for _, ms := range []int{500, 1000, 2000} {
		s := usual()
		s.MaxWait = time.Duration(ms) * time.Millisecond
		settings = append(settings, s)
	}
	w, err := replay.Compare(context.Background(), m, replay.Everything, replay.Options{}, settings, 5*time.Second)
	require.NoError(t, err)
	for _, c := range w.Choices {
		share, ok := c.Result.Points[event.Late].Coverage()
		require.True(t, ok)
		require.InDelta(t, share, w.Curve.At(c.MaxWait), 1e-9)
	}
	wait, ok := w.Curve.Smallest(0.5)
	require.True(t, ok)
	require.Equal(t, 1470*time.Millisecond, wait)
}
