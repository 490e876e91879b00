package heat

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
)

// chunk is how many keys one EXISTS asks for. For absent keys that costs Redis and the client some 40 % of as
// many HGETALL, but a single key that is there makes the whole chunk be asked again: with 1 found in 100 the
// gain is gone (BenchmarkLookMany), and beyond rareShare every plan is asked for at once.
const (
	chunk     = 50
	rareShare = 0.01
)

// share follows which part of the last looks has found something: the newest batch counts for an eighth. Where
// heat comes within two polls it is a third and more, where most plans never get any it is next to nothing.
type share struct{ bits atomic.Uint64 }

func (s *share) value() float64 { return math.Float64frombits(s.bits.Load()) }

// add may lose a batch to another that is added at the same time: it is an estimate.
func (s *share) add(found, of int) {
	old := s.value()
	s.bits.Store(math.Float64bits(old + (float64(found)/float64(of)-old)/8))
}

// LookMany looks at every plan and appends the looks to dst in the order of the plans. It is the way of the
// sweep: where several keys may stand in one command and the last sweeps found next to nothing, one EXISTS asks
// for many and only where something is there, every plan of that chunk is looked at.
func (r *Reader) LookMany(ctx context.Context, dst []event.Look, planIDs []string) []event.Look {
	if len(planIDs) == 0 {
		return dst
	}
	ctx, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	start, before := time.Now(), len(dst)
	if !r.multiKey || len(planIDs) == 1 || r.swept.value() > rareShare {
		dst = r.lookEach(ctx, dst, planIDs)
	} else {
		dst = r.lookChunks(ctx, dst, planIDs)
	}
	batch := r.told(dst[before:], start)
	r.swept.add(batch.Found, batch.Plans)
	return dst
}

// lookChunks asks for chunks of plans at once, and again for each plan of a chunk in which something is.
func (r *Reader) lookChunks(ctx context.Context, dst []event.Look, planIDs []string) []event.Look {
	began := r.opts.Now()
	cmds := r.exist(ctx, planIDs)
	at := r.opts.Now()

	var present []string
	var places []int
	for i, id := range planIDs {
		cmd := cmds[i/chunk]
		look := event.Look{Began: began, At: at, Kind: event.Absent}
		switch n, err := cmd.Result(); {
		case err == nil && n == 0:
		case err == nil, isReply(err):
			// What Redis refuses to tell of many keys (an ACL, a proxy before a Cluster) it may tell of one.
			present, places = append(present, id), append(places, len(dst))
		default:
			look.Kind, look.Err = event.Failed, fmt.Errorf("look up heat: %w", err)
		}
		dst = append(dst, look)
	}
	if len(present) > 0 {
		for i, look := range r.lookEach(ctx, nil, present) {
			dst[places[i]] = look
		}
	}
	return dst
}

// exist asks for chunks of plans in one pipeline: plan i is part of command i/chunk.
func (r *Reader) exist(ctx context.Context, planIDs []string) []*redis.IntCmd {
	cmds := make([]*redis.IntCmd, 0, (len(planIDs)+chunk-1)/chunk)
	pipe := r.client.Pipeline()
	for rest := planIDs; len(rest) > 0; {
		n := min(chunk, len(rest))
		keys := make([]string, n)
		for i, id := range rest[:n] {
			keys[i] = r.prefix + id
		}
		cmds = append(cmds, pipe.Exists(ctx, keys...))
		rest = rest[n:]
	}
	_, _ = pipe.Exec(ctx) // each command has an error of its own
	return cmds
}
