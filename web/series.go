package web

import (
	"sort"
	"time"

	"heatobserver/event"
)

// Series is coverage over time, in columns of one length.
type Series struct {
	Time          time.Time   `json:"time"`
	BucketSeconds int64       `json:"bucket_seconds"`
	T             []int64     `json:"t"`
	Late          PointSeries `json:"late"`
	Early         PointSeries `json:"early"`
	History       History     `json:"history"`
}

// PointSeries are the columns of one observation point.
type PointSeries struct {
	Coverage      []*float64    `json:"coverage"`
	Observations  []int         `json:"observations"`
	Found         []int         `json:"found"`
	AfterDeadline []int         `json:"after_deadline"`
	P50           []*int64      `json:"wait_p50_ms"`
	P99           []*int64      `json:"wait_p99_ms"`
	Reasons       ReasonsSeries `json:"reasons"`
}

// ReasonsSeries are the columns of the reasons.
type ReasonsSeries struct {
	OK         []int `json:"ok"`
	Missing    []int `json:"missing"`
	Timeout    []int `json:"timeout"`
	RedisError []int `json:"redis_error"`
	ParseError []int `json:"parse_error"`
}

// widths are the widths of buckets that people read easily, in seconds.
var widths = []int64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400}

// width is the smallest of widths with which a stretch of seconds takes at most so many buckets.
func width(seconds int64, most int) int64 {
	for _, w := range widths {
		if seconds/w+1 < int64(most) {
			return w
		}
	}
	w := widths[len(widths)-1]
	return w * (seconds/w/int64(most) + 1)
}

// series puts items into at most so many buckets by when they were observed.
func (s *snapshot) series(minutes, buckets int, o *Options) Series {
	items := s.items
	if minutes > 0 {
		items = since(items, s.time.Add(-time.Duration(minutes)*time.Minute))
	}
	out := Series{Time: s.time, BucketSeconds: 1, T: []int64{}, History: historyOf(s.items)}
	out.Late.grow(0)
	out.Early.grow(0)
	if len(items) == 0 {
		return out
	}
	first := items[0].id.Time().Unix()
	last := max(s.time.Unix(), items[len(items)-1].id.Time().Unix()) // an observer that has stopped shows as a gap
	out.BucketSeconds = width(last-first, buckets)
	start := first - first%out.BucketSeconds
	n := int((last-start)/out.BucketSeconds) + 1
	out.T = make([]int64, n)
	out.Late.grow(n)
	out.Early.grow(n)
	next := 0
	for i := range n {
		out.T[i] = start + int64(i)*out.BucketSeconds
		from := next
		for next < len(items) && items[next].id.Time().Unix() < out.T[i]+out.BucketSeconds {
			next++
		}
		late, early := pointsOf(items[from:next], o)
		out.Late.set(i, late)
		out.Early.set(i, early)
	}
	return out
}

func (p *PointSeries) grow(n int) {
	p.Coverage, p.P50, p.P99 = make([]*float64, n), make([]*int64, n), make([]*int64, n)
	for _, column := range []*[]int{
		&p.Observations, &p.Found, &p.AfterDeadline,
		&p.Reasons.OK, &p.Reasons.Missing, &p.Reasons.Timeout, &p.Reasons.RedisError, &p.Reasons.ParseError,
	} {
		*column = make([]int, n)
	}
}

func (p *PointSeries) set(i int, v Point) {
	p.Coverage[i], p.Observations[i], p.Found[i], p.AfterDeadline[i] = v.Coverage, v.Observations, v.Found, v.AfterDeadline
	if v.WaitMs != nil {
		p.P50[i], p.P99[i] = &v.WaitMs.P50, &v.WaitMs.P99
	}
	r := &p.Reasons
	r.OK[i], r.Missing[i], r.Timeout[i] = v.Reasons.OK, v.Reasons.Missing, v.Reasons.Timeout
	r.RedisError[i], r.ParseError[i] = v.Reasons.RedisError, v.Reasons.ParseError
}

// Waits is the distribution of the late waits.
type Waits struct {
	Time time.Time `json:"time"`
	Wait
	Bins    []Bin    `json:"bins"`
	Beyond  int      `json:"beyond"`
	GivenUp int      `json:"given_up"` // those beyond the bins too
	WaitMs  *Waiting `json:"wait_ms"`
	History History  `json:"history"`
}

// Bin counts the waits from From up to and without To.
type Bin struct {
	From          int64 `json:"from_ms"`
	To            int64 `json:"to_ms"`
	Found         int   `json:"found"`
	GivenUp       int   `json:"given_up"`
	AfterDeadline int   `json:"after_deadline"`
}

// binSteps are where bins begin in each power of ten: about as far apart on a logarithmic scale, so that waits of a hundred
// milliseconds show their shape beside an allowed wait of seconds.
var binSteps = []int64{10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 25, 28, 32, 36, 40, 45, 50, 56, 63, 70, 80, 90}

// binsTo are bins without gaps that begin at 0 and hold reach; the last of them ends at 900 s, beyond every allowed wait.
func binsTo(reach int64) []Bin {
	begins := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for power := int64(1); power <= 10_000; power *= 10 {
		for _, step := range binSteps {
			begins = append(begins, step*power)
		}
	}
	bins := make([]Bin, 0, len(begins))
	for i, from := range begins[:len(begins)-1] {
		if from > reach {
			break
		}
		bins = append(bins, Bin{From: from, To: begins[i+1]})
	}
	return bins
}

// waits are the late waits of all that is held. The bins reach beyond the allowed wait and the advised one.
func (s *snapshot) waits(o *Options) Waits {
	out := Waits{Time: s.time, Wait: Wait{MaxWaitMs: o.Settings.MaxWait.Milliseconds(), advice: s.advice}, History: historyOf(s.items)}
	reach := out.MaxWaitMs + out.MaxWaitMs/10
	if out.Advised != nil {
		reach = max(reach, min(*out.Advised, 5*out.MaxWaitMs)*11/10)
	}
	out.Bins = binsTo(reach)
	var found []int64
	for i := range s.items {
		it := &s.items[i]
		if it.bad || it.obs.Point != event.Late || !ours(&it.obs) {
			continue
		}
		k := sort.Search(len(out.Bins), func(i int) bool { return max(0, it.obs.WaitMs) < out.Bins[i].To })
		if k == len(out.Bins) {
			out.Beyond++
			k = -1
		}
		switch {
		case it.obs.Found() && !it.obs.AfterDeadline:
			found = append(found, it.obs.WaitMs)
			if k >= 0 {
				out.Bins[k].Found++
			}
		case it.obs.AfterDeadline:
			if k >= 0 {
				out.Bins[k].AfterDeadline++
			}
		default:
			out.GivenUp++
			if k >= 0 {
				out.Bins[k].GivenUp++
			}
		}
	}
	out.WaitMs = waitingOf(found)
	return out
}
