package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// plan is one well-formed plan of the acceptance run and what becomes of its heat.
type plan struct {
	id       string
	form     string // full, short or envelope
	decision string
	delay    time.Duration // of its heat; 0: never

	entryID string
	written time.Time // when writing the heat began, zero before
}

const (
	acceptanceWait = 8 * time.Second // long enough that a busy machine does not turn what is in time into what is late
	afterWait      = 2 * time.Second // how long after the deadline late heat comes: much longer than any test machine sleeps
)

// TestAcceptance is "it is done when" of the observer: plans as all their producers write them, heat in time, too late
// and never, malformed entries of every kind among them, and at the end every one accounted for.
func TestAcceptance(t *testing.T) {
	t.Parallel()
	total, perSecond := 1_500, 600
	if os.Getenv("HEAT_FULL") == "1" {
		total, perSecond = 20_000, 600
	}
	srv := redistest.Start(t)
	rdb := srv.Client()
	o := start(t, srv, settings{
		"P28_LATE_OBS_MAX_WAIT_MS":  fmt.Sprint(acceptanceWait.Milliseconds()),
		"P28_LATE_OBS_MAX_INFLIGHT": "8000",
	})

	run := &acceptance{t: t, rdb: rdb, parked: map[string]malformed{}}
	run.publisher(srv)
	run.publish(total, perSecond)
	run.heats.Wait()
	awaitQuiet(t, rdb, earlyGroup, lateGroup)

	seen := observations(t, rdb, 400)
	reasons := series{}
	for _, p := range run.plans {
		run.checkEarly(p, seen[earlyPoint][p.id])
		run.checkLate(p, seen[latePoint][p.id])
		reasons[reasonSeries(earlyPoint, seen[earlyPoint][p.id].reason())]++
		reasons[reasonSeries(latePoint, seen[latePoint][p.id].reason())]++
	}
	require.Len(t, seen[earlyPoint], len(run.plans))
	require.Len(t, seen[latePoint], len(run.plans))
	run.checkParked()

	o.awaitMetrics(reasons)
	assertOneLiner(t, srv, o, strings.Replace(oneLiner, "COUNT 200", "COUNT 1000000", 1))
	assert.Empty(t, o.logs.Lines("level=ERROR"), "an error is for what a human must mend")
	require.NoError(t, o.stop())
	var delays []int64
	for _, o := range seen[earlyPoint] {
		delays = append(delays, o.debug.WaitMs)
	}
	slices.Sort(delays)
	t.Logf("%d plans, %d malformed; early looks after p50 %d ms, p99 %d ms, most %d ms; %v", len(run.plans), len(run.parked),
		delays[len(delays)/2], delays[len(delays)*99/100], delays[len(delays)-1], reasons)
}

// acceptance publishes plans and writes their heat.
type acceptance struct {
	t        testing.TB
	rdb      *redis.Client
	envelope message.Publisher
	sent     *envelopeID

	plans  []*plan
	parked map[string]malformed // by entry ID
	heats  sync.WaitGroup
}

// envelopeID notes the ID of the entry that watermill-redisstream has added, which it does not tell.
type envelopeID struct{ last string }

func (e *envelopeID) DialHook(next redis.DialHook) redis.DialHook { return next }
func (e *envelopeID) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (e *envelopeID) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if added, ok := cmd.(*redis.StringCmd); ok && cmd.Name() == "xadd" {
			e.last = added.Val()
		}
		return err
	}
}

// publisher makes the publisher of watermill-redisstream, the peer whose envelopes must be read.
func (a *acceptance) publisher(srv *redistest.Server) {
	a.sent = &envelopeID{}
	client := srv.NewClient(nil)
	client.AddHook(a.sent)
	p, err := redisstream.NewPublisher(redisstream.PublisherConfig{Client: client}, watermill.NopLogger{})
	require.NoError(a.t, err)
	a.envelope = p
	a.t.Cleanup(func() { assert.NoError(a.t, p.Close()) })
}

// publish writes total entries at a steady rate: 1 in 100 malformed, by turns of every kind.
func (a *acceptance) publish(total, perSecond int) {
	kinds := malformedKinds()
	rng := rand.New(rand.NewPCG(1, 2))
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	begun, bad := time.Now(), 0
	for n := range total {
		for float64(n) > time.Since(begun).Seconds()*float64(perSecond) {
			<-pace.C
		}
		// Small runs have to meet every kind, too.
		if n%100 == 50 || total < 5_000 && n%50 == 0 && bad < len(kinds) {
			kind := kinds[bad%len(kinds)]
			bad++
			a.parked[publish(a.t, a.rdb, kind.pairs...)] = kind
			continue
		}
		a.add(uint64(n), rng)
	}
	require.GreaterOrEqual(a.t, bad, len(kinds), "not every kind of malformed entry was written")
}

func (a *acceptance) add(n uint64, rng *rand.Rand) {
	pairs := pipeline.PlanPairs(1, n, time.Now())
	fields := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i]] = pairs[i+1]
	}
	p := &plan{id: fields["plan_id"], form: "full", decision: fields["decision"]}
	switch share := rng.Float64(); {
	case share < 0.80:
		p.delay = 50*time.Millisecond + time.Duration(rng.Int64N(int64(250*time.Millisecond)))
	case share < 0.85:
		p.delay = acceptanceWait + afterWait
	}
	switch share := rng.Float64(); {
	case share < 0.1:
		p.form, p.decision = "short", ""
		p.entryID = publish(a.t, a.rdb, "plan_id", p.id, "symbol", fields["symbol"])
	case share < 0.2:
		p.form = "envelope"
		payload, err := json.Marshal(fields)
		require.NoError(a.t, err)
		m := message.NewMessage(watermill.NewUUID(), payload)
		m.Metadata.Set("trace", "7")
		require.NoError(a.t, a.envelope.Publish(planStream, m))
		p.entryID = a.sent.last
	default:
		p.entryID = publish(a.t, a.rdb, pairs...)
	}
	a.plans = append(a.plans, p)
	if p.delay == 0 {
		return
	}
	a.heats.Add(1)
	time.AfterFunc(p.delay, func() {
		defer a.heats.Done()
		p.written = time.Now()
		assert.NoError(a.t, a.rdb.HSet(context.Background(), heatPrefix+p.id, heatPairs(p.id)).Err())
	})
}

// checkEarly: what the early observation may say follows from when the heat was written. Nothing here depends on how
// fast the machine is.
func (a *acceptance) checkEarly(p *plan, o observation) {
	a.t.Helper()
	a.checkCommon(p, o)
	switch o.reason() {
	case "ok":
		require.True(a.t, p.delay > 0 && o.debug.WaitMs >= p.delay.Milliseconds()-1, "plan %+v found before it was written: %v", p, o.fields)
	case "missing":
	default:
		a.t.Fatalf("early observation of plan %+v: %v", p, o.fields)
	}
	require.False(a.t, o.debug.AfterDeadline)
}

func (a *acceptance) checkLate(p *plan, o observation) {
	a.t.Helper()
	a.checkCommon(p, o)
	wait := acceptanceWait.Milliseconds()
	switch {
	case p.delay == 0, p.delay > acceptanceWait:
		require.Equal(a.t, "timeout", o.reason(), "plan %+v: %v", p, o.fields)
		require.GreaterOrEqual(a.t, o.debug.WaitMs, wait)
	default:
		require.Equal(a.t, "ok", o.reason(), "plan %+v: %v", p, o.fields)
		require.GreaterOrEqual(a.t, o.debug.WaitMs, p.delay.Milliseconds()-1)
		require.LessOrEqual(a.t, o.debug.WaitMs, wait, "the wait was not ended by the heat: %v", o.fields)
		require.False(a.t, o.debug.AfterDeadline)
		require.Equal(a.t, "0.8125", o.fields["heat_score"])
		require.Equal(a.t, "HOLD_CLOSE", o.fields["heat_out_action"])
		require.Equal(a.t, "FULL_CLOSE_PROPOSED", o.debug.InAction)
	}
}

func (a *acceptance) checkCommon(p *plan, o observation) {
	a.t.Helper()
	require.NotEmpty(a.t, o.entryID, "plan %+v has no observation", p)
	require.Equal(a.t, p.entryID, o.debug.SourceID, "plan %+v", p)
	require.Equal(a.t, p.decision, o.fields["apply_decision"], "plan %+v", p)
	if o.reason() != "ok" {
		for _, name := range observedFields[6:12] {
			require.Empty(a.t, o.fields[name], "%s without heat", name)
		}
	}
}

// checkParked: every malformed entry is a dead letter, once for each group, and nothing else is.
func (a *acceptance) checkParked() {
	a.t.Helper()
	letters := deadLetters(a.t, a.rdb)
	for _, group := range []string{earlyGroup, lateGroup} {
		require.Len(a.t, letters[group], len(a.parked), group)
		for id, kind := range a.parked {
			d, ok := letters[group][id]
			require.True(a.t, ok, "%s, entry %s, is not parked for %s", kind.name, id, group)
			require.Equal(a.t, kind.reason, d.reason, "%s: %s", kind.name, d.error)
			require.Equal(a.t, planStream, d.stream)
			require.Equal(a.t, "1", d.failures)
			require.NotEmpty(a.t, d.error)
			require.Less(a.t, len(d.error), 1100)
			requireRaw(a.t, kind.pairs, d.raw)
		}
		dead, err := a.rdb.HGet(a.t.Context(), totalsKey, "dead:"+group).Int()
		require.NoError(a.t, err)
		require.Equal(a.t, len(a.parked), dead)
	}
}

// TestWaitingPlansHoldUpNoOther: 200 plans that wait for two seconds each wait together. One after the other would
// take 400 seconds, and ten at a time 40: the bound is far from both, so that a busy machine does not matter.
func TestWaitingPlansHoldUpNoOther(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	rdb := srv.Client()
	start(t, srv)
	begun := time.Now()
	for i := range 200 {
		publish(t, rdb, "plan_id", fmt.Sprintf("plan%03d", i), "symbol", "BTCUSDT")
	}
	awaitObserved(t, rdb, 400)
	took := time.Since(begun)
	require.GreaterOrEqual(t, took, 2*time.Second)
	require.Less(t, took, 20*time.Second)
	for _, o := range observations(t, rdb, 400)[latePoint] {
		require.Equal(t, "timeout", o.reason())
		require.Equal(t, "deadline", o.debug.Noticed)
	}
}
