package replay

import (
	"math"
	"time"

	"heatobserver/event"
)

// Settings are those of the observer that is simulated. Times are counted in whole milliseconds, as entry IDs are.
type Settings struct {
	MaxWait   time.Duration // P28_LATE_OBS_MAX_WAIT_MS
	Poll      time.Duration // P28_LATE_OBS_POLL_MS
	Notify    bool          // looks when a hash is written; else every Poll only
	DedupeTTL time.Duration // P28_DEDUPE_TTL_SEC
	Inflight  int           // late plans waiting at once, over all workers; 0 = no limit
	Skip      bool          // at that limit drop plans; else they stay in the stream until there is room
	ReadDelay time.Duration // from publish to the first look
	MaxErrors int           // P28_LATE_OBS_MAX_REDIS_ERRORS; history holds no such errors
}

// waiter is a late plan between its first look and its end.
type waiter struct {
	plan  event.Plan
	key   *key
	wait  event.Wait
	order int // of reading
	due   int // how often it stands in looks
	over  bool
	next  *waiter // that waits for the same plan ID
}

// simulation is one observer with its own settings. It sees the hashes that it shares with others at the same moment.
type simulation struct {
	Settings
	number int // among those that share the hashes
	hashes *hashes
	known  int64 // where what is known of the hashes begins
	end    int64
	result *Result
	emit   func(*event.Observation) error
	err    error

	inflight int
	backlog  queue[late] // plans that there is no room for
	looks    looks
	order    int
	dedupe   [len(event.Points)]queue[expiry]
	ttl      int64     // of a dedupe key
	free     []*waiter // to be used again
}

// late is a plan with its key.
type late struct {
	plan event.Plan
	key  *key
}

func newSimulation(number int, s Settings, h *hashes, begin, end int64, emit func(*event.Observation) error) *simulation {
	return &simulation{
		Settings: s, number: number, hashes: h, known: begin, end: end, emit: emit, result: newResult(), ttl: s.DedupeTTL.Milliseconds(),
	}
}

// advance makes all looks that are due before t.
func (s *simulation) advance(t int64) {
	for len(s.looks) > 0 && s.looks[0].at < t {
		l := s.looks.pop()
		l.w.due--
		if l.w.over {
			s.recycle(l.w)
			continue
		}
		s.look(l.w, l.at, event.Sweep)
		s.refill(l.at)
	}
}

// refill takes plans out of the backlog while there is room.
func (s *simulation) refill(t int64) {
	for s.backlog.len() > 0 && s.inflight < s.Inflight {
		l := s.backlog.pop()
		s.begin(l.plan, l.key, t)
		s.hashes.release(l.key)
	}
}

// written makes the looks that follow from the announcement that a hash was written at t.
func (s *simulation) written(k *key, t int64) {
	if !s.Notify {
		return
	}
	for w := k.of(s.number).waiting; w != nil; {
		next := w.next
		s.look(w, t, event.Notification)
		w = next
	}
	s.refill(t)
}

// read takes a plan at t, which is its publish time and the read delay.
func (s *simulation) read(plan event.Plan, k *key, t int64) {
	s.result.Plans++
	if int64(plan.ID.Ms) < s.known { // found or not: to count the found alone would flatter
		s.result.TooEarly++
		s.result.Points[event.Early].Undecided++
		s.result.Points[event.Late].Undecided++
		return
	}
	if t > s.end {
		s.result.Points[event.Early].Undecided++
	} else {
		early := event.NewWait(event.Early, plan.ID.Time(), s.rules())
		if v, over := early.Add(k.look(t), event.AtOnce); over {
			s.commit(&plan, k, event.Early, v)
		}
	}
	switch {
	case int64(plan.ID.Ms)+s.MaxWait.Milliseconds() > s.end:
		s.result.Points[event.Late].Undecided++
	case s.Inflight > 0 && s.inflight >= s.Inflight && s.Skip:
		s.result.Dropped++
	case s.Inflight > 0 && (s.inflight >= s.Inflight || s.backlog.len() > 0):
		k.refs++
		s.backlog.push(late{plan, k})
		s.result.BacklogPeak = max(s.result.BacklogPeak, s.backlog.len())
	default:
		s.begin(plan, k, t)
	}
}

func (s *simulation) rules() event.Rules {
	return event.Rules{MaxWait: s.MaxWait, Poll: s.Poll, MaxErrors: s.MaxErrors}
}

// begin makes the first late look at a plan.
func (s *simulation) begin(plan event.Plan, k *key, t int64) {
	s.result.added(t - int64(plan.ID.Ms) - s.ReadDelay.Milliseconds())
	w := s.waiter()
	*w = waiter{plan: plan, key: k, wait: event.NewWait(event.Late, plan.ID.Time(), s.rules()), order: s.order}
	s.order++
	k.refs++
	at := &k.of(s.number).waiting
	for *at != nil {
		at = &(*at).next
	}
	*at = w
	s.inflight++
	if !s.look(w, t, event.AtOnce) {
		s.result.InflightPeak = max(s.result.InflightPeak, s.inflight)
	}
}

// look makes a look and reports whether the wait is over; then the waiter may be another's.
func (s *simulation) look(w *waiter, t int64, noticed event.Noticed) (over bool) {
	if t >= w.wait.Deadline().UnixMilli() && noticed == event.Sweep {
		noticed = event.Deadline
	}
	v, over := w.wait.Add(w.key.look(t), noticed)
	if !over {
		sweep := s.Poll
		if s.Notify {
			sweep = s.MaxWait + s.Poll // nothing can be written unannounced here
		}
		w.due++
		s.looks.push(look{at: max(t+1, w.wait.Next(sweep).UnixMilli()), w: w})
		return false
	}
	s.finish(w)
	s.commit(&w.plan, w.key, event.Late, v)
	s.hashes.release(w.key)
	w.key = nil
	s.recycle(w)
	return true
}

func (s *simulation) finish(w *waiter) {
	w.over = true
	s.inflight--
	for at := &w.key.of(s.number).waiting; *at != nil; at = &(*at).next {
		if *at == w {
			*at = w.next
			return
		}
	}
}

func (s *simulation) waiter() *waiter {
	n := len(s.free)
	if n == 0 {
		return &waiter{}
	}
	w := s.free[n-1]
	s.free = s.free[:n-1]
	return w
}

// recycle keeps a waiter for later once nothing leads to it.
func (s *simulation) recycle(w *waiter) {
	if w.due == 0 && len(s.free) < 1024 {
		s.free = append(s.free, w)
	}
}

// commit writes an observation unless one of the plan was written within the dedupe TTL.
func (s *simulation) commit(plan *event.Plan, k *key, point event.Point, v event.Verdict) {
	if !s.dedupeKey(k, point, v.At.UnixMilli()) {
		s.result.Points[point].Duplicates++
		return
	}
	o := event.Observe(*plan, point, v, v.At)
	s.result.add(&o)
	if s.emit != nil && s.err == nil {
		s.err = s.emit(&o)
	}
}

// dedupeKey sets a dedupe key at t, unless it is there.
func (s *simulation) dedupeKey(k *key, point event.Point, t int64) bool {
	q := &s.dedupe[point]
	for q.len() > 0 && q.first().at <= t {
		s.hashes.release(q.pop().key)
	}
	until := &k.of(s.number).until[point]
	if t < *until {
		return false
	}
	*until = t + s.ttl
	k.refs++
	q.push(expiry{k, *until})
	return true
}

// close makes all looks up to the end of the history.
func (s *simulation) close() {
	end := s.end
	if end < math.MaxInt64 {
		end++
	}
	s.advance(end)
	s.result.Points[event.Late].Undecided += int64(s.inflight + s.backlog.len())
}

// look is a look that is due.
type look struct {
	at int64
	w  *waiter
}

// looks is a heap, the earliest first and of the same millisecond the one read first. container/heap would allocate for
// every look.
type looks []look

func (l look) before(other look) bool {
	return l.at < other.at || l.at == other.at && l.w.order < other.w.order
}

func (l *looks) push(v look) {
	h := append(*l, v)
	*l = h
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if !v.before(h[up]) {
			break
		}
		h[i], i = h[up], up
	}
	h[i] = v
}

func (l *looks) pop() look {
	h := *l
	first, v := h[0], h[len(h)-1]
	h[len(h)-1] = look{}
	h = h[:len(h)-1]
	*l = h
	if len(h) == 0 {
		return first
	}
	i := 0
	for {
		down := 2*i + 1
		if down >= len(h) {
			break
		}
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if !h[down].before(v) {
			break
		}
		h[i], i = h[down], down
	}
	h[i] = v
	return first
}
