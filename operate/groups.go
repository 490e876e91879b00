package operate

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/stream"
)

var (
	//go:embed lua/count.lua
	countLua string
	//go:embed lua/move.lua
	moveLua string
	//go:embed lua/remove.lua
	removeLua string

	countScript  = redis.NewScript(countLua)
	moveScript   = redis.NewScript(moveLua)
	removeScript = redis.NewScript(removeLua)
)

const (
	// countAtOnce bounds how long one counting script blocks Redis: about 0.3 ms.
	countAtOnce = 1000
	// handOverAtOnce bounds the entries that one script hands over.
	handOverAtOnce = 512
	// afterwards bounds what is still to do after a change, whether or not anybody waits for it.
	afterwards = 10 * time.Second
)

// Range is a number of entries that follow each other.
type Range struct {
	Count int64  `json:"count"`
	First string `json:"first,omitempty"` // entry ID
	Last  string `json:"last,omitempty"`
}

// Move is what moving a group does.
type Move struct {
	Executed bool   `json:"executed"`
	Stream   string `json:"stream"`
	Group    string `json:"group"`
	From     string `json:"from"` // entry ID behind which the group reads on without the move
	To       string `json:"to"`   // and with it
	// Again are entries that the group was given before and would be given once more.
	Again Range `json:"read_again"`
	// Forgotten are those of them that are older than the dedupe TTL: nothing is left that tells that they were
	// observed, and they are observed a second time.
	Forgotten Range `json:"observed_again"`
	// Passed are entries that the group would never be given.
	Passed Range `json:"passed_over"`
	// Pending entries stay with their consumers, wherever the group is moved.
	Pending int64 `json:"pending"`
}

// Move sets a group to another place in its stream. While workers read, the group moves by itself; what was executed is
// told from where the group stood at that moment. An error after that comes with a Move that is Executed, without counts.
func (o *Operator) Move(ctx context.Context, streamName, group string, to Position, execute bool) (Move, error) {
	m := Move{Stream: streamName, Group: group}
	fail := func(err error) (Move, error) {
		return m, fmt.Errorf("set group %s of %s to %s: %w", group, streamName, to, err)
	}
	state, err := stream.Inspect(ctx, o.client, streamName, group)
	switch {
	case err != nil:
		return fail(err)
	case !state.Exists:
		return fail(fmt.Errorf("the group: %w", ErrNotFound))
	}
	now, err := o.client.Time(ctx).Result()
	if err != nil {
		return fail(err)
	}
	target := to.after(now, state.LastGenerated)
	if target.Compare(state.LastGenerated) > 0 {
		return fail(fmt.Errorf("the stream ends at %s; what is added up to there would be passed over unseen; the end is $", state.LastGenerated))
	}
	from := state.LastDelivered
	m.From, m.To, m.Pending = from.String(), target.String(), state.Pending
	if execute {
		names, _ := o.part(streamName)
		text, err := moveScript.Run(ctx, o.client, []string{streamName, names.Cursor(streamName, group)}, group, target.String()).Text()
		if errors.Is(err, redis.Nil) {
			err = fmt.Errorf("the group: %w", ErrNotFound)
		}
		if err == nil {
			from, err = entry.ParseID(text)
		}
		if err != nil {
			return fail(err)
		}
		m.Executed, m.From = true, from.String()
		// Nothing tells later what was passed over: it is counted for somebody who has stopped waiting too.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), afterwards)
		defer cancel()
		fail = func(err error) (Move, error) {
			return m, fmt.Errorf("group %s of %s is moved from %s to %s, but what that means is not known: %w", group, streamName, m.From, m.To, err)
		}
	}
	forgotten := entry.IDAt(now.Add(-o.DedupeTTL))
	if m.Again, err = o.count(ctx, streamName, target, from); err != nil {
		return fail(err)
	}
	if forgotten.Compare(from) > 0 {
		forgotten = from
	}
	if m.Forgotten, err = o.count(ctx, streamName, target, forgotten); err != nil {
		return fail(err)
	}
	if m.Passed, err = o.count(ctx, streamName, from, target); err != nil {
		return fail(err)
	}
	return m, nil
}

// count counts the entries behind after, up to last.
func (o *Operator) count(ctx context.Context, streamName string, after, last entry.ID) (r Range, err error) {
	for after.Compare(last) < 0 {
		reply, err := countScript.Run(ctx, o.client, []string{streamName}, after.Next().String(), last.String(), countAtOnce).Slice()
		if errors.Is(err, redis.Nil) {
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("count entries: %w", err)
		}
		n, _ := reply[0].(int64)
		first, _ := reply[1].(string)
		r.Last, _ = reply[2].(string)
		if r.Count == 0 {
			r.First = first
		}
		r.Count += n
		if n < countAtOnce {
			return r, nil
		}
		if after, err = entry.ParseID(r.Last); err != nil {
			return r, err
		}
	}
	return r, nil
}

// Removal is what removing a consumer does.
type Removal struct {
	Executed bool    `json:"executed"`
	Stream   string  `json:"stream"`
	Group    string  `json:"group"`
	Consumer string  `json:"consumer"`
	Pending  int64   `json:"pending"` // entries that it had, or has while nothing is executed
	Idle     float64 `json:"idle_seconds"`
	Heir     string  `json:"claim_to,omitempty"`
	Handed   int64   `json:"handed_over"`
	Trimmed  int64   `json:"trimmed"` // entries that were pending and are no longer in the stream
}

// ErrPending means that a consumer has pending entries, which its removal would drop.
var ErrPending = errors.New("it has pending entries; name a consumer that takes them over (--claim-to)")

// RemoveConsumer removes a consumer from its group. Pending entries go to the heir, a consumer of the group, with an idle
// time that lets every worker claim them at once; without an heir they forbid it. An error comes with what was handed over
// before it. Removing a worker that lives takes from it what it has in hand; the fence keeps it from answering.
func (o *Operator) RemoveConsumer(ctx context.Context, streamName, group, name, heir string, execute bool) (Removal, error) {
	r := Removal{Stream: streamName, Group: group, Consumer: name, Heir: heir}
	fail := func(err error) (Removal, error) {
		return r, fmt.Errorf("remove consumer %q of group %s: %w", name, group, err)
	}
	state, err := stream.Inspect(ctx, o.client, streamName, group)
	if err != nil {
		return fail(err)
	}
	if !state.Exists {
		return fail(fmt.Errorf("the group: %w", ErrNotFound))
	}
	known := map[string]stream.ConsumerState{}
	for _, c := range state.Consumers {
		known[c.Name] = c
	}
	self, ok := known[name]
	if !ok {
		return fail(ErrNotFound)
	}
	r.Pending, r.Idle = self.Pending, seconds(self.Idle)
	if _, ok := known[heir]; heir != "" && (!ok || heir == name) {
		return fail(fmt.Errorf("%q cannot take over: it must be another consumer of the group", heir))
	}
	if self.Pending > 0 && heir == "" {
		return fail(ErrPending)
	}
	if !execute {
		return r, nil
	}
	err = o.handOver(ctx, &r)
	if r.Handed > 0 {
		err = errors.Join(err, o.nudge(ctx, group))
	}
	if err != nil {
		return fail(err)
	}
	return r, nil
}

// handOver goes on until nothing is pending and the consumer is removed.
func (o *Operator) handOver(ctx context.Context, r *Removal) error {
	names, _ := o.part(r.Stream)
	for !r.Executed {
		reply, err := removeScript.Run(ctx, o.client, []string{r.Stream, names.Totals(r.Stream)},
			r.Group, r.Consumer, r.Heir, (10 * o.MinIdle).Milliseconds(), handOverAtOnce).Result()
		if err != nil {
			return err
		}
		if text, is := reply.(string); is { // it was there a moment ago
			return fmt.Errorf("%s of this name: %w", text, ErrNotFound)
		}
		values, _ := reply.([]any)
		if len(values) != 4 {
			return fmt.Errorf("unexpected reply %v", reply)
		}
		n := make([]int64, 4)
		for i := range values {
			n[i], _ = values[i].(int64)
		}
		r.Handed += n[0]
		r.Trimmed += n[1]
		r.Executed = n[3] == 1
		if !r.Executed && r.Heir == "" { // it read something meanwhile
			r.Pending = n[2]
			return ErrPending
		}
	}
	return nil
}

// nudge tells the workers to claim. Without it they do in their regular sweep, a minute later.
func (o *Operator) nudge(ctx context.Context, group string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	if err := o.client.Publish(ctx, o.NudgeChannel, group).Err(); err != nil {
		return fmt.Errorf("the workers were not told to claim what was handed over: %w", err)
	}
	return nil
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
