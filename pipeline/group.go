package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

const (
	readCount = 1000                   // entries in one read
	readBlock = 200 * time.Millisecond // a context that ends does not interrupt a blocked read
	pace      = 2 * time.Millisecond   // least time between two reads or writes, so that a fast stream is handled in batches
)

// group is one consumer of a group on a stream. It is used by one goroutine.
type group struct {
	client       redis.UniversalClient
	stream, name string
	log          *slog.Logger

	history string   // ID after which what this consumer holds is read again; "" when there is none
	last    string   // ID of the newest entry that was read
	acks    []string // IDs of entries that are finished and not yet acknowledged
}

func newGroup(client redis.UniversalClient, stream, name string, log *slog.Logger) group {
	return group{client: client, stream: stream, name: name, history: "0", last: "0", log: log.With("stream", stream, "group", name)}
}

// read gives the next entries: first those that this consumer held when it ended, then new ones. It waits for
// at most block and gives none when none came. A group that does not exist is made, from where it was.
func (g *group) read(ctx context.Context, block time.Duration) ([]redis.XMessage, error) {
	after := ">"
	if g.history != "" {
		after, block = g.history, -1
	}
	streams, err := g.client.XReadGroup(ctx, &redis.XReadGroupArgs{
		Group: g.name, Consumer: standIn, Streams: []string{g.stream, after}, Count: readCount, Block: block,
	}).Result()
	switch {
	case errors.Is(err, redis.Nil):
		g.history = ""
		return nil, nil
	case redis.HasErrorPrefix(err, "NOGROUP"):
		return nil, g.create(ctx)
	case err != nil:
		if g.history == "" { // the reply may be lost that gave us entries
			g.history = g.last
		}
		return nil, fmt.Errorf("read %s as group %s: %w", g.stream, g.name, err)
	case len(streams) == 0 || len(streams[0].Messages) == 0:
		g.history = ""
		return nil, nil
	}
	messages := streams[0].Messages
	newest := messages[len(messages)-1].ID
	if g.history != "" {
		g.history = newest
	}
	g.last = newest
	return messages, nil
}

func (g *group) create(ctx context.Context) error {
	g.log.InfoContext(ctx, "consumer group is made", "from", g.last)
	err := g.client.XGroupCreateMkStream(ctx, g.stream, g.name, g.last).Err()
	if err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
		return fmt.Errorf("make group %s of %s: %w", g.name, g.stream, err)
	}
	return nil
}

// done notes entries to be acknowledged by the next flush.
func (g *group) done(ids ...string) { g.acks = append(g.acks, ids...) }

// flush acknowledges. What failed is kept for the next time.
func (g *group) flush(ctx context.Context) error {
	if len(g.acks) == 0 {
		return nil
	}
	if err := g.client.XAck(ctx, g.stream, g.name, g.acks...).Err(); err != nil {
		return fmt.Errorf("acknowledge %d entries of %s: %w", len(g.acks), g.stream, err)
	}
	g.acks = g.acks[:0]
	return nil
}

// fields are the fields of a message, in any order.
func fields(message redis.XMessage) entry.Fields {
	f := entry.AppendHeader(make([]byte, 0, 512), len(message.Values))
	for name, value := range message.Values {
		text, _ := value.(string) // go-redis gives nothing else
		f = entry.AppendString(entry.AppendString(f, name), text)
	}
	return f
}

// rounds calls round until the context ends, and again after a pause when it failed. It returns what trying
// again cannot mend.
func rounds(ctx context.Context, log *slog.Logger, round func(context.Context) error) error {
	retry := newBackoff()
	for ctx.Err() == nil {
		began := time.Now()
		err := round(ctx)
		if err == nil {
			retry.Reset()
			pause(ctx, pace-time.Since(began))
			continue
		}
		if !tryAgain(ctx, log, retry, err) {
			return err
		}
	}
	return nil
}

// tryAgain logs what failed and waits before it is tried again. It is false when that would be in vain. A
// context that has ended is no failure.
func tryAgain(ctx context.Context, log *slog.Logger, retry *backoff.ExponentialBackOff, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	for _, prefix := range []string{"WRONGTYPE", "NOAUTH", "WRONGPASS", "NOPERM"} {
		if redis.HasErrorPrefix(err, prefix) {
			return false
		}
	}
	wait := retry.NextBackOff()
	log.WarnContext(ctx, "stand-in failed and tries again", "wait", wait, "err", err)
	pause(ctx, wait)
	return true
}

// newBackoff waits 50 ms at first and 2 s at most, half of it at random.
func newBackoff() *backoff.ExponentialBackOff {
	b := backoff.NewExponentialBackOff()
	b.InitialInterval, b.MaxInterval, b.Multiplier = 50*time.Millisecond, 2*time.Second, 2
	b.Reset()
	return b
}

// pause waits; it is false when the context ended before.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
