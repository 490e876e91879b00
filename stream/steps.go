package stream

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed lua/owners.lua
	ownersLua string
	//go:embed lua/answered.lua
	answeredLua string
	//go:embed lua/parked.lua
	parkedLua string

	ownersScript   = redis.NewScript(ownersLua)
	answeredScript = redis.NewScript(answeredLua)
	parkedScript   = redis.NewScript(parkedLua)
)

// answerInSteps commits answers of one subscription whose names do not share a slot, which no script can do. Fence and
// dedupe key are looked at first; then the answer is added, then the dedupe key set, then the entry acknowledged. Whoever
// dies between two steps leaves the entry pending, and whoever takes it over adds the answer again or finds the dedupe
// key: it is answered at least once, and never lost. A step that failed is tried again without those before it.
func (p *Publisher) answerInSteps(batch []*commit) {
	start := time.Now()
	sub := batch[0].delivery.sub
	topic, dedupe, totals := p.names(sub, batch[0].topic)
	ctx := context.Background() // the lanes always answer
	states := make([]string, len(batch))
	failed := make([]error, len(batch))
	fail := func(err error) {
		for i := range failed {
			if failed[i] == nil {
				failed[i] = err
			}
		}
	}
	owners, err := p.owners(ctx, sub, batch)
	if err == nil {
		err = p.judgeSteps(ctx, batch, owners, dedupe, states)
	}
	if err != nil {
		fail(err)
	} else {
		p.addSteps(ctx, topic, batch, states, failed)
		p.rememberSteps(ctx, dedupe, batch, states, failed)
		if err := p.acknowledgeSteps(ctx, sub, totals, batch, owners, states, failed); err != nil {
			fail(err)
		}
	}
	p.cfg.Events.CommitBatch(len(batch), time.Since(start))
	for i, c := range batch {
		c.finish(states[i], failed[i])
	}
}

// owners says of each answer's entry whose it is: see lua/owners.lua.
func (p *Publisher) owners(ctx context.Context, sub *subscription, batch []*commit) ([]string, error) {
	args := []any{sub.cfg.Group, sub.cfg.Consumer}
	for _, c := range batch {
		args = append(args, c.delivery.id())
	}
	owners, err := ownersScript.Run(ctx, p.client, []string{sub.stream}, args...).StringSlice()
	if err == nil && len(owners) != len(batch) {
		err = errReply
	}
	if err != nil {
		return nil, fmt.Errorf("ask whose entries of %s are: %w", sub.stream, err)
	}
	return owners, nil
}

// judgeSteps gives each answer the state that lua/commit.lua would give it.
func (p *Publisher) judgeSteps(ctx context.Context, batch []*commit, owners []string, dedupe string, states []string) error {
	pipe := p.client.Pipeline()
	known := make([]*redis.IntCmd, len(batch))
	for i, c := range batch {
		known[i] = pipe.Exists(ctx, dedupe+c.message.UUID)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("look at dedupe keys: %w", err)
	}
	here := map[string]bool{} // what this batch writes
	for i, c := range batch {
		uuid := c.message.UUID
		answered := (known[i].Val() > 0 || here[uuid]) && !c.added
		switch age, err := strconv.ParseInt(owners[i], 10, 64); {
		case owners[i] == "other" && !c.added:
			states[i] = "F"
			continue
		case answered && owners[i] == "mine":
			states[i] = "D"
		case answered:
			states[i] = "U"
		case c.added, owners[i] == "mine":
			states[i] = "W"
		case err == nil && time.Duration(age)*time.Millisecond <= p.cfg.DedupeTTL:
			states[i] = "T"
		default:
			states[i] = "F"
			continue
		}
		here[uuid] = true
	}
	return nil
}

// addSteps adds the answers that are to be written.
func (p *Publisher) addSteps(ctx context.Context, topic string, batch []*commit, states []string, failed []error) {
	var added []int
	pipe := p.client.Pipeline()
	replies := make([]bytes.Buffer, len(batch))
	for i, c := range batch {
		if states[i] != "W" && states[i] != "T" || c.added {
			continue
		}
		args := []any{"XADD", topic}
		if p.cfg.MaxLen > 0 {
			args = append(args, "MAXLEN", "~", p.cfg.MaxLen)
		}
		args = append(args, "*")
		for n, value := range c.values {
			if len(p.cfg.Fields) > 0 {
				args = append(args, p.cfg.Fields[n])
			}
			args = append(args, value)
		}
		cmd := redis.NewRawWriteToCmd(ctx, &replies[i], args...) // never repeated by itself
		cmd.SetFirstKeyPos(1)
		if err := pipe.Process(ctx, cmd); err != nil {
			failed[i] = err
			continue
		}
		added = append(added, i)
	}
	if len(added) == 0 {
		return
	}
	_, err := pipe.Exec(ctx)
	for _, i := range added {
		failed[i] = err
		if err == nil {
			failed[i] = rawError(replies[i].Bytes())
		}
		if failed[i] == nil && replies[i].Len() == 0 {
			failed[i] = errReply
		}
		batch[i].added = failed[i] == nil
	}
}

// rememberSteps sets the dedupe keys of what was added.
func (p *Publisher) rememberSteps(ctx context.Context, dedupe string, batch []*commit, states []string, failed []error) {
	pipe := p.client.Pipeline()
	set := map[int]*redis.StatusCmd{}
	for i, c := range batch {
		if failed[i] == nil && (states[i] == "W" || states[i] == "T") {
			set[i] = pipe.Set(ctx, dedupe+c.message.UUID, "1", p.cfg.DedupeTTL)
		}
	}
	if len(set) == 0 {
		return
	}
	_, _ = pipe.Exec(ctx) // each command carries its error
	for i, cmd := range set {
		failed[i] = cmd.Err()
	}
}

// acknowledgeSteps acknowledges the entries of what is answered, and counts.
func (p *Publisher) acknowledgeSteps(ctx context.Context, sub *subscription, totals string, batch []*commit, owners, states []string, failed []error) error {
	duplicates, rescued := 0, 0
	args := []any{sub.cfg.Group, nil, nil}
	for i, c := range batch {
		if failed[i] != nil || states[i] == "F" || states[i] == "U" {
			continue
		}
		switch states[i] {
		case "D":
			duplicates++
		case "T":
			rescued++
		}
		if owners[i] == "mine" || owners[i] == "other" {
			args = append(args, c.delivery.id())
		}
	}
	if args[1], args[2] = duplicates, rescued; len(args) == 3 && duplicates+rescued == 0 {
		return nil
	}
	if err := answeredScript.Run(ctx, p.client, []string{sub.stream, totals}, args...).Err(); err != nil {
		return fmt.Errorf("acknowledge entries of %s that are answered: %w", sub.stream, err)
	}
	return nil
}

// parkInSteps is what lua/dead.lua does, for a stream of dead letters in another slot: the dead letter is added, then the
// entry is marked and acknowledged. added tells an attempt that an earlier one has added it.
func (s *subscription) parkInSteps(ctx context.Context, mark, id string, added *bool, fields []any, raw string) (result string, err error) {
	keys := []string{s.stream, s.totals(), mark}
	step := func(what string) (string, error) {
		return parkedScript.Run(ctx, s.client, keys, s.cfg.Group, s.cfg.Consumer, id, s.cfg.DeadTTL.Milliseconds(), what).Text()
	}
	if !*added {
		now, err := step("ask")
		if err != nil {
			return "", err
		}
		if _, err := strconv.ParseInt(now, 10, 64); err != nil {
			return now, nil
		}
		args := []any{"XADD", s.cfg.DeadStream}
		if s.cfg.DeadMaxLen > 0 {
			args = append(args, "MAXLEN", "~", s.cfg.DeadMaxLen)
		}
		args = append(args, "*")
		args = append(args, fields...)
		args = append(args, "ts_epoch", now, "raw", raw)
		if _, err := sendRaw(ctx, s.client, nil, 1, args...); err != nil {
			return "", errors.Join(errors.New("add the dead letter"), err)
		}
		*added = true
	}
	return step("done")
}
