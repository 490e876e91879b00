package stream

import (
	"context"
	"errors"
	"fmt"
)

// Partition is one of several streams that are read as one topic, with the keys that belong to it. On a Redis Cluster
// its names carry one hash tag, so that a commit touches one slot; different partitions are served by different nodes.
type Partition struct {
	// Stream is read in place of the topic. Required.
	Stream string
	// Answers takes the answers to its entries in place of the topic that is published to. Required for a Publisher.
	Answers string
	// DedupePrefix, KeyPrefix, Redrive and DeadStream are what the settings of the same names are without partitions.
	// The channel nudge has the KeyPrefix of the Subscriber: it belongs to all.
	DedupePrefix string
	KeyPrefix    string
	Redrive      string
	DeadStream   string
	// RedriveKeyPrefix begins the keys of our own that belong to the redrive stream. Default: KeyPrefix.
	RedriveKeyPrefix string
	// Apart says that the names do not share a slot: only Stream does with KeyPrefix, and Redrive with RedriveKeyPrefix.
	// Then answers and dead letters are written in steps, at least once: see answerInSteps.
	Apart bool
}

// checkPartitions reports partitions that could be taken for each other.
func checkPartitions(partitions []Partition) error {
	var errs []error
	seen := map[string]bool{}
	for _, p := range partitions {
		for _, name := range []string{p.Stream, p.Redrive} {
			if name != "" && seen[name] {
				errs = append(errs, fmt.Errorf("two partitions read %s", name))
			}
			seen[name] = true
		}
		if p.Stream == "" || p.KeyPrefix == "" || p.DeadStream == "" {
			errs = append(errs, fmt.Errorf("partition %q needs a stream, a key prefix and a stream for dead letters", p.Stream))
		}
	}
	return errors.Join(errs...)
}

// readersOf are the subscriptions of a topic: its own and that of the redrive stream, or those of each partition. All
// send into the channel of the first, and partitions share one bound on what is in hand.
func (s *Subscriber) readersOf(ctx context.Context, topic string) []*subscription {
	if len(s.cfg.Partitions) == 0 {
		readers := []*subscription{newSubscription(ctx, s, topic)}
		if s.cfg.Redrive != "" && s.subs[s.cfg.Redrive] == nil {
			readers = append(readers, newRedriveSubscription(ctx, s, readers[0].out))
		}
		return readers
	}
	var readers []*subscription
	var inHand, redriven *credits
	for i := range s.cfg.Partitions {
		p := &s.cfg.Partitions[i]
		r := newSubscription(ctx, s, p.Stream)
		r.belongTo(p)
		if inHand == nil {
			inHand = r.credits.shared(len(s.cfg.Partitions))
		} else {
			r.out = readers[0].out
		}
		r.credits = inHand
		readers = append(readers, r)
		if p.Redrive == "" {
			continue
		}
		again := newRedriveSubscription(ctx, s, readers[0].out)
		again.stream, again.log = p.Redrive, s.log.With("stream", p.Redrive)
		again.belongTo(p)
		if redriven == nil {
			redriven = again.credits.shared(len(s.cfg.Partitions))
		}
		again.credits = redriven
		readers = append(readers, again)
	}
	for i, r := range readers {
		r.order = i
	}
	return readers
}

// belongTo gives a subscription the names of its partition.
func (s *subscription) belongTo(p *Partition) {
	s.partition = p
	s.cfg.KeyPrefix, s.cfg.DeadStream, s.cfg.Redrive = p.KeyPrefix, p.DeadStream, p.Redrive
	if s.redrive && p.RedriveKeyPrefix != "" {
		s.cfg.KeyPrefix = p.RedriveKeyPrefix
	}
}

// names are where an answer to an entry of the subscription goes, and by which keys it is remembered and counted.
func (p *Publisher) names(s *subscription, topic string) (answers, dedupe, totals string) {
	if s.partition == nil {
		return topic, p.cfg.DedupePrefix, p.cfg.KeyPrefix + "totals"
	}
	return s.partition.Answers, s.partition.DedupePrefix, s.totals()
}

// appetite is how much a read asks for. A reader holds credits for all that it asks for while it waits for the first
// entry, so that one which shares them and has found nothing asks for one entry alone; with it the next read asks
// for more.
func (s *subscription) appetite() int {
	if s.credits.share > 1 && s.lastRead == 0 {
		return 1
	}
	return s.cfg.Batch
}

// nudge is what the channel nudge is told: whose entries were handed back.
func (s *subscription) nudge() string {
	if s.partition == nil {
		return s.cfg.Group
	}
	return s.cfg.Group + " " + s.stream
}

// before orders answers so that those which share a script stand together.
func (c *commit) before(other *commit) int { return c.delivery.sub.order - other.delivery.sub.order }
