package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// read is the loop that takes new entries.
func (s *subscription) read(ctx context.Context) {
	pause := retryPause()
	var healed time.Time
	for ctx.Err() == nil {
		err := s.readRound(ctx)
		if ctx.Err() != nil {
			return
		}
		rest := err != nil
		if IsNoGroup(err) || hasPrefix(err, "UNBLOCKED") {
			if err = s.heal(ctx); err == nil {
				// A group that vanishes again at once must not make a hot loop of it.
				rest, healed = time.Since(healed) < time.Second, time.Now()
			}
		}
		s.noteRead(err)
		if !rest {
			pause.Reset()
			continue
		}
		s.cfg.Events.Failed("read")
		if sleep(ctx, pause.NextBackOff()) != nil {
			return
		}
	}
}

// readRound reads once, after it has taken into hand what an earlier reply would have brought that was lost.
func (s *subscription) readRound(ctx context.Context) error {
	if s.uncertain.Swap(false) {
		if err := s.recoverOwn(ctx); err != nil {
			s.uncertain.Store(true)
			return err
		}
	}
	n := s.room(ctx)
	if n == 0 {
		return context.Cause(ctx)
	}
	entries, err := s.readOnce(ctx, n)
	deliveries := s.take(entries, nil)
	s.credits.give(n - len(deliveries))
	s.deliverAll(deliveries)
	return err
}

// room waits until something may be taken into hand, and says how much: at most a batch, 0 when ctx has ended.
func (s *subscription) room(ctx context.Context) int {
	s.setWaiting(true)
	defer s.setWaiting(false)
	return s.credits.take(ctx, s.cfg.Batch)
}

func (s *subscription) setWaiting(waiting bool) {
	s.mu.Lock()
	s.waiting = waiting
	s.mu.Unlock()
}

// readOnce reads up to n new entries.
func (s *subscription) readOnce(ctx context.Context, n int) ([]Entry, error) {
	start := time.Now()
	raw, err := s.raw(ctx, 9, "XREADGROUP", "GROUP", s.cfg.Group, s.cfg.Consumer, "COUNT", n,
		"BLOCK", s.cfg.Block.Milliseconds(), "STREAMS", s.stream, ">")
	var entries []Entry
	if err == nil {
		entries, err = parseRead(raw, s.stream)
	}
	if err != nil {
		s.noteUncertain(err)
		return nil, fmt.Errorf("read %s for group %s: %w", s.stream, s.cfg.Group, err)
	}
	if len(entries) > 0 {
		s.cfg.Events.Read(s.stream, s.cfg.Group, len(entries), true, time.Since(start))
	}
	return entries, nil
}

// raw sends a command once and returns its reply as it came. key is the place of the first key among the arguments.
//
// A command that writes its reply to a buffer is the one kind that go-redis never repeats by itself: a repetition would
// hide that a reply was lost, and what that reply brought would be pending here without anybody's knowing.
func (s *subscription) raw(ctx context.Context, key int8, args ...any) ([]byte, error) {
	var out bytes.Buffer
	cmd := redis.NewRawWriteToCmd(ctx, &out, args...)
	cmd.SetFirstKeyPos(key)
	if err := s.client.Process(ctx, cmd); err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	return out.Bytes(), rawError(out.Bytes())
}

// noteUncertain remembers that a command which takes entries failed without a reply of Redis.
func (s *subscription) noteUncertain(err error) {
	var answered redis.Error
	if !errors.As(err, &answered) {
		s.uncertain.Store(true)
	}
}
