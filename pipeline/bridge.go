package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/event"
)

const (
	// lookupTTL is how long a by_plan hash lives.
	lookupTTL = 1800 * time.Second
	// repeatWindow is the time within which the first decision about a plan wins, counted between entry IDs. A
	// repetition does not extend it; a decision after it overwrites the hash.
	repeatWindow = 120 * time.Second
)

// BridgeConfig are the settings of a Bridge.
type BridgeConfig struct {
	Decisions string // stream it reads, in BridgeGroup; "" = DecisionStream
	Prefix    string // of the hashes it writes; "" = LookupPrefix
}

// Bridge writes decisions into the by_plan hashes as the heat bridge does. It remembers the plans of the last
// 120 s, a million at most (about 100 MB), in memory: a new Bridge takes a repetition for a first decision.
type Bridge struct {
	client redis.UniversalClient
	config BridgeConfig
	log    *slog.Logger
	group  group
	recent recent

	written   atomic.Uint64 // hashes
	repeated  atomic.Uint64 // decisions that came within 120 s of the first one about their plan
	malformed atomic.Uint64 // decisions without a usable plan_id, and keys that are no hash
}

// NewBridge never closes the client.
func NewBridge(client redis.UniversalClient, config BridgeConfig, log *slog.Logger) *Bridge {
	config.Decisions = cmp.Or(config.Decisions, DecisionStream)
	config.Prefix = cmp.Or(config.Prefix, LookupPrefix)
	b := &Bridge{client: client, config: config, recent: recent{since: map[string]time.Time{}}}
	b.group = newGroup(client, config.Decisions, BridgeGroup, log)
	b.log = b.group.log
	return b
}

// Run writes until the context ends. It must be called once.
func (b *Bridge) Run(ctx context.Context) error { return rounds(ctx, b.log, b.round) }

func (b *Bridge) round(ctx context.Context) error {
	if err := b.group.flush(ctx); err != nil {
		return err
	}
	messages, err := b.group.read(ctx, readBlock)
	if err != nil || len(messages) == 0 {
		return err
	}
	if err := b.write(ctx, messages); err != nil {
		b.group.history = "0" // what was read is still ours: once more from the first of it
		return err
	}
	for _, message := range messages {
		b.group.done(message.ID)
	}
	return b.group.flush(ctx)
}

// write writes the hashes of all first decisions among the messages.
func (b *Bridge) write(ctx context.Context, messages []redis.XMessage) error {
	var first []event.Decision
	pipe := b.client.Pipeline()
	inBatch := map[string]time.Time{}
	for _, message := range messages {
		id, err := entry.ParseID(message.ID)
		if err != nil { // Redis gives no other
			continue
		}
		d, err := event.DecodeDecision(id, fields(message))
		if err != nil {
			b.malformed.Add(1)
			b.log.DebugContext(ctx, "decision is passed over", "entry_id", message.ID, "err", err)
			continue
		}
		since, known := inBatch[d.PlanID]
		if !known {
			since, known = b.recent.since[d.PlanID]
		}
		if known && id.Time().Sub(since) < repeatWindow {
			b.repeated.Add(1)
			continue
		}
		inBatch[d.PlanID] = id.Time()
		first = append(first, d)
		key := b.config.Prefix + d.PlanID
		pipe.HSet(ctx, key, d.HashPairs())
		pipe.Expire(ctx, key, lookupTTL)
	}
	if len(first) == 0 {
		return nil
	}
	replies, err := pipe.Exec(ctx)
	if err != nil && len(replies) != 2*len(first) {
		return fmt.Errorf("write heat: %w", err)
	}
	for i, d := range first {
		switch err := errors.Join(replies[2*i].Err(), replies[2*i+1].Err()); {
		case redis.HasErrorPrefix(replies[2*i].Err(), "WRONGTYPE"):
			b.malformed.Add(1)
			b.log.WarnContext(ctx, "key is no hash and stays as it is", "plan_id", d.PlanID)
		case err != nil:
			return fmt.Errorf("write heat: %w", err)
		default:
			b.written.Add(1)
		}
		b.recent.add(d.PlanID, d.ID.Time())
	}
	return nil
}

// recent are the plans whose first decision came within the repeat window, oldest first.
type recent struct {
	since map[string]time.Time
	order []planAt
}

type planAt struct {
	planID string
	at     time.Time
}

// add remembers a decision and forgets those that are older by the repeat window.
func (r *recent) add(planID string, at time.Time) {
	const most = 1_000_000
	r.since[planID] = at
	r.order = append(r.order, planAt{planID, at})
	for len(r.order) > 0 && (len(r.order) > most || at.Sub(r.order[0].at) >= repeatWindow) {
		oldest := r.order[0]
		if r.since[oldest.planID].Equal(oldest.at) {
			delete(r.since, oldest.planID)
		}
		r.order = r.order[1:]
	}
}
