package stream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// UnknownLag is a number of entries that Redis does not know either. It must never be shown as 0.
const UnknownLag = -1

// GroupState is what Redis says about a consumer group.
type GroupState struct {
	Stream, Group string
	// Exists is false when there is no such group or stream; then the rest is zero and Lag unknown.
	Exists bool
	// Length of the stream, in entries.
	Length int64
	// Lag is how many entries were not yet delivered, or UnknownLag.
	Lag int64
	// Pending is how many were delivered and not acknowledged.
	Pending       int64
	LastDelivered entry.ID
	LastGenerated entry.ID
	// Behind is the age of the oldest entry that was not yet delivered, by the server's clock; 0 when there is none.
	Behind time.Duration
	// OldestPending is the age of the oldest entry delivered and not acknowledged; 0 when there is none.
	OldestPending time.Duration
	Consumers     []ConsumerState
}

// ConsumerState is one consumer of a group.
type ConsumerState struct {
	Name    string
	Pending int64
	Idle    time.Duration // since its last command
}

// State is what Redis says about a stream. A stream that does not exist is an empty one.
type State struct {
	Stream string
	// Length is in entries.
	Length      int64
	First, Last entry.ID // Last is what was generated last, deleted or not; both are zero without entries
	// Added is how many entries were ever added, or UnknownLag where the server does not say.
	Added int64
}

// InspectStream asks Redis for the state of a stream. A missing one is no error. It only reads.
func InspectStream(ctx context.Context, client redis.UniversalClient, stream string) (State, error) {
	state := State{Stream: stream}
	pipe := client.Pipeline()
	info := pipe.Do(ctx, "XINFO", "STREAM", stream)
	first := pipe.XRangeN(ctx, stream, "-", "+", 1)
	_, _ = pipe.Exec(ctx) // each command carries its error
	if hasPrefix(info.Err(), "ERR no such key") {
		return state, nil
	}
	if err := errors.Join(info.Err(), first.Err()); err != nil {
		return state, fmt.Errorf("inspect stream %s: %w", stream, err)
	}
	facts := attributes(info.Val())
	state.Length, _ = facts["length"].(int64)
	state.Added = UnknownLag
	if added, known := facts["entries-added"].(int64); known {
		state.Added = added
	}
	if err := parseInto(&state.Last, facts["last-generated-id"]); err != nil {
		return state, fmt.Errorf("inspect stream %s: %w", stream, err)
	}
	if entries := first.Val(); len(entries) > 0 {
		if err := parseInto(&state.First, entries[0].ID); err != nil {
			return state, fmt.Errorf("inspect stream %s: %w", stream, err)
		}
	}
	return state, nil
}

// Inspect asks Redis for the state of a group. A missing group or stream is no error. It only reads.
func Inspect(ctx context.Context, client redis.UniversalClient, stream, group string) (GroupState, error) {
	state := GroupState{Stream: stream, Group: group, Lag: UnknownLag}
	fail := func(err error) (GroupState, error) {
		return GroupState{Stream: stream, Group: group, Lag: UnknownLag}, fmt.Errorf("inspect group %s of %s: %w", group, stream, err)
	}
	pipe := client.Pipeline()
	now := pipe.Time(ctx)
	info := pipe.Do(ctx, "XINFO", "STREAM", stream)
	// go-redis turns an unknown lag into 0, so the reply is read here.
	groups := pipe.Do(ctx, "XINFO", "GROUPS", stream)
	consumers := pipe.XInfoConsumers(ctx, stream, group)
	pending := pipe.XPending(ctx, stream, group)
	_, _ = pipe.Exec(ctx) // each command carries its error

	switch err := info.Err(); {
	case hasPrefix(err, "ERR no such key"):
		return state, nil
	case err != nil:
		return fail(err)
	}
	if err := errors.Join(now.Err(), groups.Err()); err != nil {
		return fail(err)
	}
	facts := attributes(info.Val())
	state.Length, _ = facts["length"].(int64)
	if err := parseInto(&state.LastGenerated, facts["last-generated-id"]); err != nil {
		return fail(err)
	}
	list, _ := groups.Val().([]any)
	for _, g := range list {
		facts := attributes(g)
		if facts["name"] != group {
			continue
		}
		state.Exists = true
		state.Pending, _ = facts["pending"].(int64)
		if err := parseInto(&state.LastDelivered, facts["last-delivered-id"]); err != nil {
			return fail(err)
		}
		if lag, known := facts["lag"].(int64); known {
			state.Lag = lag
		}
	}
	if !state.Exists {
		return state, nil
	}
	// After an unread entry was deleted Redis' lag may stay too high for ever; the last ID decides.
	if state.LastDelivered.Compare(state.LastGenerated) >= 0 {
		state.Lag = 0
	}
	if err := errors.Join(consumers.Err(), pending.Err()); err != nil {
		return fail(err)
	}
	for _, c := range consumers.Val() {
		state.Consumers = append(state.Consumers, ConsumerState{Name: c.Name, Pending: c.Pending, Idle: c.Idle})
	}
	if p := pending.Val(); p.Count > 0 {
		oldest, err := entry.ParseID(p.Lower)
		if err != nil {
			return fail(err)
		}
		state.OldestPending = max(0, now.Val().Sub(oldest.Time()))
	}
	if state.Lag != 0 {
		next, err := client.XRangeN(ctx, stream, "("+state.LastDelivered.String(), "+", 1).Result()
		if err != nil {
			return fail(err)
		}
		if len(next) > 0 {
			id, err := entry.ParseID(next[0].ID)
			if err != nil {
				return fail(err)
			}
			state.Behind = max(0, now.Val().Sub(id.Time()))
		} else {
			state.Lag = 0 // nothing is left to read: what came last was deleted
		}
	}
	return state, nil
}

// attributes reads a reply of names and values, a list in RESP2 and a map in RESP3.
func attributes(reply any) map[string]any {
	m := map[string]any{}
	switch r := reply.(type) {
	case []any:
		for i := 0; i+1 < len(r); i += 2 {
			if name, ok := r[i].(string); ok {
				m[strings.ToLower(name)] = r[i+1]
			}
		}
	case map[any]any:
		for k, v := range r {
			if name, ok := k.(string); ok {
				m[strings.ToLower(name)] = v
			}
		}
	}
	return m
}

// parseInto reads an entry ID. An empty one, which the in-process Redis has for a stream that never had an entry, is zero.
func parseInto(id *entry.ID, value any) (err error) {
	text, _ := value.(string)
	if text == "" {
		*id = entry.ID{}
		return nil
	}
	*id, err = entry.ParseID(text)
	return err
}
