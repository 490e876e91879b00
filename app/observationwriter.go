package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/stream"
)

// ErrTarget is wrapped where a stream cannot take the observations of a replay.
var ErrTarget = errors.New("refused target")

const (
	writeBatch   = 200
	writeTimeout = 30 * time.Second
)

// ObservationWriter adds observations to a stream in the order of their making. The ID of each has the time at which it
// would have been made, so that the stream is a recording like that of the observer. It is not safe for concurrent use.
type ObservationWriter struct {
	client   redis.UniversalClient
	stream   string
	maxDebug int
	last     entry.ID // of the stream
	batch    [][]any
	begun    bool
}

// NewObservationWriter looks at the stream, which must be a stream or nothing. That its name is not a live one is for the
// caller to know. Writing begins with the first full batch; see Flush.
func NewObservationWriter(ctx context.Context, client redis.UniversalClient, name string, maxDebug int) (*ObservationWriter, error) {
	found, err := stream.Measure(ctx, client, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	return &ObservationWriter{client: client, stream: name, maxDebug: maxDebug, last: found.Generated}, nil
}

// Add takes one observation. The first fails with ErrTarget when the stream holds entries that are not older.
func (w *ObservationWriter) Add(ctx context.Context, o *event.Observation) error {
	at := o.SourceID.Ms + uint64(max(0, o.WaitMs))
	if !w.begun && at <= w.last.Ms {
		return fmt.Errorf("%w: %s holds entries up to %s and the first observation is of %d: take a new name", ErrTarget, w.stream, w.last, at)
	}
	w.begun = true
	args := []any{"XADD", w.stream, fmt.Sprintf("%d-*", at)}
	for name, value := range o.AppendFields(nil, w.maxDebug).All() {
		args = append(args, name, value)
	}
	if w.batch = append(w.batch, args); len(w.batch) < writeBatch {
		return nil
	}
	return w.Flush(ctx)
}

// Flush writes what was taken. After an error, what it held may have been written in part.
func (w *ObservationWriter) Flush(ctx context.Context) error {
	if len(w.batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	pipe := w.client.Pipeline()
	for _, args := range w.batch {
		pipe.Do(ctx, args...)
	}
	w.batch = w.batch[:0]
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("write observations into %s: %w", w.stream, err)
	}
	return nil
}
