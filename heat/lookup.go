package heat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
)

// LookEach looks at every plan in one pipeline, one HGETALL each, and appends the looks to dst in the order of
// the plans. It is the way when most hashes are expected to be there.
func (r *Reader) LookEach(ctx context.Context, dst []event.Look, planIDs []string) []event.Look {
	if len(planIDs) == 0 {
		return dst
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	start, before := time.Now(), len(dst)
	dst = r.lookEach(ctx, dst, planIDs)
	r.told(dst[before:], start)
	return dst
}

func (r *Reader) lookEach(ctx context.Context, dst []event.Look, planIDs []string) []event.Look {
	answers := make([]func() event.Look, 0, len(planIDs))
	pipe := r.client.Pipeline()
	for _, id := range planIDs {
		answers = append(answers, r.ask(ctx, pipe, r.prefix+id))
	}
	began := r.opts.Now()
	// Each command has an error of its own after Exec, and that of Exec is the first of them.
	_, _ = pipe.Exec(ctx)
	at := r.opts.Now()
	for _, answer := range answers {
		look := answer()
		look.Began, look.At = began, at
		dst = append(dst, look)
	}
	return dst
}

// ask queues one HGETALL and returns how to read the answer after the pipeline was sent.
func (r *Reader) ask(ctx context.Context, pipe redis.Pipeliner, key string) func() event.Look {
	if !r.multiKey {
		// A raw reply would hide the redirection of a Cluster from go-redis.
		cmd := pipe.HGetAll(ctx, key)
		return func() event.Look { return lookOf(maps.All(cmd.Val()), len(cmd.Val()), cmd.Err()) }
	}
	// Raw, because go-redis would make a map and two dozen strings of which eight are used.
	cmd := redis.NewRawCmd(ctx, "hgetall", key)
	_ = pipe.Process(ctx, cmd)
	return func() event.Look {
		fields, err := pairs(cmd.Result())
		return lookOf(heatFields(fields), fields.Len(), err)
	}
}

// lookOf makes a look, its time left out, of the n fields of a hash or of the error in their place.
func lookOf(fields iter.Seq2[string, string], n int, err error) event.Look {
	switch {
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return event.Look{Kind: event.Malformed, Err: errors.New("look up heat: the key is no hash")}
	case err != nil:
		return event.Look{Kind: event.Failed, Err: fmt.Errorf("look up heat: %w", err)}
	case n == 0:
		return event.Look{Kind: event.Absent}
	}
	heat, err := event.DecodeHeat(fields)
	if err != nil {
		return event.Look{Kind: event.Malformed, Err: err}
	}
	return event.Look{Kind: event.Found, Heat: heat}
}

// isReply tells an error that Redis answered from one of the way to it.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

// replyError is an error that Redis answered, in a raw reply.
type replyError string

func (e replyError) Error() string { return string(e) }

// RedisError marks the type for redis.Error.
func (replyError) RedisError() {}

var errReply = errors.New("unexpected reply to HGETALL")

// pairs reads a raw reply of names and values: an array, or the map of RESP3 with the same strings in it. It
// is checked to be whole, so that a reply that was cut short is never an absent heat.
func pairs(raw []byte, err error) (entry.Fields, error) {
	if err != nil {
		return nil, err
	}
	line, rest, ok := bytes.Cut(raw, []byte("\r\n"))
	if !ok || len(line) == 0 {
		return nil, errReply
	}
	switch line[0] {
	case '-':
		return nil, replyError(line[1:])
	case '*':
		fields := entry.Fields(raw)
		return fields, fields.Check()
	case '%':
		n, err := strconv.Atoi(string(line[1:]))
		if err != nil {
			return nil, errReply
		}
		fields := entry.Fields(append(entry.AppendHeader(make([]byte, 0, len(raw)+4), n), rest...))
		return fields, fields.Check()
	}
	return nil, errReply
}

// heatFields yields the fields that an observation copies and makes strings of no others.
func heatFields(fields entry.Fields) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for name, value := range fields.All() {
			for _, wanted := range event.HeatFields {
				if string(name) != wanted {
					continue
				}
				if !yield(wanted, string(value)) {
					return
				}
			}
		}
	}
}

// told reports one batch to the metrics and returns what it told.
func (r *Reader) told(looks []event.Look, start time.Time) Lookup {
	batch := Lookup{Plans: len(looks), Took: time.Since(start)}
	for i := range looks {
		switch looks[i].Kind {
		case event.Found, event.Malformed:
			batch.Found++
		case event.Failed:
			batch.Failed++
		}
	}
	r.opts.Metrics.Looked(batch)
	return batch
}
