package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// The words for SubscriberConfig.Start, beside an entry ID.
const (
	StartAuto  = "auto"
	StartFirst = "0"
	StartNew   = "$"
)

func validStart(s string) bool {
	switch s {
	case StartAuto, StartFirst, StartNew:
		return true
	}
	_, err := entry.ParseID(s)
	return err == nil
}

// heal builds a group again that has vanished: Redis was flushed, or failed over, or somebody destroyed it.
func (s *subscription) heal(ctx context.Context) error {
	s.mu.Lock()
	known := s.grouped
	s.grouped = false
	s.mu.Unlock()
	if known {
		s.log.WarnContext(ctx, "the consumer group has vanished; building it again from its cursor")
	}
	return s.ensureGroup(ctx)
}

// ensureGroup creates stream and group where they do not exist. The group begins at its cursor if there is one, else
// where the configuration says.
func (s *subscription) ensureGroup(ctx context.Context) error {
	start, from, err := s.startID(ctx)
	if err == nil {
		err = s.client.XGroupCreateMkStream(ctx, s.stream, s.cfg.Group, start.String()).Err()
	}
	existed := hasPrefix(err, "BUSYGROUP")
	if err != nil && !existed {
		return fmt.Errorf("create group %s of %s: %w", s.cfg.Group, s.stream, err)
	}
	s.mu.Lock()
	healed := !existed && (s.everGrouped || from == fromCursor)
	s.grouped, s.everGrouped = true, true
	if !existed {
		s.low, s.lowKnown = start, true // should it vanish before its cursor is written
	}
	s.mu.Unlock()
	if !existed {
		s.log.InfoContext(ctx, "created consumer group", "start", start.String(), "from", from)
	}
	if healed {
		s.cfg.Events.Healed(s.stream, s.cfg.Group)
	}
	return nil
}

// What says where a group begins.
const (
	fromCursor = "cursor"
	fromConfig = "configuration"
)

// startID is where a group begins that does not exist, and what says so.
func (s *subscription) startID(ctx context.Context) (start entry.ID, from string, err error) {
	last, empty, err := s.lastID(ctx)
	if err != nil {
		return entry.ID{}, "", err
	}
	cursor, known, err := s.cursor(ctx)
	if err != nil {
		return entry.ID{}, "", err
	}
	switch {
	case known && last.Compare(cursor) < 0: // the stream was flushed and begun anew
		return entry.ID{}, fromCursor, nil
	case known:
		return cursor, fromCursor, nil
	case s.cfg.Start == StartNew:
		return last, fromConfig, nil
	case s.cfg.Start != StartAuto:
		start, err = entry.ParseID(s.cfg.Start)
		return start, fromConfig, err
	case empty:
		return entry.ID{}, StartAuto, nil
	}
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return entry.ID{}, "", fmt.Errorf("ask for the server's time: %w", err)
	}
	start = entry.IDAt(now.Add(-s.cfg.Lookback)).Prev()
	if last.Compare(start) < 0 { // a cursor behind the end is that of a stream that was begun anew
		start = last
	}
	return start, StartAuto, nil
}

// lastID is the stream's last generated ID. A stream that does not exist is empty.
func (s *subscription) lastID(ctx context.Context) (last entry.ID, empty bool, err error) {
	info, err := s.client.XInfoStream(ctx, s.stream).Result()
	if hasPrefix(err, "ERR no such key") {
		return entry.ID{}, true, nil
	}
	if err != nil {
		return entry.ID{}, false, fmt.Errorf("inspect stream %s: %w", s.stream, err)
	}
	if info.LastGeneratedID == "" { // what miniredis says of a stream that has never had an entry
		return entry.ID{}, info.Length == 0, nil
	}
	last, err = entry.ParseID(info.LastGeneratedID)
	return last, info.Length == 0, err
}

// cursor is the group's low-water mark as Redis keeps it, else as this process last saw it.
func (s *subscription) cursor(ctx context.Context) (id entry.ID, known bool, err error) {
	text, err := s.client.Get(ctx, s.cursorKey()).Result()
	switch {
	case errors.Is(err, redis.Nil):
	case err != nil:
		return entry.ID{}, false, fmt.Errorf("read cursor %s: %w", s.cursorKey(), err)
	default:
		if id, err = entry.ParseID(text); err == nil {
			return id, true, nil
		}
		s.log.WarnContext(ctx, "the cursor is no entry ID; passing over it", "key", s.cursorKey(), "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.low, s.lowKnown, nil
}

// keep is the loop that looks after what is in hand and after the group: it refreshes idle times, moves the cursor, and
// counts what retention took. While nothing comes it wakes half as often, and leaves the group alone for longer: only an
// operator moves it then, or Redis loses it.
func (s *subscription) keep(ctx context.Context) {
	const tendEvery, tendAtRest = time.Second, 5 * time.Second
	var (
		busy     = min(s.cfg.MinIdle/6, tendEvery)
		atRest   = 2 * busy // what is taken right after a tick is then a third of min idle old at the next
		interval = busy
		tended   time.Time
		stirred  bool // since the group was tended
	)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if since := time.Since(tended); stirred && since > tendEvery-busy || since >= tendAtRest { // at the next tick it would be late
			s.tend(ctx)
			tended, stirred = time.Now(), false
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.refresh(ctx)
		next := atRest
		if s.stirred() {
			next, stirred = busy, true
		}
		if next != interval {
			interval = next
			tick.Reset(interval)
		}
	}
}

// stirred reports whether anything was taken since it was last asked, or is still in hand.
func (s *subscription) stirred() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stirred := s.took || len(s.held) > 0
	s.took = false
	return stirred
}

// refresh keeps from being claimed what has been in hand for a third of min idle. The next third begins when this refresh
// is done, so that an entry's turn comes a tick after the third and not, every now and then, by a hair at it.
func (s *subscription) refresh(ctx context.Context) {
	start := time.Now()
	var ids []entry.ID
	s.mu.Lock()
	for id, d := range s.held {
		if start.Sub(d.at) >= s.cfg.MinIdle/3 {
			ids = append(ids, id)
		}
	}
	s.mu.Unlock()
	if len(ids) == 0 {
		return
	}
	if _, err := s.touch(ctx, ids, 0); err != nil {
		// Tried again at the next tick. Should others claim them first, the fence keeps us from answering.
		s.cfg.Events.Failed("refresh")
		s.log.DebugContext(ctx, "idle times were not refreshed", "err", err)
		return
	}
	done := start.Add(min(time.Since(start), s.cfg.MinIdle/12)) // not where Redis took long to begin
	s.mu.Lock()
	for _, id := range ids {
		if d := s.held[id]; d != nil {
			d.at = done
		}
	}
	s.mu.Unlock()
}

// tend runs tend.lua. A group that is missing is built again here too: the reader does not notice while nothing may be
// read.
func (s *subscription) tend(ctx context.Context) {
	result, err := tendScript.Run(ctx, s.client, []string{s.stream, s.cursorKey(), s.totals()}, s.cfg.Group, s.cfg.Consumer).Slice()
	if errors.Is(err, redis.Nil) {
		if err = s.heal(ctx); err == nil {
			return
		}
	}
	if err != nil {
		s.cfg.Events.Failed("tend")
		s.log.DebugContext(ctx, "the group was not tended", "err", err)
		return
	}
	text, _ := result[0].(string)
	low, err := entry.ParseID(text)
	if err != nil {
		s.log.WarnContext(ctx, "the low-water mark is no entry ID", "err", err)
		return
	}
	s.mu.Lock()
	s.low, s.lowKnown = low, true
	s.mu.Unlock()
	if lost, _ := result[1].(int64); lost > 0 {
		s.lost(lost, "before they were read")
	}
}

// lost tells of entries that retention took.
func (s *subscription) lost(n int64, when string) {
	s.cfg.Events.Lost(s.stream, s.cfg.Group, n)
	s.log.Error("entries were trimmed away; raise the producers' MAXLEN or add workers", "entries", n, "when", when)
}
