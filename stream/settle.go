package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"heatobserver/entry"
)

// acknowledge is the lane of plain acknowledgements. It tries until Redis takes them or everybody has gone home.
func (s *subscription) acknowledge(batch []*Delivery) {
	args := make([]any, 0, 3+len(batch))
	args = append(args, s.cfg.Group, s.cfg.Consumer, "ack")
	for _, d := range batch {
		args = append(args, d.entry.ID.String())
	}
	ctx := context.WithoutCancel(s.values)
	pause := retryPause()
	for {
		err := settleScript.Run(ctx, s.client, []string{s.stream, s.totals()}, args...).Err()
		s.noteWrite(&s.plainAcks, err)
		if err == nil {
			break
		}
		s.cfg.Events.Failed(s.plainAcks.op)
		wait := time.NewTimer(pause.NextBackOff())
		select {
		case <-wait.C:
			continue
		case <-s.abandon:
			wait.Stop()
		}
		s.log.Warn("entries stay pending: they were handled but could not be acknowledged", "entries", len(batch), "err", err)
		for _, d := range batch {
			s.giveBack(d)
		}
		return
	}
	for _, d := range batch {
		d.finish()
	}
}

// settle acknowledges one entry that gets no answer.
func (s *subscription) settle(ctx context.Context, d *Delivery) error {
	what := s.drops.op
	lost := false // the reply of an attempt that may have worked
	return s.untilDone(ctx, &s.drops, func() error {
		n, err := settleScript.Run(context.WithoutCancel(ctx), s.client, []string{s.stream, s.totals()},
			s.cfg.Group, s.cfg.Consumer, what, d.entry.ID.String()).Int()
		if err != nil {
			lost = lost || !isReply(err)
			return fmt.Errorf("%s entry %s of %s: %w", what, d.entry.ID, s.stream, err)
		}
		if d.finish() && (n > 0 || lost) {
			s.cfg.Events.Dropped(s.stream, s.cfg.Group)
		}
		return nil
	})
}

// untilDone tries op until it works or ctx ends, which returns the last error.
func (s *subscription) untilDone(ctx context.Context, what *outage, op func() error) error {
	pause := retryPause()
	for {
		err := op()
		s.noteWrite(what, err)
		if err == nil {
			return nil
		}
		s.cfg.Events.Failed(what.op)
		if cause := sleep(ctx, pause.NextBackOff()); cause != nil {
			return errors.Join(err, cause)
		}
	}
}

// handBack gives what could not be finished to the other consumers, and leaves the group when nothing is left. It ends
// at until; what is left then is claimed after min idle.
func (s *subscription) handBack(until time.Time) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(s.values), until)
	defer cancel()
	s.mu.Lock()
	ids := s.returned
	s.mu.Unlock()
	if len(ids) > 0 {
		n, err := s.touch(ctx, ids, 10*s.cfg.MinIdle)
		if err != nil {
			// Nothing is lost: the entries are claimed once they have been idle for long enough.
			s.log.Warn("entries were not handed back; others will claim them after min idle",
				"entries", len(ids), "min_idle", s.cfg.MinIdle, "err", err)
			return
		}
		s.cfg.Events.HandedBack(s.stream, s.cfg.Group, n)
		s.log.Info("handed back what was in hand", "entries", n)
		if err := s.client.Publish(ctx, s.nudgeChannel, s.nudge()).Err(); err != nil {
			s.log.Warn("other consumers could not be told to claim; they will by themselves", "err", err)
		}
	}
	if err := s.leave(ctx); err != nil && !IsNoGroup(err) {
		s.log.Debug("consumer stays listed in its group", "err", err)
	}
}

// leaveWithin is how long a consumer that has handed something back waits for the others to claim it.
const leaveWithin = 2 * time.Second

// leave takes this consumer out of its group. What was handed back is pending here until others have claimed it, and a
// consumer with something pending cannot go; where nobody is left to claim it, or nobody does in time, it stays listed
// until a successor finds it long idle.
func (s *subscription) leave(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaveWithin)
	defer cancel()
	const pace = 20 * time.Millisecond
	for {
		left, err := leaveScript.Run(ctx, s.client, []string{s.stream}, s.cfg.Group, s.cfg.Consumer, (2 * s.cfg.MinIdle).Milliseconds()).Int()
		if err != nil || left != 2 {
			return err
		}
		if err := sleep(ctx, pace); err != nil {
			return err
		}
	}
}

// touch sets the idle time of entries that are still ours, in batches.
func (s *subscription) touch(ctx context.Context, ids []entry.ID, idle time.Duration) (touched int, err error) {
	slices.SortFunc(ids, entry.ID.Compare)
	for chunk := range slices.Chunk(ids, idsPerScript) {
		args := make([]any, 0, 3+len(chunk))
		args = append(args, s.cfg.Group, s.cfg.Consumer, idle.Milliseconds())
		for _, id := range chunk {
			args = append(args, id.String())
		}
		r, err := touchScript.Run(ctx, s.client, []string{s.stream, s.totals()}, args...).Int64Slice()
		if err == nil && len(r) != 2 {
			err = errReply
		}
		if err != nil {
			return touched, fmt.Errorf("set idle time of %d entries of %s: %w", len(chunk), s.stream, err)
		}
		touched += int(r[0])
		if r[1] > 0 {
			s.lost(r[1], "while they were pending")
		}
	}
	return touched, nil
}
