// Package operate is what an operator does by hand to a running system: look at the groups and say what is stuck, look
// at dead letters and send them back or throw them away, move a group, remove a consumer. It returns what it
// found as values that can be written as JSON. It looks from outside: it knows streams, groups and keys by their names, and
// never a running worker, the command line or the page.
//
// What is guaranteed:
//
//   - Nothing changes unless execute is true; the same call without it returns the plan.
//   - What changes several keys, or depends on what it has just seen, is one script: an acknowledgement, a claim or a
//     second operator in between cannot make it lie.
//   - The plan stream is never written to. Groups on it are moved, which only concerns ourselves.
//   - What Redis does not know is null, never 0.
//
// All text that comes from entries may hold anything; whoever prints it escapes it.
package operate

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/config"
)

// Group is one consumer group of the observer.
type Group struct {
	Name string
	// Expected is false for a group that the configuration switches off: it is shown where it exists and never stuck.
	Expected bool
}

// Setup is what the workers run with.
type Setup struct {
	Parts        []config.Names // the names of each partition, or the ones as configured
	Groups       []Group
	NudgeChannel string
	WorkerPrefix string // of the keys under which workers announce themselves; the consumer name follows

	DecisionStream string
	LookupPrefix   string // of the hashes that the heat bridge writes

	MaxWait   time.Duration // longest late wait
	MinIdle   time.Duration // idle time after which pending entries are claimed
	DedupeTTL time.Duration // how long it is remembered that an entry was answered

	// TraceMost bounds how many entries of a stream Trace looks at. Default: 200,000.
	TraceMost int
}

// Operator works on the Redis of a setup. It is safe for concurrent use. The client stays the caller's; its retries must
// be off, or a lost reply shows as something that was not there.
type Operator struct {
	client redis.UniversalClient
	Setup
}

// New makes an Operator. It does not connect.
func New(client redis.UniversalClient, s Setup) *Operator { return &Operator{client: client, Setup: s} }

// Plans are the streams of plans.
func (o *Operator) Plans() []string {
	names := make([]string, len(o.Parts))
	for i, p := range o.Parts {
		names[i] = p.Plan
	}
	return names
}

// Now is the time of Redis, by which entry IDs are given.
func (o *Operator) Now(ctx context.Context) (time.Time, error) {
	now, err := o.client.Time(ctx).Result()
	if err != nil {
		return now, fmt.Errorf("ask Redis for the time: %w", err)
	}
	return now, nil
}

// part is the one that a stream which the observer reads belongs to.
func (o *Operator) part(streamName string) (names config.Names, known bool) {
	for _, p := range o.Parts {
		if streamName == p.Plan || streamName == p.Redrive {
			return p, true
		}
	}
	return o.Parts[0], false
}

// Reads reports whether the observer reads a stream.
func (o *Operator) Reads(streamName string) bool {
	_, known := o.part(streamName)
	return known
}

func (o *Operator) knows(group string) bool {
	for _, g := range o.Groups {
		if g.Name == group {
			return true
		}
	}
	return false
}
