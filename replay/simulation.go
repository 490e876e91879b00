package replay

import (
	"container/heap"
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
	wait  event.Wait
	order int // of reading
	over  bool
}

// simulation is one observer with its own settings. It sees the hashes that it shares with others at the same moment.
type simulation struct {
	Settings
	hashes *hashes
	known  int64 // where what is known of the hashes begins
	end    int64
	result *Result
	emit   func(*event.Observation) error
	err    error

	waiting  map[string][]*waiter
	inflight int
	backlog  queue[event.Plan] // late plans that there is no room for
	looks    looks
	order    int
	dedupe   [len(event.Points)]dedupe
}

func newSimulation(s Settings, h *hashes, begin, end int64, emit func(*event.Observation) error) *simulation {
	return &simulation{
		Settings: s, hashes: h, known: begin, end: end, emit: emit, result: newResult(),
		waiting: make(map[string][]*waiter),
		dedupe:  [...]dedupe{newDedupe(s.DedupeTTL), newDedupe(s.DedupeTTL)},
	}
}

// advance makes all looks that are due before t.
func (s *simulation) advance(t int64) {
	for len(s.looks) > 0 && s.looks[0].at < t {
		l := heap.Pop(&s.looks).(look)
		if !l.w.over {
			s.look(l.w, l.at, event.Sweep)
			s.refill(l.at)
		}
	}
}

// refill takes plans out of the backlog while there is room.
func (s *simulation) refill(t int64) {
	for s.backlog.len() > 0 && s.inflight < s.Inflight {
		s.begin(s.backlog.pop(), t)
	}
}

// written makes the looks that follow from the announcement that a plan's hash was written at t.
func (s *simulation) written(planID string, t int64) {
	if !s.Notify {
		return
	}
	for _, w := range append([]*waiter(nil), s.waiting[planID]...) {
		s.look(w, t, event.Notification)
	}
	s.refill(t)
}

// read takes a plan at t, which is its publish time and the read delay.
func (s *simulation) read(plan event.Plan, t int64) {
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
		if v, over := early.Add(s.hashes.look(plan.PlanID, t), event.AtOnce); over {
			s.commit(plan, event.Early, v)
		}
	}
	switch {
	case int64(plan.ID.Ms)+s.MaxWait.Milliseconds() > s.end:
		s.result.Points[event.Late].Undecided++
	case s.Inflight > 0 && s.inflight >= s.Inflight && s.Skip:
		s.result.Dropped++
	case s.Inflight > 0 && (s.inflight >= s.Inflight || s.backlog.len() > 0):
		s.backlog.push(plan)
		s.result.BacklogPeak = max(s.result.BacklogPeak, s.backlog.len())
	default:
		s.begin(plan, t)
	}
}

func (s *simulation) rules() event.Rules {
	return event.Rules{MaxWait: s.MaxWait, Poll: s.Poll, MaxErrors: s.MaxErrors}
}

// begin makes the first late look at a plan.
func (s *simulation) begin(plan event.Plan, t int64) {
	s.result.added(t - int64(plan.ID.Ms) - s.ReadDelay.Milliseconds())
	w := &waiter{plan: plan, wait: event.NewWait(event.Late, plan.ID.Time(), s.rules()), order: s.order}
	s.order++
	s.waiting[plan.PlanID] = append(s.waiting[plan.PlanID], w)
	s.inflight++
	s.look(w, t, event.AtOnce)
	if !w.over {
		s.result.InflightPeak = max(s.result.InflightPeak, s.inflight)
	}
}

func (s *simulation) look(w *waiter, t int64, noticed event.Noticed) {
	if t >= w.wait.Deadline().UnixMilli() && noticed == event.Sweep {
		noticed = event.Deadline
	}
	v, over := w.wait.Add(s.hashes.look(w.plan.PlanID, t), noticed)
	if !over {
		sweep := s.Poll
		if s.Notify {
			sweep = s.MaxWait + s.Poll // nothing can be written unannounced here
		}
		heap.Push(&s.looks, look{at: max(t+1, w.wait.Next(sweep).UnixMilli()), w: w})
		return
	}
	s.finish(w)
	s.commit(w.plan, event.Late, v)
}

func (s *simulation) finish(w *waiter) {
	w.over = true
	s.inflight--
	list := s.waiting[w.plan.PlanID]
	for i := range list {
		if list[i] == w {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(s.waiting, w.plan.PlanID)
	} else {
		s.waiting[w.plan.PlanID] = list
	}
}

// commit writes an observation unless one of the plan was written within the dedupe TTL.
func (s *simulation) commit(plan event.Plan, point event.Point, v event.Verdict) {
	if !s.dedupe[point].set(plan.PlanID, v.At.UnixMilli()) {
		s.result.Points[point].Duplicates++
		return
	}
	o := event.Observe(plan, point, v, v.At)
	s.result.add(&o)
	if s.emit != nil && s.err == nil {
		s.err = s.emit(&o)
	}
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

// looks is a heap, the earliest first and of the same millisecond the one read first.
type looks []look

func (l looks) Len() int { return len(l) }
func (l looks) Less(i, j int) bool {
	return l[i].at < l[j].at || l[i].at == l[j].at && l[i].w.order < l[j].w.order
}
func (l looks) Swap(i, j int) { l[i], l[j] = l[j], l[i] }
func (l *looks) Push(v any)   { *l = append(*l, v.(look)) }
func (l *looks) Pop() any {
	old := *l
	v := old[len(old)-1]
	old[len(old)-1] = look{}
	*l = old[:len(old)-1]
	return v
}

// dedupe are the dedupe keys of one observation point.
type dedupe struct {
	ttl    int64
	until  map[string]int64
	expire queue[expiry]
}

func newDedupe(ttl time.Duration) dedupe {
	return dedupe{ttl: ttl.Milliseconds(), until: make(map[string]int64)}
}

// set sets a key at t, unless it is there.
func (d *dedupe) set(planID string, t int64) bool {
	for d.expire.len() > 0 && d.expire.first().at <= t {
		if e := d.expire.pop(); d.until[e.planID] <= e.at {
			delete(d.until, e.planID)
		}
	}
	if t < d.until[planID] {
		return false
	}
	d.until[planID] = t + d.ttl
	d.expire.push(expiry{planID, t + d.ttl})
	return true
}
