package verify

import (
	"context"
	"fmt"
	"time"

	"heatobserver/entry"
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
func (p *probe) newest(ctx context.Context, stream string, n int) ([]record, error) {
	return p.entries(ctx, "XREVRANGE", stream, "+", "-", "COUNT", n)
}

// after are entries from an ID on, the oldest first.
func (p *probe) after(ctx context.Context, stream string, from entry.ID, n int) ([]record, error) {
	return p.entries(ctx, "XRANGE", stream, from.String(), "+", "COUNT", n)
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

// newestPlans are well-formed plans of all plan streams, those of each stream the newest first.
func (p *probe) newestPlans(ctx context.Context, n int) ([]record, error) {
	var plans []record
	for _, stream := range p.Plans {
		records, err := p.newest(ctx, stream, n)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			if planID(r) != "" && r.get("symbol") != "" {
				plans = append(plans, r)
			}
		}
	}
	return plans, nil
}

// latest is the newest of some plans.
func latest(plans []record) record {
	best := plans[0]
	for _, r := range plans {
		if r.id.Compare(best.id) > 0 {
			best = r
		}
	}
	return best
}

// poll calls look until it is done or the time is up. It returns false in the latter case.
func poll(ctx context.Context, limit time.Duration, look func() (done bool, err error)) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
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
