package verify

import (
	"context"
	"fmt"
	"sync"
	"time"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/stream"
)

// record is an entry with its fields in the order in which they stand.
type record struct {
	id    entry.ID
	pairs []string
}

func (r record) fields() entry.Fields { return entry.Make(r.pairs...) }

func (r record) get(name string) string {
	value, _ := r.fields().Get(name)
	return value
}

// newest are the newest entries of a stream, the newest first. A stream that is not there is empty.
func (p *probe) newest(ctx context.Context, name string, n int) ([]record, error) {
	return p.entries(ctx, "XREVRANGE", name, "+", "-", "COUNT", n)
}

// after are entries from an ID on, the oldest first.
func (p *probe) after(ctx context.Context, name string, from entry.ID, n int) ([]record, error) {
	return p.entries(ctx, "XRANGE", name, from.String(), "+", "COUNT", n)
}

// entries reads with Do, because go-redis turns the fields of an entry into a map and loses their order.
func (p *probe) entries(ctx context.Context, args ...any) ([]record, error) {
	list, err := p.redis.Do(ctx, args...).Slice()
	if err != nil {
		return nil, err
	}
	records := make([]record, 0, len(list))
	for _, item := range list {
		pair, _ := item.([]any)
		if len(pair) != 2 {
			return nil, fmt.Errorf("read %v: an entry without fields", args[1])
		}
		text, _ := pair[0].(string)
		id, err := entry.ParseID(text)
		if err != nil {
			return nil, fmt.Errorf("read %v: %w", args[1], err)
		}
		values, _ := pair[1].([]any)
		r := record{id: id}
		for _, v := range values {
			s, _ := v.(string)
			r.pairs = append(r.pairs, s)
		}
		if len(r.pairs)%2 == 0 {
			records = append(records, r)
		}
	}
	return records, nil
}

// newestPlans are the plans among the newest n entries, the newest first, flat and in envelopes. What the observer cannot
// read is a dead letter and none of them: nobody owes it an observation.
func (p *probe) newestPlans(ctx context.Context, n int) ([]event.Plan, error) {
	return p.plansUpTo(ctx, "+", n)
}

// plansUpTo are the newest plans up to an entry ID, among n entries.
func (p *probe) plansUpTo(ctx context.Context, last string, n int) ([]event.Plan, error) {
	records, err := p.entries(ctx, "XREVRANGE", p.Plans, last, "-", "COUNT", n)
	var plans []event.Plan
	for _, r := range records {
		if plan, err := event.DecodePlan(r.id, stream.Payload(stream.Entry{ID: r.id, Fields: r.fields()})); err == nil {
			plans = append(plans, plan)
		}
	}
	return plans, err
}

// decisions are the plans of the newest decisions. They are many and about all partitions: whoever looks again and again
// does so for all who do.
type decisions struct {
	mu    sync.Mutex
	asked time.Time
	plans map[string]bool
}

func (p *probe) newestDecisions(ctx context.Context) (map[string]bool, error) {
	d := p.decided
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.plans != nil && time.Since(d.asked) < pollEvery {
		return d.plans, nil
	}
	records, err := p.newest(ctx, p.Decisions, searched)
	if err != nil {
		return nil, err
	}
	d.plans, d.asked = map[string]bool{}, time.Now()
	for _, r := range records {
		d.plans[r.get("plan_id")] = true
	}
	return d.plans, nil
}

const pollEvery = 50 * time.Millisecond

// poll calls look until it is done or the time is up. It returns false in the latter case.
func poll(ctx context.Context, limit time.Duration, look func() (done bool, err error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if done, err := look(); done || err != nil {
			return done, err
		}
		select {
		case <-ctx.Done():
			return false, nil
		case <-tick.C:
		}
	}
}

// age is how long ago an entry was added, by the server's clock.
func (p *probe) age(ctx context.Context, id entry.ID) (time.Duration, error) {
	now, err := p.redis.Time(ctx).Result()
	if err != nil {
		return 0, err
	}
	return max(0, now.Sub(id.Time())), nil
}
