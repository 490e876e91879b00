package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/stream"
)

// Observed is one entry of the observed stream.
type Observed struct {
	ID entry.ID
	event.Observation
	// Err is why the entry is no observation; then the rest is empty.
	Err error
}

// Observed returns the newest observations between two IDs, both included, the newest first and at most so many. Those of
// several partitions are merged.
func (o *Operator) Observed(ctx context.Context, from, to entry.ID, most int) ([]Observed, error) {
	var all []Observed
	for _, p := range o.Parts {
		found, err := o.client.XRevRangeN(ctx, p.Observed, to.String(), from.String(), int64(most)).Result()
		if err != nil {
			return nil, fmt.Errorf("read observations of %s: %w", p.Observed, err)
		}
		for _, m := range found {
			read, err := parseObserved(m)
			if err != nil {
				return nil, fmt.Errorf("read observations of %s: %w", p.Observed, err)
			}
			all = append(all, read)
		}
	}
	if len(o.Parts) > 1 {
		slices.SortStableFunc(all, func(a, b Observed) int { return b.ID.Compare(a.ID) })
	}
	return cut(all, most), nil
}

// cut leaves so many entries, and those that have the ID of the last one beside them: whoever reads on behind it asks for
// older ones.
func cut(all []Observed, most int) []Observed {
	n := min(len(all), most)
	for n > 0 && n < len(all) && all[n].ID == all[n-1].ID {
		n++
	}
	return all[:n]
}

func parseObserved(m redis.XMessage) (out Observed, err error) {
	if out.ID, err = entry.ParseID(m.ID); err != nil {
		return out, err
	}
	var pairs [2 * len(event.ObservationFields)]string
	for i, name := range event.ObservationFields {
		pairs[2*i] = name
		pairs[2*i+1], _ = m.Values[name].(string)
	}
	out.Observation, out.Err = event.DecodeObservation(entry.Make(pairs[:]...))
	return out, nil
}

// Streams is where the streams stand that an operator watches. What is partitioned is taken together: the lengths are
// added, First is the first and Last the last of all.
type Streams struct {
	Plans    stream.State
	Observed stream.State
	Dead     stream.State
}

// StreamsNow looks at the streams.
func (o *Operator) StreamsNow(ctx context.Context) (s Streams, err error) {
	for i, p := range o.Parts {
		for name, sum := range map[string]*stream.State{p.Plan: &s.Plans, p.Observed: &s.Observed, p.Dead: &s.Dead} {
			state, err := stream.InspectStream(ctx, o.client, name)
			if err != nil {
				return s, err
			}
			if i == 0 {
				*sum = state
			} else {
				join(sum, state)
			}
		}
	}
	return s, nil
}

// join adds the state of one more partition.
func join(sum *stream.State, s stream.State) {
	sum.Length += s.Length
	if sum.First == (entry.ID{}) || s.First != (entry.ID{}) && s.First.Compare(sum.First) < 0 {
		sum.First = s.First
	}
	if s.Last.Compare(sum.Last) > 0 {
		sum.Last = s.Last
	}
	if sum.Added == stream.UnknownLag || s.Added == stream.UnknownLag {
		sum.Added = stream.UnknownLag
	} else {
		sum.Added += s.Added
	}
}

// PlansSince counts the plans that were published since, up to most of each stream: where the server does not say how
// many were added.
func (o *Operator) PlansSince(ctx context.Context, since time.Time, most int) (n int, err error) {
	for _, name := range o.Plans() {
		found, err := o.client.XRevRangeN(ctx, name, "+", entry.IDAt(since).String(), int64(most)).Result()
		if err != nil {
			return 0, fmt.Errorf("count plans of %s: %w", name, err)
		}
		n += len(found)
	}
	return n, nil
}

// The states that a worker says of itself.
const (
	WorkerRunning  = "running"
	WorkerDraining = "draining"
	WorkerDrained  = "drained"
)

// Announcement is what a worker says of itself every few seconds, for people to read: nothing is decided by it. It
// stands under Setup.WorkerPrefix as JSON and expires by itself.
type Announcement struct {
	Version string    `json:"version"`
	Started time.Time `json:"started"`
	State   string    `json:"state"`
	// PerSec is how many observations it wrote in a second lately.
	PerSec float64 `json:"per_sec"`
}

// Announcements are what workers say of themselves, by consumer name. Who says nothing, or nothing readable, is left
// out.
func (o *Operator) Announcements(ctx context.Context, consumers []string) (map[string]Announcement, error) {
	said := make(map[string]Announcement, len(consumers))
	if len(consumers) == 0 {
		return said, nil
	}
	pipe := o.client.Pipeline()
	replies := make([]*redis.StringCmd, len(consumers))
	for i, name := range consumers {
		replies[i] = pipe.Get(ctx, o.WorkerPrefix+name)
	}
	_, _ = pipe.Exec(ctx) // each command carries its error
	for i, reply := range replies {
		text, err := reply.Bytes()
		switch {
		case errors.Is(err, redis.Nil):
			continue
		case err != nil:
			return said, fmt.Errorf("read what workers announce: %w", err)
		}
		var a Announcement
		if json.Unmarshal(text, &a) == nil {
			said[consumers[i]] = a
		}
	}
	return said, nil
}
