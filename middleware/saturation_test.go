package middleware_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
	"heatobserver/middleware"
	"heatobserver/stream"
)

// slow is a handler that takes a second and notes how many are in it.
type slow struct {
	mu         sync.Mutex
	now, most  int
	done       int
	misbehaves func(n int) error
}

func (s *slow) handle(*message.Message) ([]*message.Message, error) {
	s.mu.Lock()
	s.now++
	s.most = max(s.most, s.now)
	s.done++
	n := s.done
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.now--
		s.mu.Unlock()
	}()
	time.Sleep(time.Second) // the clock of the bubble
	if s.misbehaves != nil {
		return nil, s.misbehaves(n)
	}
	return nil, nil
}

func saturation(limit int, skip bool, log *slog.Logger) *middleware.Saturation {
	return middleware.NewSaturation(middleware.SaturationConfig{Limit: limit, Skip: skip, Logger: log, Hint: "raise the limit"})
}

func TestSaturationQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		s := saturation(3, false, slog.New(slog.NewTextHandler(&text, nil)))
		h := &slow{}
		handle := s.Middleware(h.handle)
		var wg sync.WaitGroup
		begun := time.Now()
		for range 10 {
			wg.Go(func() { _, _ = handle(message.NewMessage("m", nil)) })
		}
		synctest.Wait()
		assert.Equal(t, 3, s.InFlight())
		wg.Wait()
		assert.Equal(t, 10, h.done)
		assert.Equal(t, 3, h.most)
		assert.Equal(t, 4*time.Second, time.Since(begun))
		assert.Zero(t, s.InFlight())
		assert.Equal(t, 1, strings.Count(text.String(), "saturated"), "logged once in ten seconds")
		assert.Contains(t, text.String(), "raise the limit")
	})
}

func TestSaturationSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := saturation(3, true, slog.New(slog.DiscardHandler))
		h := &slow{}
		handle := s.Middleware(h.handle)
		send := func(n int) {
			for range n {
				go func() {
					_, err := handle(message.NewMessage("m", nil))
					assert.NoError(t, err)
				}()
			}
			synctest.Wait()
		}
		send(10)
		assert.Equal(t, 3, h.done, "the first are taken")
		time.Sleep(1500 * time.Millisecond)
		assert.Zero(t, s.InFlight())
		send(2)
		assert.Equal(t, 5, h.done, "and as many again as have ended")
		time.Sleep(1500 * time.Millisecond)
	})
}

// failing fails all scripts while it is told to.
type failing struct{ on atomic.Bool }

func (f *failing) DialHook(next redis.DialHook) redis.DialHook { return next }

func (f *failing) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if f.on.Load() && strings.HasPrefix(cmd.Name(), "eval") {
			cmd.SetErr(errBroken)
			return errBroken
		}
		return next(ctx, cmd)
	}
}

func (f *failing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// TestSaturationDropFails: what could not be dropped is not done with, and keeps its error.
func TestSaturationDropFails(t *testing.T) {
	rdb := redistest.Start(t).Client()
	scripts := &failing{}
	rdb.AddHook(scripts)
	log := slog.New(slog.DiscardHandler)
	subscriber, err := stream.NewSubscriber(rdb, stream.SubscriberConfig{
		Group: testGroup, Consumer: "c", Block: 20 * time.Millisecond, Start: "0", Logger: log,
	})
	require.NoError(t, err)
	messages, err := subscriber.Subscribe(context.WithoutCancel(t.Context()), testStream)
	require.NoError(t, err)
	require.NoError(t, rdb.XAdd(t.Context(), &redis.XAddArgs{Stream: testStream, Values: []string{"name", "value"}}).Err())
	m := <-messages

	full, over, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
	handle := saturation(1, true, log).Middleware(func(*message.Message) ([]*message.Message, error) {
		close(full)
		<-over
		return nil, nil
	})
	go func() { defer close(done); _, _ = handle(message.NewMessage("the one that is handled", nil)) }()
	<-full
	scripts.on.Store(true)
	ctx, cancel := context.WithCancelCause(m.Context())
	cancel(errors.New("enough"))
	again := m.Copy()
	again.SetContext(ctx)
	_, err = handle(again)
	assert.ErrorIs(t, err, errBroken)
	assert.ErrorContains(t, err, "enough")
	assert.EqualValues(t, 1, pending(t, rdb))

	scripts.on.Store(false)
	answers, err := handle(m)
	assert.NoError(t, err)
	assert.Empty(t, answers)
	assert.Zero(t, pending(t, rdb))
	assert.Equal(t, "1", rdb.HGet(t.Context(), "stream:totals", "dropped:"+testGroup).Val())
	m.Ack()
	close(over)
	<-done
	require.NoError(t, subscriber.Close())
}

// TestSaturationCountsDownOnEveryPath: errors, panics and cancelled waits give their places back.
func TestSaturationCountsDownOnEveryPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := saturation(1, false, slog.New(slog.DiscardHandler))
		h := &slow{misbehaves: func(n int) error {
			if n%2 == 0 {
				panic("out of order")
			}
			return errBroken
		}}
		handle := s.Middleware(middleware.Recoverer(h.handle))
		bare := s.Middleware(h.handle)
		for range 3 {
			_, err := handle(message.NewMessage("m", nil))
			assert.Error(t, err)
		}
		assert.Panics(t, func() { _, _ = bare(message.NewMessage("m", nil)) })
		assert.Zero(t, s.InFlight())

		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		go func() { _, _ = handle(message.NewMessage("m", nil)) }()
		synctest.Wait()
		time.AfterFunc(100*time.Millisecond, func() { cancel(cause) })
		m := message.NewMessage("waits for its turn", nil)
		m.SetContext(ctx)
		_, err := handle(m)
		require.ErrorIs(t, err, cause)
		assert.Equal(t, 1, s.InFlight())
		time.Sleep(2 * time.Second)
		assert.Zero(t, s.InFlight())
		assert.Equal(t, 5, h.done)
	})
}
