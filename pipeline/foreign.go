package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// ErrForeign means that a stream is not for stand-ins to write to or to read.
var ErrForeign = errors.New("live services may use it. Use another Redis, or --yes-live if you are sure")

// Foreign fails with ErrForeign when one of the plan streams belongs to somebody else, and says by what that is seen: it is
// no stream, it has a group that is not among ourGroups, GateGroup is read by another consumer than our stand-in, or one
// of its oldest or newest hundred entries was not written by Planner or Load. Writing to such a stream could make
// execution services act.
//
// A stream that is absent or empty and has no such group is ours to use. The answer holds for the moment: a
// service that starts later is not foreseen.
func Foreign(ctx context.Context, client redis.UniversalClient, streams, ourGroups []string) error {
	if err := ForeignReaders(ctx, client, streams, ourGroups); err != nil {
		return err
	}
	for _, stream := range streams {
		if err := foreignEntry(ctx, client, stream); err != nil {
			return err
		}
	}
	return nil
}

// ForeignReaders fails with ErrForeign by who reads alone, whoever wrote the entries: a stream is none, has a group that is not
// among ourGroups, or GateGroup or BridgeGroup is read by another consumer than our stand-in. Gate and Bridge would take
// from that what it reads, and what Gate decides would become heat.
func ForeignReaders(ctx context.Context, client redis.UniversalClient, streams, ourGroups []string) error {
	for _, stream := range streams {
		reason, err := foreignReader(ctx, client, stream, ourGroups)
		if err != nil {
			return err
		}
		if reason != "" {
			return fmt.Errorf("%s: %w", reason, ErrForeign)
		}
	}
	return nil
}

func foreignEntry(ctx context.Context, client redis.UniversalClient, stream string) error {
	const sample = 100
	oldest, err := client.XRangeN(ctx, stream, "-", "+", sample).Result()
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	newest, err := client.XRevRangeN(ctx, stream, "+", "-", sample).Result()
	if err != nil {
		return fmt.Errorf("read %s: %w", stream, err)
	}
	for _, message := range append(newest, oldest...) {
		if sourceOf(message.Values) != standIn {
			return fmt.Errorf("entry %s of %s was not written by a stand-in: %w", message.ID, stream, ErrForeign)
		}
	}
	return nil
}

func foreignReader(ctx context.Context, client redis.UniversalClient, stream string, ourGroups []string) (reason string, err error) {
	kind, err := client.Type(ctx, stream).Result()
	switch {
	case err != nil:
		return "", fmt.Errorf("look at %s: %w", stream, err)
	case kind == "none":
		return "", nil
	case kind != "stream":
		return fmt.Sprintf("%s is a %s", stream, kind), nil
	}
	groups, err := client.XInfoGroups(ctx, stream).Result()
	if err != nil {
		return "", fmt.Errorf("list the groups of %s: %w", stream, err)
	}
	for _, group := range groups {
		if !slices.Contains(ourGroups, group.Name) {
			return fmt.Sprintf("%s has a group %q", stream, group.Name), nil
		}
		if group.Name != GateGroup && group.Name != BridgeGroup { // production has groups of these names too
			continue
		}
		consumers, err := client.XInfoConsumers(ctx, stream, group.Name).Result()
		if err != nil {
			return "", fmt.Errorf("list the consumers of group %s: %w", group.Name, err)
		}
		for _, consumer := range consumers {
			if consumer.Name != standIn {
				return fmt.Sprintf("group %q of %s is read by %q", group.Name, stream, consumer.Name), nil
			}
		}
	}
	return "", nil
}
