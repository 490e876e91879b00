package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/entry"
)

// commit is one answer on its way through a lane.
type commit struct {
	topic    string
	delivery *Delivery
	message  *message.Message
	values   []string // what goes to the script: the values, or names and values where the script has no names
	added    bool     // it is written; only in steps can an attempt fail after that

	try   *try
	state string // as commit.lua answers
	err   error
}

// try is one attempt at some commits, over when none is left.
type try struct {
	left atomic.Int64
	over chan struct{}
}

func (c *commit) finish(state string, err error) {
	c.state, c.err = state, err
	if c.try.left.Add(-1) == 0 {
		close(c.try.over)
	}
}

// answer commits answers and returns when each has met its end, or when one of them has to be given up.
func (p *Publisher) answer(topic string, messages []*message.Message) error {
	open := make([]*commit, len(messages))
	for i, m := range messages {
		c, err := p.prepare(topic, m)
		if err != nil {
			return err
		}
		open[i] = c
	}
	pause := retryPause()
	for attempt := 1; ; attempt++ {
		p.attempt(open)
		var failed error
		open = slices.DeleteFunc(open, func(c *commit) bool {
			if c.err != nil {
				failed = c.err
				return false
			}
			p.committed(c, result(c.state, attempt > 1 || p.repeats))
			return true
		})
		if len(open) == 0 {
			return nil
		}
		first := open[0]
		if errors.Is(failed, ErrClosed) {
			return fmt.Errorf("answer entry %s: %w", first.delivery.entry.ID, failed)
		}
		first.delivery.sub.noteWrite(&first.delivery.sub.commits, failed)
		p.cfg.Events.Failed("commit")
		if cause := sleep(first.message.Context(), pause.NextBackOff()); cause != nil {
			return fmt.Errorf("answer entry %s: %w", first.delivery.entry.ID, errors.Join(failed, cause))
		}
	}
}

// prepare refuses what the script would mix up.
func (p *Publisher) prepare(topic string, m *message.Message) (*commit, error) {
	d := DeliveryFrom(m.Context())
	if d == nil {
		return nil, errors.New("an answer in a bundle has no delivery in its context")
	}
	fields, err := p.cfg.Codec.Encode(m)
	if err != nil {
		return nil, fmt.Errorf("answer entry %s: %w", d.entry.ID, err)
	}
	c := &commit{topic: topic, delivery: d, message: m}
	if c.values, err = p.values(fields); err != nil {
		return nil, fmt.Errorf("answer entry %s: %w", d.entry.ID, err)
	}
	if d.state.Load() == finished {
		return nil, fmt.Errorf("answer entry %s: it is settled already; a delivery takes one answer", d.entry.ID)
	}
	return c, nil
}

// values are those that go to the script. It reports an answer that does not have the configured fields.
func (p *Publisher) values(fields entry.Fields) ([]string, error) {
	names := p.cfg.Fields
	if len(names) == 0 {
		return fields.Values(), nil
	}
	if fields.Len() != len(names) {
		return nil, fmt.Errorf("it has %d fields instead of %d", fields.Len(), len(names))
	}
	values := make([]string, 0, len(names))
	for name, value := range fields.Strings() {
		if i := len(values); name != names[i] {
			return nil, fmt.Errorf("field %d is %q instead of %q", i+1, name, names[i])
		}
		values = append(values, value)
	}
	return values, nil
}

// attempt sends commits through the lanes and waits for them. The lanes always answer: a script that is under way is not
// cancelled, for it may succeed.
func (p *Publisher) attempt(commits []*commit) {
	t := &try{over: make(chan struct{})}
	t.left.Store(int64(len(commits)))
	for _, c := range commits {
		c.try = t
	}
	for _, c := range commits[p.commits.putAll(commits):] {
		c.finish("", ErrClosed)
	}
	<-t.over
}

// result turns the answer of commit.lua into a CommitResult. Pending nowhere and answered is what a repetition finds
// whose first attempt had worked; where nothing was repeated it is somebody else's answer.
func result(state string, repeated bool) CommitResult {
	switch state {
	case "W":
		return Written
	case "D":
		return Duplicate
	case "T":
		return Trimmed
	case "U":
		if repeated {
			return Unknown
		}
	}
	return Fenced
}

func (p *Publisher) committed(c *commit, r CommitResult) {
	c.delivery.sub.noteWrite(&c.delivery.sub.commits, nil)
	p.cfg.Events.Committed(c.message, r)
	if r == Fenced {
		p.cfg.Logger.Info("an answer was held back: its entry is another consumer's now",
			"stream", c.delivery.entry.Stream, "group", c.delivery.Group(), "entry_id", c.delivery.entry.ID.String())
	}
	c.delivery.finish()
}

// commitBatch is the work of a lane: one script for all answers that share source, group and destination.
func (p *Publisher) commitBatch(batch []*commit) {
	if len(p.cfg.Fields) == 0 { // the script takes one
		for i := range batch {
			p.runCommit(batch[i : i+1])
		}
		return
	}
	if len(batch) > 1 && batch[0].delivery.sub.partition != nil {
		slices.SortStableFunc(batch, (*commit).before)
	}
	for start := 0; start < len(batch); {
		end := start + 1
		for end < len(batch) && batch[end].sameScript(batch[start]) {
			end++
		}
		p.runCommit(batch[start:end])
		start = end
	}
}

func (c *commit) sameScript(other *commit) bool {
	return c.topic == other.topic && c.delivery.sub == other.delivery.sub
}

// runCommit commits answers to deliveries of one subscription and tells each its outcome.
func (p *Publisher) runCommit(batch []*commit) {
	sub := batch[0].delivery.sub
	if sub.partition != nil && sub.partition.Apart {
		p.answerInSteps(batch)
		return
	}
	keys := make([]string, 0, 3+len(batch))
	answers, dedupe, totals := p.names(sub, batch[0].topic)
	keys = append(keys, sub.stream, answers, totals)
	first, last := batch[0].delivery, batch[0].delivery
	args := make([]any, 6, 6+len(batch)*(1+len(batch[0].values)))
	for _, c := range batch {
		keys = append(keys, dedupe+c.message.UUID)
		if c.delivery.entry.ID.Compare(first.entry.ID) < 0 {
			first = c.delivery
		}
		if c.delivery.entry.ID.Compare(last.entry.ID) > 0 {
			last = c.delivery
		}
		args = append(args, c.delivery.id())
		for i := range c.values {
			args = append(args, &c.values[i]) // a pointer fits into an interface, a string would have to be copied for it
		}
	}
	args[0], args[1], args[2], args[3] = sub.cfg.Group, sub.cfg.Consumer, p.cfg.MaxLen, p.cfg.DedupeTTL.Milliseconds()
	args[4], args[5] = first.id(), last.id()
	start := time.Now()
	states, err := p.script.Run(context.Background(), p.client, keys, args...).StringSlice()
	if err == nil && len(states) != len(batch) {
		err = fmt.Errorf("%w: %d results for %d answers", errReply, len(states), len(batch))
	}
	p.cfg.Events.CommitBatch(len(batch), time.Since(start))
	for i, c := range batch {
		switch {
		case err != nil:
			c.finish("", err)
		case len(states[i]) != 1:
			c.finish("", errors.New(states[i]))
		default:
			c.finish(states[i], nil)
		}
	}
}
