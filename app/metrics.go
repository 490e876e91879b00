package app

import (
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/heat"
	"heatobserver/stream"
)

// metrics are the metrics of one process. The p28 families are those of the wire contract: their 15 series exist from the
// start and there are never more, because every label is an enumeration of ours.
type metrics struct {
	registry *prometheus.Registry

	observed *prometheus.CounterVec // obs_point, heat_found
	reasons  *prometheus.CounterVec // obs_point, reason
	dropped  prometheus.Counter

	waits     *prometheus.HistogramVec // noticed
	delays    prometheus.Histogram
	beyond    prometheus.Counter
	handled   *prometheus.HistogramVec // handler, outcome
	lookups   prometheus.Histogram
	trips     prometheus.Histogram
	looked    *prometheus.CounterVec // result
	announced prometheus.Counter
	resets    prometheus.Counter

	commits     *prometheus.CounterVec // obs_point, result
	commitTook  prometheus.Histogram
	batch       prometheus.Histogram
	reads       *prometheus.CounterVec // group, kind
	retries     *prometheus.CounterVec // op
	deadLetters *prometheus.CounterVec // group, reason
	lost        *prometheus.CounterVec // group
	heals       *prometheus.CounterVec // group
	redelivered *prometheus.CounterVec // group
	handedBack  *prometheus.CounterVec // group

	written map[writtenKey]counts // the counters of a written observation, found once

	total       atomic.Int64 // of observations written
	commitsFail atomic.Int64 // since when commits fail, in unix ms; 0 while they work
}

// writtenKey is what an observation is counted by.
type writtenKey struct {
	point  event.Point
	reason event.Reason
}

// counts are the counters that rise for it. Finding them by their labels each time costs more than counting.
type counts struct{ commits, observed, reasons prometheus.Counter }

const namespace = "heat_observer"

// newMetrics registers everything that is counted. maxWait sets the buckets of waits, dense around it.
func newMetrics(maxWait time.Duration, groups []string) *metrics {
	m := &metrics{registry: prometheus.NewRegistry()}
	m.contract()
	m.waiting(maxWait)
	m.transport(groups)
	m.written = map[writtenKey]counts{}
	for _, point := range event.Points {
		for _, reason := range event.Reasons {
			found := "0"
			if reason == event.OK {
				found = "1"
			}
			m.written[writtenKey{point, reason}] = counts{
				commits:  m.commits.WithLabelValues(point.String(), string(stream.Written)),
				observed: m.observed.WithLabelValues(point.String(), found),
				reasons:  m.reasons.WithLabelValues(point.String(), string(reason)),
			}
		}
	}
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, with the version that runs.",
	}, []string{"version", "goversion"})
	build, _ := debug.ReadBuildInfo()
	if build != nil {
		info.WithLabelValues(build.Main.Version, build.GoVersion).Set(1)
	}
	m.registry.MustRegister(info,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// contract makes the 15 series of the wire contract.
func (m *metrics) contract() {
	m.observed = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "p28_observed_total", Help: "Observations that this process wrote, by whether the heat was there.",
	}, []string{"obs_point", "heat_found"})
	m.reasons = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "p28_heat_reason_total", Help: "Observations that this process wrote, by their reason.",
	}, []string{"obs_point", "reason"})
	m.dropped = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "p28_late_obs_dropped_total", Help: "Plans that the late handler skipped at saturation.",
	})
	for _, point := range event.Points {
		for _, found := range []string{"0", "1"} {
			m.observed.WithLabelValues(point.String(), found)
		}
		for _, reason := range event.Reasons {
			m.reasons.WithLabelValues(point.String(), string(reason))
		}
	}
	m.registry.MustRegister(m.observed, m.reasons, m.dropped)
}

// waitBuckets are dense around the allowed wait and in the range in which heat is expected to come.
func waitBuckets(maxWait time.Duration) []float64 {
	w := maxWait.Seconds()
	buckets := []float64{w * 0.0025, w * 0.005, w * 0.01, w * 0.025}
	for _, share := range []float64{0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.25, 1.5, 2, 4, 8, 16} {
		buckets = append(buckets, w*share)
	}
	return buckets
}

// histogram has classic buckets and, where the scraper takes them, native ones.
func histogram(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// tookBuckets are for calls to Redis and what contains them: 100 µs to 13 s.
var tookBuckets = prometheus.ExponentialBuckets(0.0001, 2.5, 14)

func (m *metrics) waiting(maxWait time.Duration) {
	m.waits = prometheus.NewHistogramVec(histogram("wait_seconds",
		"Time from publishing a plan to the look that ended its late wait, by what caused that look.", waitBuckets(maxWait)), []string{"noticed"})
	m.delays = prometheus.NewHistogram(histogram("heat_delay_seconds",
		"Time from publishing a plan to its heat, for heat that was found, and for a sample of the plans whose wait timed out.", waitBuckets(maxWait)))
	m.beyond = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "after_deadline_total",
		Help: "Late observations that this process wrote of heat found after the deadline; they prove nothing about the allowed wait."})
	m.handled = prometheus.NewHistogramVec(histogram("handler_seconds",
		"Time in a handler, with all its middleware, until its answer goes to be written.", tookBuckets), []string{"handler", "outcome"})
	m.lookups = prometheus.NewHistogram(histogram("lookup_seconds", "Time that Redis took to answer one batch of lookups.", tookBuckets))
	m.trips = prometheus.NewHistogram(histogram("redis_round_trip_seconds", "Time that Redis took to answer the shortest of questions, asked every 10 s.", tookBuckets))
	m.looked = prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: "lookups_total",
		Help: "Looks at plans' heat."}, []string{"result"})
	m.announced = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "notifications_total",
		Help: "Writes of heat that Redis announced."})
	m.resets = prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: "notification_resets_total",
		Help: "Times that announcements began, ended or may have been missed, and everything was looked at again."})
	m.gauge("max_wait_seconds", "The allowed wait, P28_LATE_OBS_MAX_WAIT_MS.", nil, maxWait.Seconds)
	for _, result := range []string{"found", "absent", "failed"} {
		m.looked.WithLabelValues(result)
	}
	for n := event.AtOnce; n <= event.Deadline; n++ {
		m.waits.WithLabelValues(n.String())
	}
	m.registry.MustRegister(m.waits, m.delays, m.beyond, m.handled, m.lookups, m.trips, m.looked, m.announced, m.resets)
}

func (m *metrics) transport(groups []string) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	m.commits = counter("commits_total", "Observations by what became of their commit.", "obs_point", "result")
	m.reads = counter("entries_read_total", "Entries taken into hand, new ones and those taken over from other consumers.", "group", "kind")
	m.retries = counter("retries_total", "Operations that failed and were tried again.", "op")
	m.deadLetters = counter("dead_letters_total", "Entries that were parked.", "group", "reason")
	m.lost = counter("entries_lost_to_retention_total", "Entries that were trimmed away before they were read, or while they were pending.", "group")
	m.heals = counter("group_heals_total", "Times that this process built a vanished consumer group again.", "group")
	m.redelivered = counter("redeliveries_total", "Messages that were delivered again after a nack.", "group")
	m.handedBack = counter("entries_handed_back_total", "Entries that were left to other consumers at the end.", "group")
	m.commitTook = prometheus.NewHistogram(histogram("commit_seconds", "Time that one commit script took, with its round trip.", tookBuckets))
	m.batch = prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: "commit_batch_observations",
		Help: "Observations in one commit script.", Buckets: prometheus.ExponentialBuckets(1, 2, 11)})
	m.registry.MustRegister(m.commitTook, m.batch)
	for _, op := range []string{"read", "claim", "commit", "ack"} { // those that alerts look at count from the start
		m.retries.WithLabelValues(op)
	}
	for _, point := range event.Points {
		for _, result := range stream.CommitResults {
			m.commits.WithLabelValues(point.String(), string(result))
		}
	}
	for _, group := range groups {
		for _, reason := range event.DeadReasons {
			m.deadLetters.WithLabelValues(group, string(reason))
		}
		for _, vec := range []*prometheus.CounterVec{m.lost, m.heals, m.redelivered, m.handedBack} {
			vec.WithLabelValues(group)
		}
	}
}

// heat is what the lookup and the waiter tell.
func (m *metrics) heat() heat.Metrics {
	return heat.Metrics{
		Looked: func(l heat.Lookup) {
			m.lookups.Observe(l.Took.Seconds())
			m.looked.WithLabelValues("found").Add(float64(l.Found))
			m.looked.WithLabelValues("failed").Add(float64(l.Failed))
			m.looked.WithLabelValues("absent").Add(float64(l.Plans - l.Found - l.Failed))
		},
		Waited: func(v event.Verdict) {
			m.waits.WithLabelValues(v.Noticed.String()).Observe(v.Waited.Seconds())
			if v.Reason == event.OK && !v.AfterDeadline {
				m.delays.Observe(v.Waited.Seconds())
			}
		},
		Watched: func(v event.Verdict) {
			if v.Reason == event.OK {
				m.delays.Observe(v.Waited.Seconds())
			}
		},
		Notified: func(bool) { m.announced.Inc() },
		Reset:    func(bool) { m.resets.Inc() },
	}
}

// Committed counts what was written from what was written: the fields of the observation itself. It and the methods below
// are those of stream.Events.
func (m *metrics) Committed(answer *message.Message, result stream.CommitResult) {
	if m.commitsFail.Load() != 0 {
		m.commitsFail.Store(0)
	}
	point, reason, ok := event.PeekObservation(entry.Fields(answer.Payload))
	if !ok {
		return
	}
	c := m.written[writtenKey{point, reason}]
	if result == stream.Written {
		c.commits.Inc()
	} else {
		m.commits.WithLabelValues(point.String(), string(result)).Inc()
	}
	if result == stream.Written || result == stream.Trimmed {
		c.observed.Inc()
		c.reasons.Inc()
		m.total.Add(1)
		if point == event.Late && reason == event.OK && event.PeekAfterDeadline(entry.Fields(answer.Payload)) {
			m.beyond.Inc() // here and not when the wait ends: coverage subtracts it from what was written
		}
	}
}

var _ stream.Events = (*metrics)(nil)

func (m *metrics) roundTrip(took time.Duration) { m.trips.Observe(took.Seconds()) }

func (m *metrics) CommitBatch(n int, took time.Duration) {
	m.batch.Observe(float64(n))
	m.commitTook.Observe(took.Seconds())
}

func (m *metrics) Read(_, group string, n int, fresh bool, _ time.Duration) {
	kind := "taken_over"
	if fresh {
		kind = "new"
	}
	m.reads.WithLabelValues(group, kind).Add(float64(n))
}

func (m *metrics) Healed(_, group string)        { m.heals.WithLabelValues(group).Inc() }
func (m *metrics) Lost(_, group string, n int64) { m.lost.WithLabelValues(group).Add(float64(n)) }
func (m *metrics) Dropped(_, _ string)           { m.dropped.Inc() }
func (m *metrics) Redelivered(_, group string)   { m.redelivered.WithLabelValues(group).Inc() }

func (m *metrics) Failed(op string) {
	m.retries.WithLabelValues(op).Inc()
	if op == "commit" {
		m.commitsFail.CompareAndSwap(0, time.Now().UnixMilli())
	}
}

// commitsFailSince is zero unless the last commits of all have failed for a second: less is a blip.
func (m *metrics) commitsFailSince() time.Time {
	ms := m.commitsFail.Load()
	if since := time.UnixMilli(ms); ms != 0 && time.Since(since) > time.Second {
		return since
	}
	return time.Time{}
}

func (m *metrics) DeadLettered(_, group, reason string) {
	m.deadLetters.WithLabelValues(group, reason).Inc()
}

func (m *metrics) HandedBack(_, group string, n int) {
	m.handedBack.WithLabelValues(group).Add(float64(n))
}

func (m *metrics) handler(name string) func(outcome string, took time.Duration) {
	answered := m.handled.WithLabelValues(name, "answered")
	return func(outcome string, took time.Duration) {
		if outcome == "answered" { // by far the most
			answered.Observe(took.Seconds())
			return
		}
		m.handled.WithLabelValues(name, outcome).Observe(took.Seconds())
	}
}

// gauge registers a value that is read when it is asked for.
func (m *metrics) gauge(name, help string, labels prometheus.Labels, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: namespace, Name: name, Help: help, ConstLabels: labels,
	}, value))
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
