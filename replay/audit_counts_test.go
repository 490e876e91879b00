package replay_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/replay"
)

// TestAuditCounts: each history beside everything that an audit counts of it, and why it finds fault. They end at 1,000,000
// and are judged with a wait of 2 s, a grace of a minute, a tolerance of 100 ms and a dedupe TTL of 600 s.
func TestAuditCounts(t *testing.T) {
	const begin = 100_000
	for _, tc := range []struct {
		name    string
		change  func(*replay.AuditSettings)
		history func(m *memory)
		want    replay.Audit
		why     []string
	}{
		{
			name:    "a plan too near to the end is undecided",
			history: func(m *memory) { m.plan(997_001, "a") },
			want:    replay.Audit{Plans: 1, Undecided: 2},
		},
		{
			name:    "a millisecond earlier it is missing",
			history: func(m *memory) { m.plan(997_000, "a") },
			want:    replay.Audit{Plans: 1, Missing: 2},
			why:     []string{"not recorded within 1m0s of its deadline", "not recorded within 1m0s of its deadline"},
		},
		{
			name:    "a tolerance of more than a second counts for that too",
			change:  func(s *replay.AuditSettings) { s.Tolerance = 2 * time.Second },
			history: func(m *memory) { m.plan(996_000, "a"); m.plan(996_001, "b") },
			want:    replay.Audit{Plans: 2, Missing: 2, Undecided: 2},
			why:     []string{"not recorded within 1m0s of its deadline", "not recorded within 1m0s of its deadline"},
		},
		{
			name: "before the recording begins nothing can be missing",
			history: func(m *memory) {
				m.trimmed = true
				m.plan(begin-1, "a")
				b := m.plan(begin, "b")
				m.observed(begin, b, "b", event.Early, event.Missing, 0)
				m.decision(begin, "c", "0.5")
			},
			want: replay.Audit{Plans: 2, Recorded: 1, Agree: 1, Unjudged: 2, Missing: 1},
			why:  []string{"not recorded within 1m0s of its deadline"},
		},
		{
			name: "before the decisions begin nothing can be proved",
			history: func(m *memory) {
				m.trimmed = true
				a, b, c := m.plan(begin-1, "a"), m.plan(begin-1, "b"), m.plan(begin, "c")
				m.observed(begin-1, a, "a", event.Early, event.Missing, 0)
				m.observed(begin-1, b, "b", event.Early, event.Missing, 0)
				m.observed(begin, c, "c", event.Early, event.Missing, 0)
				m.decision(begin, "a", "0.5")
				m.observed(begin+1, a, "a", event.Late, event.OK, 1) // but that there is one
				m.observed(begin+1999, b, "b", event.Late, event.Timeout, 2000)
				m.observed(begin+2000, c, "c", event.Late, event.Timeout, 2000)
			},
			want: replay.Audit{Plans: 3, Recorded: 6, Agree: 3, Unprovable: 3},
		},
		{
			name: "an observation holds back what is published within the dedupe TTL",
			history: func(m *memory) {
				a := m.plan(begin, "a")
				m.observed(begin+1, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+2000, a, "a", event.Late, event.Timeout, 2000)
				m.plan(begin+600_000, "a") // the key of early lives for one more millisecond, that of late longer
				m.plan(begin+602_000, "a") // both are gone
			},
			want: replay.Audit{Plans: 3, Recorded: 2, Agree: 2, Held: 2, Missing: 2},
			why:  []string{"not recorded within 1m0s of its deadline", "not recorded within 1m0s of its deadline"},
		},
		{
			name: "the last one counts",
			history: func(m *memory) {
				a := m.plan(begin, "a")
				m.observed(begin+1, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+2000, a, "a", event.Late, event.Timeout, 2000)
				a = m.plan(begin+610_000, "a")
				m.observed(begin+610_000, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+612_000, a, "a", event.Late, event.Timeout, 2000)
				m.plan(begin+800_000, "a")
			},
			want: replay.Audit{Plans: 3, Recorded: 4, Agree: 4, Held: 2},
		},
		{
			name: "what is recorded twice within the dedupe TTL is doubled",
			change: func(s *replay.AuditSettings) {
				s.DedupeTTL = 10 * time.Second
			},
			history: func(m *memory) {
				a, b := m.plan(begin, "a"), m.plan(begin, "b")
				m.observed(begin, a, "a", event.Early, event.Missing, 0)
				m.observed(begin, b, "b", event.Early, event.Missing, 0)
				m.observed(begin+2000, a, "a", event.Late, event.Timeout, 2000)
				m.observed(begin+2000, b, "b", event.Late, event.Timeout, 2000)
				m.observed(begin+9_999, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+10_000, b, "b", event.Early, event.Missing, 0)
			},
			want: replay.Audit{Plans: 2, Recorded: 6, Agree: 6, Doubled: 1},
			why:  []string{"recorded twice, 9999 ms apart, within the dedupe TTL of 10s"},
		},
		{
			name: "doubled by another observer, whoever was first, and behind the grace",
			history: func(m *memory) {
				a, b := m.plan(begin, "a"), m.plan(begin, "b")
				m.observed(begin+1, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+2, entry.ID{}, "a", event.Early, event.Missing, 0)
				m.observed(begin+3, entry.ID{}, "b", event.Early, event.Missing, 0)
				m.observed(begin+4, b, "b", event.Early, event.Missing, 0)
				m.observed(begin+5, entry.ID{}, "c", event.Early, event.Missing, 0)
				m.observed(begin+6, entry.ID{}, "c", event.Early, event.Missing, 0) // about whose plan nothing is known
				m.observed(begin+2000, a, "a", event.Late, event.Timeout, 2000)
				m.observed(begin+2000, b, "b", event.Late, event.Timeout, 2000)
				m.observed(begin+62_001, entry.ID{}, "a", event.Late, event.Timeout, 2000)
				m.observed(begin+62_002, entry.ID{}, "a", event.Late, event.Timeout, 2000)
				m.observed(begin+62_003, a, "a", event.Late, event.Timeout, 2000)
				m.observed(begin+602_000, entry.ID{}, "b", event.Late, event.Timeout, 2000) // its key is gone
			},
			want: replay.Audit{Plans: 2, Recorded: 4, Agree: 4, Doubled: 5, Foreign: 7, Overdue: 1},
			why: []string{
				"recorded twice, 1 ms", "recorded twice, 1 ms", "recorded twice, 60001 ms", "recorded twice, 1 ms", "recorded twice, 1 ms",
			},
		},
		{
			name: "grace ends a minute behind the deadline",
			history: func(m *memory) {
				a := m.plan(begin, "a")
				m.observed(begin+62_000, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+62_001, a, "a", event.Late, event.Timeout, 2000)
			},
			want: replay.Audit{Plans: 1, Recorded: 1, Agree: 1, Missing: 1, Overdue: 1},
			why:  []string{"not recorded within 1m0s of its deadline"},
		},
		{
			name: "a timeout misses a hash by the tolerance, and by more",
			history: func(m *memory) {
				a, b := m.plan(begin, "a"), m.plan(begin, "b")
				m.decision(begin+1899, "b", "0.5")
				m.decision(begin+1900, "a", "0.5")
				m.observed(begin+1, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+1, b, "b", event.Early, event.Missing, 0)
				m.observed(begin+2000, a, "a", event.Late, event.Timeout, 2000)
				m.observed(begin+2000, b, "b", event.Late, event.Timeout, 2000)
			},
			want: replay.Audit{Plans: 2, Recorded: 4, Agree: 2, Within: 1, Disagree: 1},
			why: []string{
				"recorded timeout 2000 ms after the plan, though decision 101900-0 was there 100 ms before that look and 100 ms before the deadline",
				"recorded timeout 2000 ms after the plan, though decision 101899-0 was there 101 ms before that look and 101 ms before the deadline",
			},
		},
		{
			name: "early misses a hash too, and has no deadline to speak of",
			history: func(m *memory) {
				m.decision(begin-200, "a", "0.5")
				a := m.plan(begin, "a")
				m.observed(begin+1, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+1, a, "a", event.Late, event.OK, 0)
			},
			want: replay.Audit{Plans: 1, Recorded: 2, Agree: 1, Disagree: 1},
			why:  []string{"recorded missing 0 ms after the plan, though decision 99800-0 was there 200 ms before that look"},
		},
		{
			name: "a wait that gave up too soon",
			history: func(m *memory) {
				a, b := m.plan(begin, "a"), m.plan(begin, "b")
				m.observed(begin+1, a, "a", event.Early, event.Missing, 0)
				m.observed(begin+1, b, "b", event.Early, event.Missing, 0)
				m.observed(begin+2, a, "a", event.Late, event.Timeout, 1900)
				m.observed(begin+3, b, "b", event.Late, event.Missing, 1899)
			},
			want: replay.Audit{Plans: 2, Recorded: 4, Agree: 2, Within: 1, Disagree: 1},
			why: []string{
				"recorded timeout 100 ms before the deadline, with the wait not over",
				"recorded missing 101 ms before the deadline, with the wait not over",
			},
		},
		{
			name: "heat that was seen before it was there, or never was",
			history: func(m *memory) {
				a, b, c := m.plan(begin, "a"), m.plan(begin, "b"), m.plan(begin, "c")
				m.decision(begin+100, "a", "0.5")
				m.decision(begin+101, "b", "0.5")
				m.observed(begin+102, a, "a", event.Early, event.OK, 0)
				m.observed(begin+102, b, "b", event.Early, event.OK, 0)
				m.observed(begin+102, c, "c", event.Early, event.ParseError, 0)
				m.observed(begin+102, a, "a", event.Late, event.OK, 100)
				m.observed(begin+102, b, "b", event.Late, event.OK, 101)
				m.observed(begin+2000, c, "c", event.Late, event.Timeout, 2000)
			},
			want: replay.Audit{Plans: 3, Recorded: 6, Agree: 3, Within: 1, Disagree: 2},
			why: []string{
				"recorded ok 0 ms after the plan, though decision 100100-0 came only 100 ms after that look",
				"recorded ok 0 ms after the plan, though decision 100101-0 came only 101 ms after that look",
				"recorded parse_error 0 ms after the plan, though no decision about it had come",
			},
		},
		{
			name: "a hash that cannot be read",
			history: func(m *memory) {
				m.decision(begin-101, "a", "many")
				m.decision(begin-100, "b", "many")
				a, b := m.plan(begin, "a"), m.plan(begin, "b")
				m.observed(begin+1, a, "a", event.Early, event.OK, 0)
				m.observed(begin+1, b, "b", event.Early, event.Missing, 0)
				m.observed(begin+2, a, "a", event.Late, event.ParseError, 0)
				m.observed(begin+2, b, "b", event.Late, event.ParseError, 0)
			},
			want: replay.Audit{Plans: 2, Recorded: 4, Agree: 2, Within: 1, Disagree: 1},
			why: []string{
				"recorded ok, though what decision 99899-0 had written 101 ms before the look cannot be read",
				"recorded missing, though what decision 99900-0 had written 100 ms before the look cannot be read",
			},
		},
		{
			name: "Redis did not answer, which no history shows",
			history: func(m *memory) {
				m.decision(begin-100, "a", "0.5")
				a := m.plan(begin, "a")
				m.observed(begin, a, "a", event.Early, event.RedisError, 0)
				m.observed(begin, a, "a", event.Late, event.RedisError, 0)
			},
			want: replay.Audit{Plans: 1, Recorded: 2, Unprovable: 2},
		},
		{
			name: "what is no plan and no observation, of others, or of a plan that is trimmed",
			history: func(m *memory) {
				m.add(replay.Plans, begin, entry.Make("plan_id", ""))
				m.add(replay.Observations, begin, entry.Make("obs_point", "nowhere"))
				m.observed(begin+1, entry.ID{}, "b", event.Late, event.Timeout, 2000)
				m.observed(begin+2, entry.ID{Ms: begin - 61_998}, "c", event.Late, event.Timeout, 2000)
				m.add(replay.Decisions, begin+3, entry.Make("heat_score", "0.5"))
			},
			want: replay.Audit{Malformed: 1, BadRecords: 1, Foreign: 1, Unmatched: 1},
		},
		{
			name:   "what is not listed is counted",
			change: func(s *replay.AuditSettings) { s.List = 1 },
			history: func(m *memory) {
				m.plan(begin, "a")
				m.plan(begin, "b")
			},
			want: replay.Audit{Plans: 2, Missing: 4},
			why:  []string{"not recorded within 1m0s of its deadline"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := &memory{end: 1_000_000}
			tc.history(m)
			s := replay.AuditSettings{
				MaxWait: 2 * time.Second, DedupeTTL: 600 * time.Second, Tolerance: 100 * time.Millisecond, Grace: time.Minute, List: 10,
			}
			if tc.change != nil {
				tc.change(&s)
			}
			got, err := replay.RunAudit(t.Context(), m, replay.Everything, replay.Options{}, s)
			require.NoError(t, err)
			require.Zero(t, m.open, "readers that are left open")
			var judged int64
			for _, n := range got.Matrix {
				judged += n
			}
			require.Equal(t, got.Agree+got.Within+got.Disagree, judged, "the matrix holds all that was judged")
			require.Equal(t, got.Missing+got.Doubled > 0, got.Bad())
			findings := got.Missing + got.Doubled + got.Within + got.Disagree
			require.Equal(t, findings-int64(len(got.Findings)), got.Report().NotListed)
			require.Len(t, got.Findings, len(tc.why))
			for i, f := range got.Findings {
				require.Contains(t, f.Why, tc.why[i])
			}
			got.Matrix, got.Findings = nil, nil
			require.Equal(t, &tc.want, got)
		})
	}
}

// TestAuditMatrix: a reason beside the one that history gives; what is late and was not waited for is missing, not a timeout.
func TestAuditMatrix(t *testing.T) {
	m := &memory{end: 1_000_000}
	a, b, c, d := m.plan(1000, "a"), m.plan(1000, "b"), m.plan(1000, "c"), m.plan(1000, "d")
	m.decision(1000, "c", "many")
	m.observed(1001, d, "d", event.Early, event.OK, 0)
	m.observed(1001, a, "a", event.Early, event.Missing, 0)
	m.observed(1001, b, "b", event.Early, event.Missing, 0)
	m.observed(1001, c, "c", event.Early, event.OK, 0)
	m.observed(3000, a, "a", event.Late, event.Timeout, 2000)
	m.observed(3000, b, "b", event.Late, event.Missing, 2000)
	m.observed(3000, c, "c", event.Late, event.ParseError, 100)
	require.Equal(t, []replay.MatrixRow{
		{Point: "create_apply_plan", Recorded: "missing", Expected: "missing", Count: 2},
		{Point: "create_apply_plan", Recorded: "ok", Expected: "missing", Count: 1},
		{Point: "create_apply_plan", Recorded: "ok", Expected: "parse_error", Count: 1},
		{Point: "publish_plan_post", Recorded: "missing", Expected: "missing", Count: 1},
		{Point: "publish_plan_post", Recorded: "parse_error", Expected: "parse_error", Count: 1},
		{Point: "publish_plan_post", Recorded: "timeout", Expected: "timeout", Count: 1},
	}, audit(t, m).Report().Matrix)
}

// TestAuditReadsWhatTheRangeRestsOn: what lies before and behind the range decides about what is in it. A decision that was
// a repetition does not become the first for being the first in range.
func TestAuditReadsWhatTheRangeRestsOn(t *testing.T) {
	const published = 10_000_000
	m := &memory{end: 2 * published}
	m.decision(published-1_920_048, "a", "0.5") // its hash has expired 119,998 ms before the plan
	m.decision(published-1_800_049, "a", "0.5") // 119,999 ms later: not written
	m.decision(published-1_800_049, "b", "0.5") // its hash lives for one more millisecond
	a, b, c := m.plan(published, "a"), m.plan(published, "b"), m.plan(published, "c")
	m.observed(published, a, "a", event.Early, event.Missing, 0)
	m.observed(published, b, "b", event.Early, event.OK, 0)
	m.observed(published, c, "c", event.Early, event.Missing, 0)
	m.decision(published+1950, "c", "0.5")
	m.observed(published+2000, a, "a", event.Late, event.Timeout, 2000)
	m.observed(published+2000, b, "b", event.Late, event.OK, 0)
	m.observed(published+3000, c, "c", event.Late, event.OK, 2000)
	s := replay.AuditSettings{MaxWait: 2 * time.Second, DedupeTTL: 600 * time.Second, Grace: time.Second, List: 10}
	got, err := replay.RunAudit(t.Context(), m, replay.Range{From: a, To: c}, replay.Options{BridgeDelay: 50 * time.Millisecond}, s)
	require.NoError(t, err)
	require.Empty(t, got.Findings)
	require.EqualValues(t, 6, got.Agree)
}

// TestAuditOfAFastBridge: a hash that was written sooner than is assumed misses by the difference.
func TestAuditOfAFastBridge(t *testing.T) {
	m := &memory{end: 1_000_000}
	a := m.plan(1000, "a")
	m.observed(1000, a, "a", event.Early, event.Missing, 0)
	m.decision(1100, "a", "0.5")
	m.observed(1111, a, "a", event.Late, event.OK, 110)
	s := replay.AuditSettings{MaxWait: 2 * time.Second, Tolerance: 40 * time.Millisecond, Grace: time.Minute, List: 10}
	got, err := replay.RunAudit(t.Context(), m, replay.Everything, replay.Options{BridgeDelay: 50 * time.Millisecond}, s)
	require.NoError(t, err)
	require.Equal(t, "recorded ok 110 ms after the plan, though decision 1100-0 came only 40 ms after that look", got.Findings[0].Why)
	require.EqualValues(t, 1, got.Within)
}

// TestAuditOfAnExpiredHash: what a look has seen may have expired long before its observation was written.
func TestAuditOfAnExpiredHash(t *testing.T) {
	const published = 10_000_000
	m := &memory{end: 2 * published}
	m.decision(published+1-1_800_050, "a", "0.5") // its hash lives for one more millisecond
	a := m.plan(published, "a")
	for at := int64(1); at < 62; at++ { // by others the hashes that nobody asks for are forgotten
		m.decision(published+1000*at, fmt.Sprint("p", at), "0.5")
	}
	m.decision(published+61_999, "last", "0.5")
	m.observed(published+62_000, a, "a", event.Early, event.OK, 0)
	m.observed(published+62_000, a, "a", event.Late, event.OK, 0)
	s := replay.AuditSettings{MaxWait: 2 * time.Second, Grace: time.Minute, List: 10}
	got, err := replay.RunAudit(t.Context(), m, replay.Everything, replay.Options{BridgeDelay: 50 * time.Millisecond}, s)
	require.NoError(t, err)
	require.EqualValues(t, 2, got.Agree)
}

// TestAuditOfEnvelopes: plans may be wrapped.
func TestAuditOfEnvelopes(t *testing.T) {
	m := &memory{end: 1_000_000}
	m.add(replay.Plans, 1000, entry.Make("payload", "a"))
	unwrap := func(_ entry.ID, fields entry.Fields) []byte {
		id, _ := fields.Get("payload")
		return entry.Make("plan_id", id, "symbol", "BTCUSDT", "decision", "EXECUTE")
	}
	got, err := replay.RunAudit(t.Context(), m, replay.Everything, replay.Options{Payload: unwrap}, replay.AuditSettings{List: 1})
	require.NoError(t, err)
	require.EqualValues(t, 1, got.Plans)
	require.Equal(t, "a", got.Findings[0].PlanID)
}

// TestAuditThatBreaksOff: what comes behind the place where reading failed is undecided, not missing.
func TestAuditThatBreaksOff(t *testing.T) {
	m := &memory{end: 1_000_000, broken: map[replay.Kind]error{replay.Observations: errors.New("segment 3, line 7")}}
	a := m.plan(1000, "a")
	m.plan(2000, "b")
	m.decision(1000, "a", "0.5")
	m.observed(1001, a, "a", event.Early, event.OK, 0)
	m.plan(5000, "c")
	got, err := replay.RunAudit(t.Context(), m, replay.Everything, replay.Options{}, replay.AuditSettings{MaxWait: 2 * time.Second, List: 10})
	require.ErrorContains(t, err, "read observations: segment 3, line 7")
	require.False(t, got.Bad(), "%+v", got.Findings)
	require.EqualValues(t, 1, got.Agree)
	require.Positive(t, got.Undecided)
}

// brokenSource fails where it is told to.
type brokenSource struct {
	memory
	at string
}

var errSource = errors.New("the source is broken")

func (s *brokenSource) fails(at string) error {
	if s.at == at {
		return errSource
	}
	return nil
}

func (s *brokenSource) End(ctx context.Context) (time.Time, error) {
	end, _ := s.memory.End(ctx)
	return end, s.fails("end")
}

func (s *brokenSource) Extent(ctx context.Context, kind replay.Kind) (replay.Extent, error) {
	extent, _ := s.memory.Extent(ctx, kind)
	return extent, s.fails("extent of " + kind.String())
}

func (s *brokenSource) Open(ctx context.Context, kind replay.Kind, r replay.Range) (replay.Reader, error) {
	if err := s.fails("open " + kind.String()); err != nil {
		return nil, err
	}
	return s.memory.Open(ctx, kind, r)
}

// TestAuditOfABrokenSource: an error of the source is not taken for a history without entries.
func TestAuditOfABrokenSource(t *testing.T) {
	for _, at := range []string{"end", "extent of decisions", "extent of observations", "open plans", "open decisions", "open observations"} {
		_, err := replay.RunAudit(t.Context(), &brokenSource{at: at}, replay.Everything, replay.Options{}, replay.AuditSettings{})
		require.ErrorIs(t, err, errSource, at)
	}
}

// TestLongAudit: it tells how far it is, and can be ended.
func TestLongAudit(t *testing.T) {
	m := &memory{end: 1_000_000_000}
	for i := range int64(10_000) {
		id := m.plan(1000+i, fmt.Sprint("p", i))
		if i%2 == 0 {
			m.decision(1000+i, fmt.Sprint("p", i), "0.5")
			m.observed(1000+i, id, fmt.Sprint("p", i), event.Early, event.OK, 0)
		}
	}
	var told []int64
	o := replay.Options{Progress: func(entries int64, at time.Time) {
		told = append(told, entries)
		require.Equal(t, int64(1000)+(entries-3)/2, at.UnixMilli())
	}}
	_, err := replay.RunAudit(t.Context(), m, replay.Everything, o, replay.AuditSettings{})
	require.NoError(t, err)
	require.Equal(t, []int64{8191, 16_383}, told)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := replay.RunAudit(ctx, m, replay.Everything, o, replay.AuditSettings{})
	require.ErrorIs(t, err, context.Canceled)
	require.EqualValues(t, 4095, got.Plans)
}
