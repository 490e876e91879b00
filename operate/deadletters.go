package operate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/config"
	"heatobserver/entry"
	"heatobserver/stream"
)

// pageSize is how many dead letters are read at once: each can have 64 KiB.
const pageSize = 100

// DeadLetter is one entry that a group gave up.
type DeadLetter struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"` // when it was parked
	Reason   string    `json:"reason"`
	Error    string    `json:"error"`
	Stream   string    `json:"stream"` // of the entry
	Group    string    `json:"group"`
	EntryID  string    `json:"entry_id"`
	Failures int64     `json:"failures"`
	// Raw is the entry's fields as the dead letter holds them; a JSON string where it is no JSON object.
	Raw json.RawMessage `json:"raw"`
	// Refused is why it cannot be redriven as it is, "" when it can.
	Refused string `json:"refused,omitempty"`

	id   entry.ID
	raw  string
	part config.Names
}

// Filter selects dead letters. The zero Filter selects all.
type Filter struct {
	Reason string
	Group  string
	From   time.Time // parked at or after; zero: no bound
	To     time.Time // parked before; zero: no bound
	Limit  int       // at most so many; 0: no bound
}

func (f Filter) matches(d *DeadLetter) bool {
	return (f.Reason == "" || f.Reason == d.Reason) && (f.Group == "" || f.Group == d.Group)
}

// List returns the newest dead letters first, of all partitions. total is how many there are, whatever the filter.
func (o *Operator) List(ctx context.Context, f Filter) (list []DeadLetter, total int64, err error) {
	list = []DeadLetter{}
	for _, p := range o.Parts {
		n, err := o.client.XLen(ctx, p.Dead).Result()
		if err != nil {
			return nil, 0, fmt.Errorf("count dead letters of %s: %w", p.Dead, err)
		}
		total += n
		read := func(ctx context.Context, from, to string) ([]redis.XMessage, error) {
			return o.client.XRevRangeN(ctx, p.Dead, to, from, pageSize).Result()
		}
		from, to := f.bounds()
		found := 0
		err = o.pages(ctx, p, read, from, to, true, func(d DeadLetter) (bool, error) {
			if f.matches(&d) {
				list = append(list, d)
				found++
			}
			return f.Limit == 0 || found < f.Limit, nil
		})
		if err != nil {
			return nil, 0, err
		}
	}
	slices.SortStableFunc(list, func(a, b DeadLetter) int { return b.id.Compare(a.id) })
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	return list, total, nil
}

// ErrNotFound means that there is no such dead letter, consumer, group or stream.
var ErrNotFound = errors.New("not found")

// Show returns one dead letter. Streams number their entries each for itself: an ID that several partitions have is an
// error that names them, unless stream, that of the entry, says which is meant.
func (o *Operator) Show(ctx context.Context, id entry.ID, stream string) (d DeadLetter, err error) {
	var in []string
	for _, p := range o.Parts {
		found, err := o.client.XRange(ctx, p.Dead, id.String(), id.String()).Result()
		if err != nil {
			return d, fmt.Errorf("read dead letter %s of %s: %w", id, p.Dead, err)
		}
		if len(found) == 0 {
			continue
		}
		one, err := o.parse(p, found[0])
		if err != nil {
			return d, err
		}
		if stream == "" || stream == one.Stream {
			in, d = append(in, p.Plan), one
		}
	}
	switch len(in) {
	case 0:
		return d, fmt.Errorf("read dead letter %s of %s: %w", id, o.DeadStreams(), ErrNotFound)
	case 1:
		return d, nil
	}
	return d, fmt.Errorf("read dead letter %s: the partitions %s have one of this ID each; name one with P28_PLAN_STREAMS=%s",
		id, strings.Join(in, " and "), in[0])
}

// DeadStreams are the names of the streams of dead letters, for people.
func (o *Operator) DeadStreams() string {
	var names []string
	for _, p := range o.Parts {
		names = append(names, p.Dead)
	}
	return strings.Join(names, ", ")
}

// bounds are the IDs between which the filter lies.
func (f Filter) bounds() (from, to entry.ID) {
	to = entry.MaxID
	if !f.From.IsZero() {
		from = entry.IDAt(f.From)
	}
	if !f.To.IsZero() {
		to = entry.IDAt(f.To).Prev()
	}
	return from, to
}

// each calls do for the selected dead letters, those of a partition the oldest first, and no more than there were at the
// beginning: what is redriven may come back meanwhile.
func (o *Operator) each(ctx context.Context, f Filter, do func(DeadLetter) error) error {
	n := 0
	for _, p := range o.Parts {
		from, to := f.bounds()
		newest, err := o.client.XRevRangeN(ctx, p.Dead, "+", "-", 1).Result()
		if err != nil {
			return fmt.Errorf("read dead letters of %s: %w", p.Dead, err)
		}
		if len(newest) == 0 || f.Limit > 0 && n >= f.Limit {
			continue
		}
		last, err := entry.ParseID(newest[0].ID)
		if err != nil {
			return err
		}
		if last.Compare(to) < 0 {
			to = last
		}
		read := func(ctx context.Context, from, to string) ([]redis.XMessage, error) {
			return o.client.XRangeN(ctx, p.Dead, from, to, pageSize).Result()
		}
		err = o.pages(ctx, p, read, from, to, false, func(d DeadLetter) (bool, error) {
			if !f.matches(&d) {
				return true, nil
			}
			n++
			return f.Limit == 0 || n < f.Limit, do(d)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pages reads the dead letters of a partition page by page until do returns false.
func (o *Operator) pages(ctx context.Context, p config.Names, read func(ctx context.Context, from, to string) ([]redis.XMessage, error),
	from, to entry.ID, backwards bool, do func(DeadLetter) (bool, error),
) error {
	for from.Compare(to) <= 0 {
		page, err := read(ctx, from.String(), to.String())
		if err != nil {
			return fmt.Errorf("read dead letters of %s: %w", p.Dead, err)
		}
		for _, m := range page {
			d, err := o.parse(p, m)
			if err != nil {
				return err
			}
			if more, err := do(d); err != nil || !more {
				return err
			}
			if backwards {
				to = d.id.Prev()
			} else {
				from = d.id.Next()
			}
		}
		if len(page) < pageSize {
			return nil
		}
	}
	return nil
}

// parse reads what lua/dead.lua of package stream wrote. A dead letter that somebody else wrote is shown as it is.
func (o *Operator) parse(p config.Names, m redis.XMessage) (DeadLetter, error) {
	text := func(name string) string { s, _ := m.Values[name].(string); return s }
	d := DeadLetter{
		ID: m.ID, Reason: text("reason"), Error: text("error"), Stream: text("stream"), Group: text("group"),
		EntryID: text("entry_id"), raw: text("raw"), part: p,
	}
	var err error
	if d.id, err = entry.ParseID(m.ID); err != nil {
		return d, fmt.Errorf("read dead letter: %w", err)
	}
	d.Time = d.id.Time().UTC()
	d.Failures, _ = strconv.ParseInt(text("failures"), 10, 64)
	if d.Raw = json.RawMessage(d.raw); !json.Valid(d.Raw) {
		if d.Raw, err = json.Marshal(d.raw); err != nil {
			return d, fmt.Errorf("read dead letter %s: %w", m.ID, err)
		}
	}
	if _, err := o.original(d, nil); err != nil {
		d.Refused = err.Error()
	}
	return d, nil
}

// original is the entry that a dead letter stands for, with fields set to other values, or why it cannot be redriven.
func (o *Operator) original(d DeadLetter, set []string) (stream.Entry, error) {
	e := stream.Entry{Stream: d.Stream}
	switch {
	case d.Stream == d.part.Redrive:
		return e, errors.New("it was found malformed in the redrive stream and has no original to go back to")
	case d.Stream == "":
		return e, errors.New("it names no stream")
	case !o.knows(d.Group):
		return e, fmt.Errorf("no worker reads for its group %q", d.Group)
	}
	var err error
	if e.ID, err = entry.ParseID(d.EntryID); err != nil {
		return e, err
	}
	if e.Fields, err = stream.ParseRaw(d.raw); err != nil {
		return e, err
	}
	if e.Fields.Len() == 0 { // Redis has no such entries
		return e, errors.New("it holds no fields")
	}
	if _, envelope := e.Fields.Get(envelopeMark); envelope {
		for i := 0; i < len(set); i += 2 {
			if set[i] != "payload" && set[i] != "metadata" {
				return e, fmt.Errorf("it is a Watermill envelope, whose fields stand in its payload: --set payload=… in place of %s", set[i])
			}
		}
	}
	e.Fields = stream.SetFields(e.Fields, set...)
	if n := e.Fields.Len(); n > stream.MaxRedriveFields {
		return e, fmt.Errorf("it has %d fields; at most %d can be redriven", n, stream.MaxRedriveFields)
	}
	return e, nil
}

// envelopeMark is the field by which an entry of a Watermill producer is known.
const envelopeMark = "_watermill_message_uuid"
