package stream

import (
	"context"
	"fmt"
	"time"
)

// A reply that takes entries is to make about replyBytes, however large they are: what is large, too large to be a plan
// even, must not take all memory, here or in the process that comes after one that died of it. The first one is small,
// because nothing is known yet.
const replyBytes = 8 << 20

// sizing is how many entries a reply may bring, by what those before have brought.
type sizing struct{ most int }

func (z *sizing) limit(n int) int {
	if z.most == 0 {
		z.most = firstPage
	}
	return min(n, z.most)
}

// saw is told what a reply has brought, and how many bytes one is to make.
func (z *sizing) saw(entries, size, want int) {
	if entries > 0 {
		z.most = max(1, min(entries*want/size, 4*z.most))
	}
}

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
	n := s.room(ctx, s.sizing.limit(s.appetite()))
	if n == 0 {
		return context.Cause(ctx)
	}
	entries, err := s.readOnce(ctx, n)
	s.lastRead = len(entries)
	deliveries := s.take(entries, nil)
	s.credits.give(n - len(deliveries))
	s.deliverTogether(deliveries)
	return err
}

// room waits until something may be taken into hand, and says how much: at most most, 0 when ctx has ended.
func (s *subscription) room(ctx context.Context, most int) int {
	s.setWaiting(true)
	defer s.setWaiting(false)
	return s.credits.take(ctx, most)
}

func (s *subscription) setWaiting(waiting bool) {
	s.mu.Lock()
	s.waiting = waiting
	s.mu.Unlock()
}

// readOnce reads up to n new entries.
func (s *subscription) readOnce(ctx context.Context, n int) ([]Entry, error) {
	start := time.Now()
	// As much room as the last reply took: growing into it step by step would copy it several times.
	raw, err := sendRaw(ctx, s.client, make([]byte, 0, min(s.lastReply, replyBytes)), 9, "XREADGROUP", "GROUP", s.cfg.Group, s.cfg.Consumer, "COUNT", n,
		"BLOCK", s.cfg.Block.Milliseconds(), "STREAMS", s.stream, ">")
	var entries []Entry
	if err == nil {
		s.lastReply = len(raw)
		entries, err = parseRead(raw, s.stream)
	}
	if err != nil {
		s.noteUncertain(err)
		return nil, fmt.Errorf("read %s for group %s: %w", s.stream, s.cfg.Group, err)
	}
	s.sizing.saw(len(entries), len(raw), replyBytes)
	if len(entries) > 0 {
		s.cfg.Events.Read(s.stream, s.cfg.Group, len(entries), true, time.Since(start))
	}
	return entries, nil
}

// noteUncertain remembers that a command which takes entries failed without a reply of Redis.
func (s *subscription) noteUncertain(err error) {
	if !isReply(err) {
		s.uncertain.Store(true)
	}
}
