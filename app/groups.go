package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"heatobserver/stream"
)

// groupCollector reads the state of the consumer groups from Redis when metrics are scraped, at most once a second. What
// Redis does not know is absent, never 0.
type groupCollector struct {
	client redis.UniversalClient
	groups []streamGroup

	mu       sync.Mutex
	read     time.Time
	states   []stream.GroupState // of those that Redis told of
	answered bool                // something, be it that we may not know

	up, lag, pending, oldest, behind, consumers *prometheus.Desc
}

// streamGroup names one group of one stream.
type streamGroup struct{ stream, group string }

func newGroupCollector(client redis.UniversalClient, groups []streamGroup) *groupCollector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &groupCollector{
		client: client,
		groups: groups,
		up:     desc("redis_up", "1 when Redis answered the last scrape."),
		lag:    desc("lag_entries", "Entries of the stream that the group was not yet given; absent when Redis does not know.", "stream", "group"),
		pending: desc("pending_entries", "Entries that the group was given and has not acknowledged, over all workers; "+
			"waiting plans are among them.", "stream", "group"),
		oldest:    desc("oldest_pending_seconds", "Age of the oldest pending entry, since it was published.", "stream", "group"),
		behind:    desc("behind_seconds", "Age of the oldest entry that the group was not yet given, since it was published.", "stream", "group"),
		consumers: desc("consumers", "Consumers of the group.", "stream", "group"),
	}
}

// Describe is part of prometheus.Collector.
func (c *groupCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.lag, c.pending, c.oldest, c.behind, c.consumers} {
		ch <- d
	}
}

// Collect is part of prometheus.Collector.
func (c *groupCollector) Collect(ch chan<- prometheus.Metric) {
	states, answered := c.inspect()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(c.up, boolean(answered))
	for _, s := range states {
		if !s.Exists {
			continue
		}
		if s.Lag != stream.UnknownLag {
			gauge(c.lag, float64(s.Lag), s.Stream, s.Group)
		}
		gauge(c.pending, float64(s.Pending), s.Stream, s.Group)
		gauge(c.oldest, s.OldestPending.Seconds(), s.Stream, s.Group)
		gauge(c.behind, s.Behind.Seconds(), s.Stream, s.Group)
		gauge(c.consumers, float64(len(s.Consumers)), s.Stream, s.Group)
	}
}

// inspect asks for each group by itself: one that may not be read, or whose node is away, takes nothing from the others.
func (c *groupCollector) inspect() (states []stream.GroupState, answered bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.read) < time.Second {
		return c.states, c.answered
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	all, errs := make([]stream.GroupState, len(c.groups)), make([]error, len(c.groups))
	var asked errgroup.Group
	asked.SetLimit(8)
	for i, g := range c.groups {
		asked.Go(func() error {
			all[i], errs[i] = stream.Inspect(ctx, c.client, g.stream, g.group)
			return nil
		})
	}
	_ = asked.Wait() // each has an error of its own
	c.read, c.states, c.answered = time.Now(), nil, false
	for i, err := range errs {
		if err == nil {
			c.states = append(c.states, all[i])
		}
		c.answered = c.answered || err == nil || isAnswer(err)
	}
	return c.states, c.answered
}

// isAnswer tells a reply that refuses (a right that is missing, a key of another type) from one that says that Redis
// cannot serve anybody now, and from none.
func isAnswer(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply) && !slices.ContainsFunc([]string{"LOADING", "CLUSTERDOWN", "MASTERDOWN"},
		func(code string) bool { return strings.HasPrefix(reply.Error(), code) })
}
