package operate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/stream"
)

const (
	// tracePage is how many entries of a stream are looked at by one command.
	tracePage = 500
	// traceMost bounds what is looked at of one stream, whatever its length, unless Setup.TraceMost does.
	traceMost = 200_000
	// traceEvents bounds what is shown of one plan in one stream: a plan can be published any number of times.
	traceEvents = 100
	// hashTTL is that of the heat bridge (wire contract, "Lookup").
	hashTTL = 1800 * time.Second
)

// Trace is what streams and keys still know of one plan, in the order in which it happened.
type Trace struct {
	PlanID string       `json:"plan_id"`
	Found  bool         `json:"found"`
	Events []TraceEvent `json:"events"`
	// Notes say what was not looked at, or is gone.
	Notes []string `json:"notes,omitempty"`
}

// TraceEvent is one thing that happened to a plan.
type TraceEvent struct {
	Time time.Time `json:"time"`
	// Estimated is true where the time follows from a TTL or an idle time and not from an entry ID.
	Estimated bool `json:"estimated,omitempty"`
	// Unknown is true where nothing tells the time; Time then only gives the event its place in the order.
	Unknown bool `json:"time_unknown,omitempty"`
	// What is published, read, unread, decision, hash, observation, dedupe_key or dead_letter.
	What    string `json:"what"`
	Where   string `json:"where"` // stream, key or group
	EntryID string `json:"entry_id,omitempty"`
	// AfterMS is the time since the first publishing, null where that is unknown.
	AfterMS *int64 `json:"after_ms"`
	// StepMS is the time since the event before, null for the first.
	StepMS *int64            `json:"step_ms"`
	Detail map[string]string `json:"detail,omitempty"`
}

// Trace looks a plan up in all streams, back to since, and in the keys. The plan stream is read from its newest entry;
// the others from a moment before the publishing on, where that is found. Nothing found is no error.
func (o *Operator) Trace(ctx context.Context, planID string, since time.Time) (Trace, error) {
	t := tracer{o: o, out: Trace{PlanID: planID, Events: []TraceEvent{}}}
	now, err := o.client.Time(ctx).Result()
	if err != nil {
		return t.out, fmt.Errorf("trace plan: ask for the server's time: %w", err)
	}
	t.now = now
	t.from = entry.IDAt(since)
	if err := t.streams(ctx); err != nil {
		return t.out, fmt.Errorf("trace plan: %w", err)
	}
	if err := t.keys(ctx); err != nil {
		return t.out, fmt.Errorf("trace plan: %w", err)
	}
	return t.finish(), nil
}

type tracer struct {
	o    *Operator
	now  time.Time
	from entry.ID
	out  Trace

	published []publishing
}

type publishing struct {
	stream string
	id     entry.ID
}

func (t *tracer) add(e TraceEvent) { t.out.Events = append(t.out.Events, e) }

func (t *tracer) note(format string, args ...any) {
	t.out.Notes = append(t.out.Notes, fmt.Sprintf(format, args...))
}

func (t *tracer) streams(ctx context.Context) error {
	is := func(values map[string]any) bool { return values["plan_id"] == t.out.PlanID }
	for _, name := range t.o.Plans() {
		err := t.scan(ctx, name, "published", is, []string{"symbol", "decision", "action"}, func(id entry.ID) {
			t.published = append(t.published, publishing{name, id})
		})
		if err != nil {
			return err
		}
	}
	for _, p := range t.published {
		if err := t.groups(ctx, p); err != nil {
			return err
		}
	}
	if len(t.published) == 0 {
		t.note("the plan is not in %s: trimmed, never published, or older than was looked at", strings.Join(t.o.Plans(), ", "))
	} else if first := slices.MinFunc(t.published, func(a, b publishing) int { return a.id.Compare(b.id) }); first.id.Time().Before(t.now) {
		t.from = entry.IDAt(first.id.Time().Add(-time.Minute)) // another producer's clock may be behind
	}
	if err := t.scan(ctx, t.o.DecisionStream, "decision", is, []string{"in_action", "out_action", "heat_level", "heat_score", "heat_action", "reason"}, nil); err != nil {
		return err
	}
	for _, p := range t.o.Parts {
		if err := t.scan(ctx, p.Observed, "observation", is, []string{"obs_point", "heat_found", "heat_reason", "debug_json"}, nil); err != nil {
			return err
		}
	}
	dead := func(values map[string]any) bool {
		id, _ := values["entry_id"].(string)
		raw, _ := values["raw"].(string)
		return slices.ContainsFunc(t.published, func(p publishing) bool { return p.id.String() == id && values["stream"] == p.stream }) ||
			strings.Contains(raw, `"plan_id":"`+t.out.PlanID+`"`) || is(envelopeIn(raw))
	}
	for _, p := range t.o.Parts {
		if err := t.scan(ctx, p.Dead, "dead_letter", dead, []string{"reason", "group", "entry_id", "failures", "error"}, nil); err != nil {
			return err
		}
	}
	return nil
}

// scan goes through a stream from its newest entry back to t.from.
func (t *tracer) scan(ctx context.Context, name, what string, is func(map[string]any) bool, details []string, found func(entry.ID)) error {
	if name == "" {
		return nil
	}
	end, seen, hits := "+", 0, 0
	most := cmp.Or(t.o.TraceMost, traceMost)
	for seen < most {
		page, err := t.o.client.XRevRangeN(ctx, name, end, t.from.String(), tracePage).Result()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", name, err)
		}
		for _, m := range page {
			id, err := entry.ParseID(m.ID)
			if err != nil {
				return err
			}
			end = id.Prev().String()
			values := plain(m.Values)
			if !is(values) {
				continue
			}
			if hits++; hits > traceEvents {
				t.note("%s has more than %d entries of this plan; the newest are shown", name, traceEvents)
				return nil
			}
			e := TraceEvent{Time: id.Time(), What: what, Where: name, EntryID: m.ID, Detail: map[string]string{}}
			for _, field := range details {
				if v, ok := values[field].(string); ok && v != "" {
					e.Detail[field] = v
				}
			}
			t.add(e)
			if found != nil {
				found(id)
			}
		}
		if seen += len(page); len(page) < tracePage {
			return nil
		}
	}
	t.note("only the newest %d entries of %s were looked at", most, name)
	return nil
}

// plain are the fields of an entry, of an envelope those in its payload.
func plain(values map[string]any) map[string]any {
	payload, _ := values["payload"].(string)
	if _, enveloped := values[envelopeMark]; !enveloped {
		return values
	}
	var fields map[string]any
	if json.Unmarshal([]byte(payload), &fields) != nil {
		return values
	}
	return fields
}

// envelopeIn are the fields of a dead letter's entry that is an envelope, whose payload stands escaped in the raw.
func envelopeIn(raw string) map[string]any {
	if !strings.Contains(raw, envelopeMark) {
		return nil
	}
	fields, err := stream.ParseRaw(raw)
	if err != nil { // cut, or not ours
		return nil
	}
	values := map[string]any{}
	for name, value := range fields.Strings() {
		values[name] = value
	}
	return plain(values)
}

// groups adds what each group did with a publishing, as far as Redis knows: when it was acknowledged is kept nowhere.
func (t *tracer) groups(ctx context.Context, p publishing) error {
	for _, g := range t.o.Groups {
		state, err := stream.Inspect(ctx, t.o.client, p.stream, g.Name)
		if err != nil {
			return fmt.Errorf("look at group %s of %s: %w", g.Name, p.stream, err)
		}
		if !state.Exists {
			t.note("group %s of %s does not exist", g.Name, p.stream)
			continue
		}
		pending, err := t.o.client.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: p.stream, Group: g.Name, Start: p.id.String(), End: p.id.String(), Count: 1,
		}).Result()
		if err != nil {
			return fmt.Errorf("look at pending entries of group %s of %s: %w", g.Name, p.stream, err)
		}
		e := TraceEvent{Time: p.id.Time(), What: "read", Where: g.Name, EntryID: p.id.String()}
		switch {
		case len(pending) > 0:
			e.Time, e.Estimated = t.now.Add(-pending[0].Idle), true
			e.Detail = map[string]string{"state": "pending", "consumer": pending[0].Consumer, "deliveries": fmt.Sprint(pending[0].RetryCount)}
		case p.id.Compare(state.LastDelivered) > 0:
			e.What, e.Detail = "unread", map[string]string{"state": "not delivered yet"}
			e.Time = t.now
		default:
			e.Unknown = true
			e.Detail = map[string]string{"state": "acknowledged, or passed over when the group was set"}
		}
		t.add(e)
	}
	return nil
}

func (t *tracer) keys(ctx context.Context) error {
	key := t.o.LookupPrefix + t.out.PlanID
	dedupe := make(map[string]*redis.DurationCmd)
	pipe := t.o.client.Pipeline()
	now := pipe.Time(ctx) // the moment to which the TTLs belong
	kind, ttl := pipe.Type(ctx, key), pipe.PTTL(ctx, key)
	for _, point := range event.Points {
		for _, p := range t.o.Parts {
			name := p.DedupePrefix + point.String() + ":" + t.out.PlanID
			dedupe[name] = pipe.PTTL(ctx, name)
		}
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("look at its keys: %w", err)
	}
	t.now = now.Val()
	for name, left := range dedupe {
		if left.Val() >= 0 {
			t.add(t.keyEvent("dedupe_key", name, t.o.DedupeTTL, left.Val(), nil))
		}
	}
	switch kind.Val() {
	case "none":
	case "hash":
		fields, err := t.o.client.HGetAll(ctx, key).Result()
		if err != nil {
			return fmt.Errorf("read hash %s: %w", key, err)
		}
		detail := map[string]string{}
		for _, name := range []string{"ts_epoch", "heat_level", "heat_score", "heat_action", "out_action"} {
			if v := fields[name]; v != "" {
				detail[name] = v
			}
		}
		t.add(t.keyEvent("hash", key, hashTTL, ttl.Val(), detail))
	default:
		t.note("%s is a %s and no hash", key, kind.Val())
	}
	return nil
}

// keyEvent estimates when a key was written from what is left of its TTL.
func (t *tracer) keyEvent(what, name string, whole, left time.Duration, detail map[string]string) TraceEvent {
	if detail == nil {
		detail = map[string]string{}
	}
	e := TraceEvent{Time: t.now, Estimated: true, What: what, Where: name, Detail: detail}
	switch {
	case left < 0:
		detail["ttl"] = "none"
	default:
		detail["ttl"] = left.Round(time.Millisecond).String()
		e.Time = t.now.Add(min(0, left-whole))
	}
	return e
}

// finish sorts and counts the milliseconds.
func (t *tracer) finish() Trace {
	order := []string{"published", "read", "decision", "hash", "observation", "dedupe_key", "dead_letter", "unread"}
	slices.SortStableFunc(t.out.Events, func(a, b TraceEvent) int {
		if c := a.Time.Truncate(time.Millisecond).Compare(b.Time.Truncate(time.Millisecond)); c != 0 {
			return c
		}
		if c := slices.Index(order, a.What) - slices.Index(order, b.What); c != 0 {
			return c
		}
		return strings.Compare(a.Where+a.EntryID, b.Where+b.EntryID)
	})
	var first, before time.Time
	for i := range t.out.Events {
		e := &t.out.Events[i]
		e.Time = e.Time.UTC().Truncate(time.Millisecond)
		if e.What == "published" && first.IsZero() {
			first = e.Time
		}
		if e.Unknown {
			continue
		}
		if !before.IsZero() {
			step := e.Time.Sub(before).Milliseconds()
			e.StepMS = &step
		}
		before = e.Time
	}
	for i := range t.out.Events {
		if !first.IsZero() && !t.out.Events[i].Unknown {
			after := t.out.Events[i].Time.Sub(first).Milliseconds()
			t.out.Events[i].AfterMS = &after
		}
	}
	t.out.Found = len(t.out.Events) > 0
	return t.out
}
