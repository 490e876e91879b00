package stream

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

const (
	// probeEvery is how often the group's consumers are looked at for one that has died, at least: each look says how
	// long nobody can be dead yet. probeAgain is when a look is repeated that failed, or that found somebody dead.
	probeEvery = 5 * time.Second
	probeAgain = time.Second
	// strayAfter is how many looks in a row must find more pending for ourselves than we have in hand, until it is believed:
	// what a read is just bringing is such, for a moment.
	strayAfter = 3
	// sweepEvery is how often the fleet passes over everything pending whatever the consumers look like: half a second
	// of Redis for 100,000 entries. Each consumer does so every that many times their number.
	sweepEvery = time.Minute
)

// claim is the loop that takes over what others left behind. A pass over all that is pending is dear, so it is made only
// when a consumer with pending entries has gone quiet, when one that drains says so, and now and then.
func (s *subscription) claim(ctx context.Context) {
	probe := time.NewTimer(min(probeAgain, s.cfg.MinIdle))
	defer probe.Stop()
	swept := time.Now()
	strays := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.claimNow:
		case <-probe.C:
			found, err := s.probe(ctx)
			if err != nil {
				probe.Reset(probeAgain)
				continue // the reader says what is wrong
			}
			if strays++; !found.strays {
				strays = 0
			}
			if strays == strayAfter {
				s.uncertain.Store(true)
				strays = 0
			}
			if found.died || strays > 0 { // until nothing is left of it
				found.next = min(probeAgain, found.next)
			}
			probe.Reset(min(probeEvery, found.next))
			sweepAfter := s.sweepEvery * time.Duration(max(1, found.consumers))
			if !found.died && time.Since(swept) <= sweepAfter {
				continue
			}
		}
		swept = time.Now()
		if err := s.claimPass(ctx); err != nil && ctx.Err() == nil && !IsNoGroup(err) {
			s.cfg.Events.Failed("claim")
			s.log.DebugContext(ctx, "claiming failed; trying again", "err", err)
		}
	}
}

// claimSoon asks for a pass.
func (s *subscription) claimSoon() {
	select {
	case s.claimNow <- struct{}{}:
	default:
	}
}

// fleet is what a look at the group's consumers finds.
type fleet struct {
	consumers int
	died      bool          // one with entries pending is idle for min idle
	strays    bool          // more is pending for ourselves than is in hand
	next      time.Duration // until one that is quiet now will have been; whoever is not, or comes later, takes min idle
}

// probe looks at the consumers, and removes those that are long gone.
func (s *subscription) probe(ctx context.Context) (found fleet, err error) {
	found.next = s.cfg.MinIdle
	before := s.ours()
	consumers, err := s.client.XInfoConsumers(ctx, s.stream, s.cfg.Group).Result()
	if err != nil {
		return found, fmt.Errorf("list consumers of %s: %w", s.cfg.Group, err)
	}
	found.consumers = len(consumers)
	for _, c := range consumers {
		switch {
		case c.Name == s.cfg.Consumer:
			found.strays = c.Pending > int64(max(before, s.ours()))
		case c.Pending > 0 && c.Idle >= s.cfg.MinIdle:
			found.died = true
		case c.Pending > 0:
			found.next = min(found.next, s.cfg.MinIdle-c.Idle+time.Millisecond)
		case c.Pending == 0 && c.Idle >= s.cfg.ConsumerTTL:
			n, err := leaveScript.Run(ctx, s.client, []string{s.stream}, s.cfg.Group, c.Name).Int()
			if err != nil {
				return found, fmt.Errorf("remove consumer %s: %w", c.Name, err)
			}
			if n == 1 {
				s.log.InfoContext(ctx, "removed a consumer that is long gone", "removed", c.Name, "idle", c.Idle)
			}
		}
	}
	return found, nil
}

// claimPass goes once over all that is pending. Claiming does not wait until what was claimed has been delivered: the
// dead worker's entries are safe in hand first.
func (s *subscription) claimPass(ctx context.Context) error {
	claimed := make(chan []*Delivery, s.cfg.MaxInFlight) // of one each, at the least
	var delivering sync.WaitGroup
	delivering.Go(func() {
		for deliveries := range claimed {
			s.deliverTogether(deliveries)
		}
	})
	defer delivering.Wait()
	defer close(claimed)
	var size sizing
	for cursor := "0-0"; ; {
		n := s.credits.take(ctx, size.limit(s.cfg.Batch))
		if n == 0 {
			return context.Cause(ctx)
		}
		next, deliveries, err := s.claimOnce(ctx, cursor, n, &size)
		s.credits.give(n - len(deliveries))
		if err != nil {
			return err
		}
		if len(deliveries) > 0 {
			claimed <- deliveries
		}
		if next == "0-0" {
			return nil
		}
		cursor = next
	}
}

// taken is what claim.lua and recover.lua answer.
type taken struct {
	entries []Entry
	counts  []int64
	gone    int64 // trimmed while they were pending
}

// claimOnce claims up to n entries, beginning at the cursor, and takes them into hand.
func (s *subscription) claimOnce(
	ctx context.Context, cursor string, n int, size *sizing,
) (next string, deliveries []*Delivery, err error) {
	s.taking.Lock()
	defer s.taking.Unlock()
	s.setClaiming(map[entry.ID]bool{})
	defer s.setClaiming(nil)
	start := time.Now()
	raw, err := s.eval(ctx, claimScript, s.cfg.Group, s.cfg.Consumer, s.cfg.MinIdle.Milliseconds(), cursor, n)
	r := reply{raw}
	if err == nil {
		_, err = r.array()
	}
	if err == nil {
		var text []byte
		text, err = r.str()
		next = string(text)
	}
	var t taken
	if err == nil {
		t, err = s.parseTaken(&r)
	}
	if err != nil {
		s.noteUncertain(err)
		return "", nil, fmt.Errorf("claim entries of %s: %w", s.stream, err)
	}
	size.saw(len(t.entries), len(raw), replyBytes)
	s.noteTaken(t, time.Since(start))
	return next, s.take(t.entries, t.counts), nil
}

func (s *subscription) setClaiming(settled map[entry.ID]bool) {
	s.mu.Lock()
	s.settledMeanwhile = settled
	s.mu.Unlock()
}

// eval runs a script on the stream and returns its reply as it came.
func (s *subscription) eval(ctx context.Context, script *redis.Script, args ...any) ([]byte, error) {
	run := func(command, what string) ([]byte, error) {
		return sendRaw(ctx, s.client, nil, 3, append([]any{command, what, 2, s.stream, s.totals()}, args...)...)
	}
	raw, err := run("EVALSHA", script.Hash())
	if hasPrefix(err, "NOSCRIPT") {
		return run("EVAL", sources[script])
	}
	return raw, err
}

func (s *subscription) parseTaken(r *reply) (t taken, err error) {
	if t.entries, err = r.entries(s.stream); err != nil {
		return t, err
	}
	n, err := r.array()
	if err != nil {
		return t, err
	}
	if n != len(t.entries) {
		return t, fmt.Errorf("%w: %d counts for %d entries", errReply, n, len(t.entries))
	}
	t.counts = make([]int64, n)
	for i := range n {
		if t.counts[i], err = r.int(); err != nil {
			return t, err
		}
	}
	gone, err := r.array()
	t.gone = int64(max(0, gone))
	return t, err
}

func (s *subscription) noteTaken(t taken, took time.Duration) {
	if len(t.entries) > 0 {
		s.cfg.Events.Read(s.stream, s.cfg.Group, len(t.entries), false, took)
	}
	if t.gone > 0 {
		s.lost(t.gone, "while they were pending")
	}
}

// recoverOwn takes into hand what is pending for this consumer and is not in hand: a reply that brought it was lost. Only
// the reader calls it, so that no read is under way meanwhile.
func (s *subscription) recoverOwn(ctx context.Context) error {
	for from := (entry.ID{}); ; {
		n := s.room(ctx, s.sizing.limit(s.cfg.Batch))
		if n == 0 {
			return context.Cause(ctx)
		}
		next, deliveries, err := s.recoverSome(ctx, from, n)
		s.credits.give(n - len(deliveries))
		if err != nil {
			return err
		}
		s.deliverTogether(deliveries)
		if next == from {
			return nil
		}
		from = next
	}
}

// recoverSome takes up to n missing entries into hand, looking at a part of what is pending, from an ID on. next is where
// to go on, from when there is nothing more.
func (s *subscription) recoverSome(ctx context.Context, from entry.ID, n int) (next entry.ID, deliveries []*Delivery, err error) {
	s.taking.Lock()
	defer s.taking.Unlock()
	pending, err := s.client.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: s.stream, Group: s.cfg.Group, Start: from.String(), End: "+", Count: idsPerScript, Consumer: s.cfg.Consumer,
	}).Result()
	if err != nil {
		return from, nil, fmt.Errorf("list what is pending for %s: %w", s.cfg.Consumer, err)
	}
	next = from
	args := []any{s.cfg.Group, s.cfg.Consumer}
	missing := 0
	for i, p := range pending {
		id, err := entry.ParseID(p.ID)
		if err != nil {
			return from, nil, err
		}
		if missing == n {
			next = id
			break
		}
		if !s.holds(id) {
			args = append(args, p.ID)
			missing++
		}
		if i == idsPerScript-1 {
			next = id.Next()
		}
	}
	if missing == 0 {
		return next, nil, nil
	}
	start := time.Now()
	raw, err := s.eval(ctx, recoverScript, args...)
	r := reply{raw}
	if err == nil {
		_, err = r.array()
	}
	var t taken
	if err == nil {
		t, err = s.parseTaken(&r)
	}
	if err != nil {
		return from, nil, fmt.Errorf("fetch again what is pending for %s: %w", s.cfg.Consumer, err)
	}
	s.sizing.saw(len(t.entries), len(raw), replyBytes)
	s.noteTaken(t, time.Since(start))
	return next, s.take(t.entries, t.counts), nil
}

// ours is how many entries are pending here with our knowing.
func (s *subscription) ours() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held) + len(s.returned)
}

func (s *subscription) holds(id entry.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[id] != nil || slices.Contains(s.returned, id)
}
