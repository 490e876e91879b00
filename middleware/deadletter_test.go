package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/event"
	"heatobserver/internal/redistest"
	"heatobserver/middleware"
	"heatobserver/stream"
)

const (
	testStream = "plans"
	testGroup  = "readers"
	testDead   = "dead"
)

// route runs a handler behind DeadLetter, Retry and Recoverer on a stream until the end of the test or until stop.
func route(t *testing.T, rdb *redis.Client, maxFailures int, log *slog.Logger, handle message.HandlerFunc) (stop func()) {
	t.Helper()
	subscriber, err := stream.NewSubscriber(rdb, stream.SubscriberConfig{
		Group: testGroup, Consumer: t.Name(), Block: 20 * time.Millisecond, Start: "0", DeadStream: testDead, Logger: log,
	})
	require.NoError(t, err)
	router, err := message.NewRouter(message.RouterConfig{CloseTimeout: 10 * time.Second}, watermill.NopLogger{})
	require.NoError(t, err)
	h := router.AddConsumerHandler("test", testStream, subscriber, func(*message.Message) error { return nil })
	h.AddMiddleware(
		middleware.DeadLetter(log),
		middleware.Retry(middleware.RetryConfig{MaxFailures: maxFailures, First: time.Millisecond, Most: time.Millisecond}),
		middleware.Recoverer,
		func(message.HandlerFunc) message.HandlerFunc { return handle },
	)
	ended := make(chan error, 1)
	go func() { ended <- router.Run(context.Background()) }()
	<-router.Running()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			assert.NoError(t, router.Close())
			assert.NoError(t, <-ended)
		}
	}
	t.Cleanup(stop)
	return stop
}

func await(t *testing.T, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !met(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 20s", what)
		}
	}
}

func pending(t *testing.T, rdb *redis.Client) int64 {
	t.Helper()
	p, err := rdb.XPending(t.Context(), testStream, testGroup).Result()
	require.NoError(t, err)
	return p.Count
}

func TestDeadLetter(t *testing.T) {
	cases := []struct {
		name     string
		handle   func(call int32) error // of one entry
		calls    int32
		reason   string // "" when nothing is parked
		failures int
	}{
		{"works", func(int32) error { return nil }, 1, "", 0},
		{"fails for ever", func(int32) error { return errBroken }, 4, "handler_failed", 4},
		{"works at the last try", func(call int32) error {
			if call < 4 {
				return errBroken
			}
			return nil
		}, 4, "", 0},
		{"panics for ever", func(int32) error { panic("again") }, 4, "handler_failed", 4},
		{"malformed", func(int32) error {
			return fmt.Errorf("decode: %w", &event.MalformedError{Reason: event.NoSymbol, Err: errBroken})
		}, 1, "no_symbol", 1},
		{"fails once and is then found malformed", func(call int32) error {
			if call == 1 {
				return errBroken
			}
			return &event.MalformedError{Reason: event.BadField, Err: errBroken}
		}, 2, "bad_field", 1},
		// Five are more than the failures that are allowed: none of them counts.
		{"cancelled five times, then works", func(call int32) error {
			if call <= 5 {
				return context.Canceled
			}
			return nil
		}, 6, "", 0},
	}
	srv := redistest.Start(t)
	rdb := srv.Client()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, rdb.FlushAll(t.Context()).Err())
			var calls atomic.Int32
			var text bytes.Buffer // read when the router has stopped
			log := slog.New(slog.NewTextHandler(&text, nil))
			stop := route(t, rdb, 4, log, func(*message.Message) ([]*message.Message, error) { return nil, c.handle(calls.Add(1)) })
			id, err := rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: testStream, Values: []string{"name", "value"}}).Result()
			require.NoError(t, err)
			await(t, "settled", func() bool { return calls.Load() >= c.calls && pending(t, rdb) == 0 })
			stop()
			assert.Equal(t, c.calls, calls.Load())

			letters, err := rdb.XRange(t.Context(), testDead, "-", "+").Result()
			require.NoError(t, err)
			if c.reason == "" {
				assert.Empty(t, letters)
				return
			}
			require.Len(t, letters, 1)
			fields := letters[0].Values
			assert.Equal(t, c.reason, fields["reason"])
			assert.Equal(t, strconv.Itoa(c.failures), fields["failures"])
			assert.Equal(t, id, fields["entry_id"])
			assert.Equal(t, testStream, fields["stream"])
			assert.Equal(t, testGroup, fields["group"])
			assert.NotEmpty(t, fields["error"])
			level := "level=WARN" // for the producer to mend
			if c.reason == middleware.ReasonFailed {
				level = "level=ERROR" // for us
			}
			assert.Contains(t, text.String(), level+` msg="parked an entry as a dead letter" reason=`+c.reason)
			raw, err := json.Marshal(map[string]string{"name": "value"})
			require.NoError(t, err)
			assert.JSONEq(t, string(raw), fields["raw"].(string))
		})
	}
}

// TestDeliveriesAreNoFailures: an entry that was claimed, read from the history and nacked more often than it may fail is
// tried as often as any other.
func TestDeliveriesAreNoFailures(t *testing.T) {
	const maxFailures = 4
	srv := redistest.Start(t)
	rdb := srv.Client()
	for name, c := range map[string]struct {
		errs    []error // of one call each; what comes after them works
		letters []string
	}{
		"works at the last try": {[]error{errBroken, errBroken, errBroken}, nil},
		"cancelled, and works at the last try": {
			slices.Concat(slices.Repeat([]error{context.Canceled}, maxFailures), []error{errBroken, errBroken, errBroken}), nil,
		},
		"fails too often": {[]error{errBroken, errBroken, errBroken, errBroken}, []string{strconv.Itoa(maxFailures)}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			require.NoError(t, rdb.FlushAll(ctx).Err())
			id, err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: testStream, Values: []string{"name", "value"}}).Result()
			require.NoError(t, err)
			require.NoError(t, rdb.XGroupCreate(ctx, testStream, testGroup, "0").Err())
			for _, from := range []string{">", "0", "0", "0"} {
				require.NoError(t, rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: testGroup, Consumer: "gone", Streams: []string{testStream, from}}).Err())
			}
			for range 3 {
				require.NoError(t, rdb.Do(ctx, "XCLAIM", testStream, testGroup, "gone", 0, id, "IDLE", time.Hour.Milliseconds()).Err())
			}
			calls, deliveries := 0, int64(0) // read when the router has stopped
			stop := route(t, rdb, maxFailures, slog.New(slog.DiscardHandler), func(msg *message.Message) ([]*message.Message, error) {
				calls++
				deliveries = stream.DeliveryFrom(msg.Context()).Count()
				if calls <= len(c.errs) {
					return nil, c.errs[calls-1]
				}
				return nil, nil
			})
			await(t, "settled", func() bool { return pending(t, rdb) == 0 })
			stop()
			assert.Equal(t, int64(8), deliveries)
			assert.Equal(t, len(c.errs)+1-len(c.letters), calls)
			var failures []string
			for _, letter := range rdb.XRange(ctx, testDead, "-", "+").Val() {
				failures = append(failures, letter.Values["failures"].(string))
			}
			assert.Equal(t, c.letters, failures)
		})
	}
}

// TestDeadLetterThatCannotBeWritten: the entry stays pending until the dead-letter stream takes it, or for others.
func TestDeadLetterThatCannotBeWritten(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	malformed := func(*message.Message) ([]*message.Message, error) {
		return nil, &event.MalformedError{Reason: event.NoSymbol, Err: errors.New("no symbol")}
	}
	require.NoError(t, rdb.Set(t.Context(), testDead, "no stream", 0).Err())
	stop := route(t, rdb, 4, slog.New(slog.DiscardHandler), malformed)
	require.NoError(t, rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: testStream, Values: []string{"name", "value"}}).Err())
	await(t, "pending", func() bool { return pending(t, rdb) == 1 })
	stop()
	assert.Equal(t, int64(1), pending(t, rdb), "an entry that was not parked must not be acknowledged")

	require.NoError(t, rdb.Del(t.Context(), testDead).Err())
	subscribed := route(t, rdb, 4, slog.New(slog.DiscardHandler), malformed)
	await(t, "parked by a successor", func() bool { return pending(t, rdb) == 0 })
	subscribed()
	assert.Equal(t, int64(1), rdb.XLen(t.Context(), testDead).Val())
}

// TestDeadLetterOfForeignMessage: a message that no entry stands behind keeps its error.
func TestDeadLetterOfForeignMessage(t *testing.T) {
	malformed := &event.MalformedError{Reason: event.NoSymbol, Err: errBroken}
	handle := middleware.DeadLetter(slog.New(slog.DiscardHandler))(func(*message.Message) ([]*message.Message, error) {
		return nil, malformed
	})
	_, err := handle(message.NewMessage("m", nil))
	assert.ErrorIs(t, err, malformed)
}
