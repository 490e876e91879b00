package web

import (
	"context"
	"fmt"
	"time"

	"heatobserver/entry"
	"heatobserver/operate"
)

// snapshot is what one round has read. It is never changed.
type snapshot struct {
	made  time.Time // by the local clock
	time  time.Time // by the server's
	redis Redis

	status  operate.Status
	streams operate.Streams
	said    map[string]operate.Announcement
	items   []item
	plans   *float64 // plans per second, nil where unknown
	dayAgo  DayAgo
	advice  advice

	memo *memo
}

// Redis says whether Redis could be read and of when the rest is.
type Redis struct {
	Reachable bool      `json:"reachable"`
	AsOf      time.Time `json:"as_of"`
	Error     string    `json:"error"`
}

// collector reads. One goroutine calls round.
type collector struct {
	opts   *Options
	curves *curves

	ring   ring
	added  int64     // of the observed stream when it was read last, negative when unknown
	readAt time.Time // when that was
	last   *snapshot

	published []publishedAt // the plan stream lately
	dayAgo    DayAgo
	dayAgoAt  time.Time
}

// publishedAt is how many plans had ever been added at a moment.
type publishedAt struct {
	at    time.Time
	added int64
}

// round reads once. When Redis does not answer it is the last snapshot that says so.
func (c *collector) round(ctx context.Context) *snapshot {
	ctx, cancel := context.WithTimeout(ctx, c.opts.PollTimeout)
	defer cancel()
	s, err := c.read(ctx)
	if err != nil {
		before := snapshot{dayAgo: DayAgo{Note: "Redis cannot be read."}}
		if c.last != nil {
			before = *c.last
		}
		before.redis = Redis{Reachable: false, AsOf: before.time, Error: clip(err.Error(), 500)}
		s = &before
	}
	s.made = time.Now()
	s.advice = c.curves.advice()
	s.memo = &memo{}
	c.last = s
	return s
}

func (c *collector) read(ctx context.Context) (*snapshot, error) {
	status, err := c.opts.Source.Status(ctx, operate.Limits{})
	if err != nil {
		return nil, err
	}
	s := &snapshot{time: status.Time, status: status, redis: Redis{Reachable: true, AsOf: status.Time}}
	if s.streams, err = c.opts.Source.StreamsNow(ctx); err != nil {
		return nil, err
	}
	if err := c.tail(ctx, s.streams, s.time); err != nil {
		return nil, err
	}
	s.items = c.ring.view()
	if s.plans, err = c.publishing(ctx, s); err != nil {
		return nil, err
	}
	if s.dayAgo, err = c.yesterday(ctx, s); err != nil {
		return nil, err
	}
	// An ACL of before there were announcements is no reason to show nothing.
	s.said, _ = c.opts.Source.Announcements(ctx, consumers(status, c.opts.Consumer))
	return s, nil
}

// tail brings the ring up to date.
func (c *collector) tail(ctx context.Context, streams operate.Streams, now time.Time) error {
	state := streams.Observed
	last := c.ring.last()
	if state.Last.Compare(last) < 0 { // flushed, or another Redis
		c.ring, last = ring{}, entry.ID{}
	}
	if state.Length == 0 {
		c.ring = ring{}
		c.added = state.Added
		return nil
	}
	fresh := state.Added - c.added // meaningless where either is unknown
	known := state.Added >= 0 && c.added > 0
	most := ringMost
	if time.Since(c.readAt) < lookedFor && last != (entry.ID{}) {
		most = readBurst
		if known && fresh > readBurst {
			most = readPage // whoever writes as much is not to be slowed down by us
		}
	}
	to := entry.MaxID
	if c.opts.Partitions > 1 { // what one partition writes while another is read is taken next time
		to = entry.IDAt(now).Prev()
	}
	read, err := c.newest(ctx, last, to, most)
	if err != nil {
		return err
	}
	var skipped int64
	if len(read) >= most && known {
		skipped = max(0, fresh-int64(len(read)))
	}
	if len(read) >= ringMost {
		c.ring, skipped = ring{}, 0
	}
	c.ring.add(read, skipped)
	c.added, c.readAt = state.Added, time.Now()
	c.ring.trim(state.First)
	return nil
}

// newest reads the newest entries behind an ID, page by page.
func (c *collector) newest(ctx context.Context, behind, to entry.ID, most int) ([]operate.Observed, error) {
	var all []operate.Observed
	for len(all) < most && to.Compare(behind) > 0 {
		page, err := c.opts.Source.Observed(ctx, behind.Next(), to, readPage)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < readPage {
			break
		}
		to = page[len(page)-1].ID.Prev()
	}
	return all, nil
}

const rateOver = 10 * time.Second // rates are of so long

// publishing is how many plans are published in a second.
func (c *collector) publishing(ctx context.Context, s *snapshot) (*float64, error) {
	added := s.streams.Plans.Added
	if added < 0 {
		n, err := c.opts.Source.PlansSince(ctx, s.time.Add(-rateOver), readBurst)
		if err != nil || n >= readBurst {
			return nil, err
		}
		rate := float64(n) / rateOver.Seconds()
		return &rate, nil
	}
	for len(c.published) > 0 && (s.time.Sub(c.published[0].at) > rateOver || c.published[0].added > added || len(c.published) > 100) {
		c.published = c.published[1:]
	}
	c.published = append(c.published, publishedAt{s.time, added})
	first := c.published[0]
	seconds := s.time.Sub(first.at).Seconds()
	if seconds < 0.5 {
		return nil, nil
	}
	rate := float64(added-first.added) / seconds
	return &rate, nil
}

const (
	day         = 24 * time.Hour
	dayAgoMost  = 2000
	dayAgoEvery = time.Minute
)

// yesterday looks, once a minute, at what was observed 24 h ago.
func (c *collector) yesterday(ctx context.Context, s *snapshot) (DayAgo, error) {
	if time.Since(c.dayAgoAt) < dayAgoEvery {
		return c.dayAgo, nil
	}
	to := s.time.Add(-day)
	from := to.Add(-window)
	first := s.streams.Observed.First
	out := DayAgo{}
	switch {
	case s.streams.Observed.Length == 0:
		out.Note = "Nothing has been observed yet."
	case first.Time().After(to):
		out.Note = fmt.Sprintf("Observations reach back no further than %s.",
			first.Time().UTC().Format(time.RFC3339))
	default:
		read, err := c.opts.Source.Observed(ctx, entry.IDAt(from), entry.IDAt(to), dayAgoMost)
		if err != nil {
			return out, err
		}
		var r ring
		r.add(read, 0)
		late, early := pointsOf(r.items, c.opts)
		if late.Observations+early.Observations == 0 {
			out.Note = "Nothing was observed 24 h ago."
			break
		}
		out.Available, out.Late, out.Early = true, &late, &early
		if len(read) >= dayAgoMost {
			out.Note = fmt.Sprintf("The last %d observations of that window.", dayAgoMost)
		}
	}
	c.dayAgo, c.dayAgoAt = out, time.Now()
	return out, nil
}

// consumers are the names of all consumers, once each, and that of this process.
func consumers(s operate.Status, own string) []string {
	seen := map[string]bool{}
	var names []string
	add := func(name string) {
		if name != "" && len(name) <= 1024 && !seen[name] && len(names) < workersMost {
			seen[name] = true
			names = append(names, name)
		}
	}
	add(own)
	for _, g := range s.Groups {
		for _, consumer := range g.Consumers {
			add(consumer.Name)
		}
	}
	return names
}
