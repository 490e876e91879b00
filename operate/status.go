package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/stream"
)

// Status is the state of everything that the observer keeps in Redis.
type Status struct {
	Time        time.Time         `json:"time"`   // by the server's clock
	Groups      []GroupStatus     `json:"groups"` // by stream, then group
	DeadLetters int64             `json:"dead_letters"`
	Totals      map[string]Totals `json:"totals"` // by group
	// Stuck says what will not mend itself, in words; empty when all is well.
	Stuck []string `json:"stuck"`
}

// GroupStatus is the state of one group on one stream.
type GroupStatus struct {
	Stream string `json:"stream"`
	Group  string `json:"group"`
	Exists bool   `json:"exists"`
	Length int64  `json:"length"` // of the stream
	// Lag is how many entries were not yet delivered; null when Redis does not know.
	Lag     *int64 `json:"lag"`
	Pending int64  `json:"pending"`   // delivered and not acknowledged
	InHand  int64  `json:"in_flight"` // those of them whose consumer lives
	// OldestPending is the age of the oldest pending entry since it was added, 0 when there is none.
	OldestPending float64          `json:"oldest_pending_seconds"`
	Behind        float64          `json:"behind_seconds"` // age of the oldest entry not yet delivered, likewise
	LastDelivered string           `json:"last_delivered_id"`
	LastGenerated string           `json:"last_generated_id"`
	Cursor        string           `json:"cursor,omitempty"` // where the group begins when it must be rebuilt
	Consumers     []ConsumerStatus `json:"consumers"`

	watched   bool // its handler is switched on
	redrive   bool // workers begin the redrive stream by themselves, when they know it
	oldestID  string
	oldestFor time.Duration
}

// ConsumerStatus is one consumer of a group.
type ConsumerStatus struct {
	Name    string  `json:"name"`
	Pending int64   `json:"pending"`
	Idle    float64 `json:"idle_seconds"` // since it last spoke to the group
	Alive   bool    `json:"alive"`        // it spoke lately
}

// Totals count what no observation records, since the key totals began.
type Totals struct {
	Dropped   int64 `json:"dropped"`   // at saturation
	Duplicate int64 `json:"duplicate"` // held back by a dedupe key
	Dead      int64 `json:"dead"`      // parked as dead letters, again after a redrive too
	Redriven  int64 `json:"redriven"`
	Trimmed   int64 `json:"trimmed"` // taken by retention before they were observed
	Rescued   int64 `json:"rescued"` // observed although they were trimmed away meanwhile
}

// Limits say what counts as stuck. Zero fields have their defaults.
type Limits struct {
	// MaxBehind is how old the oldest entry may be that a group was not yet given. Default: 60 s.
	MaxBehind time.Duration
	// MaxPending is how old the oldest pending entry may be, beyond what the group is behind. Default: max wait, twice
	// min idle and 5 s.
	MaxPending time.Duration
	// Confirm is how long something pending is watched before it is called stuck. Default: 1 s.
	Confirm time.Duration
}

func (o *Operator) withDefaults(l Limits) Limits {
	if l.MaxBehind == 0 {
		l.MaxBehind = time.Minute
	}
	if l.MaxPending == 0 {
		l.MaxPending = o.MaxWait + 2*o.MinIdle + 5*time.Second
	}
	if l.Confirm == 0 {
		l.Confirm = time.Second
	}
	return l
}

// Status looks at everything. When something pending is suspiciously old it looks again after Limits.Confirm: only what
// is still pending then is stuck, and not merely about to be done.
func (o *Operator) Status(ctx context.Context, l Limits) (Status, error) {
	l = o.withDefaults(l)
	s, err := o.look(ctx)
	if err != nil {
		return Status{}, err
	}
	before := s.suspects(l)
	if len(before) > 0 {
		wait := time.NewTimer(l.Confirm)
		defer wait.Stop()
		select {
		case <-wait.C:
		case <-ctx.Done():
			return Status{}, context.Cause(ctx)
		}
		if s, err = o.look(ctx); err != nil {
			return Status{}, err
		}
	}
	s.judge(l, before)
	return s, nil
}

// GroupsNow is where the groups stand, without a verdict.
func (o *Operator) GroupsNow(ctx context.Context) ([]GroupStatus, error) {
	s, err := o.look(ctx)
	return s.Groups, err
}

// look asks Redis once.
func (o *Operator) look(ctx context.Context) (Status, error) {
	s := Status{Groups: []GroupStatus{}, Totals: map[string]Totals{}, Stuck: []string{}}
	fail := func(err error) (Status, error) { return Status{}, fmt.Errorf("look at the groups: %w", err) }
	now, err := o.client.Time(ctx).Result()
	if err != nil {
		return fail(err)
	}
	s.Time = now.UTC().Truncate(time.Millisecond)
	streams := o.Plans()
	for _, p := range o.Parts {
		streams = append(streams, p.Redrive)
	}
	for _, name := range streams {
		for _, g := range o.Groups {
			group, err := o.lookAt(ctx, name, g)
			if err != nil {
				return fail(err)
			}
			if group.Exists || group.watched && !group.redrive {
				s.Groups = append(s.Groups, group)
			}
		}
	}
	totals := map[string]int64{}
	for _, p := range o.Parts {
		dead, err := o.client.XLen(ctx, p.Dead).Result()
		if err != nil {
			return fail(err)
		}
		s.DeadLetters += dead
		for _, key := range slices.Compact([]string{p.Totals(p.Plan), p.Totals(p.Redrive)}) {
			counted, err := o.client.HGetAll(ctx, key).Result()
			if err != nil {
				return fail(err)
			}
			for name, text := range counted {
				v, _ := strconv.ParseInt(text, 10, 64)
				totals[name] += v
			}
		}
	}
	for _, g := range o.Groups {
		n := func(what string) int64 { return totals[what+":"+g.Name] }
		s.Totals[g.Name] = Totals{
			Dropped: n("dropped"), Duplicate: n("duplicate"), Dead: n("dead"), Redriven: n("redriven"),
			Trimmed: n("trimmed"), Rescued: n("rescued"),
		}
	}
	return s, nil
}

func (o *Operator) lookAt(ctx context.Context, name string, g Group) (GroupStatus, error) {
	state, err := stream.Inspect(ctx, o.client, name, g.Name)
	if err != nil {
		return GroupStatus{}, err
	}
	names, _ := o.part(name)
	s := GroupStatus{
		Stream: name, Group: g.Name, Exists: state.Exists, Length: state.Length, Pending: state.Pending,
		OldestPending: seconds(state.OldestPending), Behind: seconds(state.Behind),
		LastDelivered: state.LastDelivered.String(), LastGenerated: state.LastGenerated.String(),
		Consumers: []ConsumerStatus{},
		watched:   g.Expected, redrive: name == names.Redrive, oldestFor: state.OldestPending - state.Behind,
	}
	if state.Lag != stream.UnknownLag {
		s.Lag = &state.Lag
	}
	for _, c := range state.Consumers {
		alive := c.Idle < 2*o.MinIdle
		s.Consumers = append(s.Consumers, ConsumerStatus{Name: c.Name, Pending: c.Pending, Idle: seconds(c.Idle), Alive: alive})
		if alive {
			s.InHand += c.Pending
		}
	}
	s.Cursor, err = o.client.Get(ctx, names.Cursor(name, g.Name)).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return s, err
	}
	if s.Pending > 0 {
		p, err := o.client.XPending(ctx, name, g.Name).Result()
		if err != nil {
			return s, err
		}
		s.oldestID = p.Lower
	}
	return s, nil
}

// suspects are the oldest pending entries that are older than they should be, by stream and group.
func (s Status) suspects(l Limits) map[[2]string]string {
	m := map[[2]string]string{}
	for _, g := range s.Groups {
		// A group that catches up is given old entries: what it is behind is no fault of theirs.
		if g.Pending > 0 && g.oldestFor > l.MaxPending {
			m[[2]string{g.Stream, g.Group}] = g.oldestID
		}
	}
	return m
}

// judge says what is stuck.
func (s *Status) judge(l Limits, before map[[2]string]string) {
	stuck := func(format string, args ...any) { s.Stuck = append(s.Stuck, fmt.Sprintf(format, args...)) }
	now := s.suspects(l)
	for _, g := range s.Groups {
		who := fmt.Sprintf("group %s of %s", g.Group, g.Stream)
		if !g.watched {
			continue
		}
		if !g.Exists {
			stuck("%s does not exist: no worker has run yet, or none can reach Redis", who)
			continue
		}
		alive := 0
		for _, c := range g.Consumers {
			if c.Alive {
				alive++
			}
		}
		left := g.Lag == nil || *g.Lag > 0
		if alive == 0 && (left || g.Pending > 0) {
			var what []string
			switch {
			case g.Lag == nil:
				what = append(what, "entries are unread (Redis does not know how many)")
			case *g.Lag > 0:
				what = append(what, fmt.Sprintf("%d entries are unread", *g.Lag))
			}
			if g.Pending > 0 {
				what = append(what, fmt.Sprintf("%d are pending", g.Pending))
			}
			stuck("%s has no live consumer while %s", who, strings.Join(what, " and "))
			continue
		}
		if behind := time.Duration(g.Behind * float64(time.Second)); behind > l.MaxBehind {
			stuck("%s is %v behind, more than %v", who, behind.Round(time.Second), l.MaxBehind)
		}
		key := [2]string{g.Stream, g.Group}
		if id, old := now[key]; old && before[key] == id {
			stuck("%s has entry %s pending for %v, more than %v beyond what it is behind", who, id,
				time.Duration(g.OldestPending*float64(time.Second)).Round(time.Second), l.MaxPending)
		}
	}
}
