package heat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
)

// ErrClosed is the failure of every look and wait after Close.
var ErrClosed = errors.New("closed")

// ReaderOptions are the settings of a Reader. The zero value is good.
type ReaderOptions struct {
	// Lanes is how many batches of Look may be under way at once. Default 2.
	Lanes int
	// Batch is how many looks travel in one pipeline at most. Default 128: Redis serves nobody else meanwhile.
	Batch int
	// Queue is how many looks may wait for a lane; beyond it Look blocks. Default 4096.
	Queue int
	// Timeout is how long Redis may take to answer one batch, connecting included. Default 1s. On a Cluster the
	// timeouts of the client's own options hold beside it.
	Timeout time.Duration
	// Now is the Redis server's time. Default: the local clock.
	Now func() time.Time
	// Metrics are told of every batch.
	Metrics Metrics
}

func (o ReaderOptions) withDefaults() ReaderOptions {
	o.Lanes = cmp.Or(o.Lanes, 2)
	o.Batch = cmp.Or(o.Batch, 128)
	o.Queue = cmp.Or(o.Queue, 4096)
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Metrics = o.Metrics.withDefaults()
	return o
}

func (o ReaderOptions) validate() error {
	if o.Lanes < 0 || o.Batch < 0 || o.Queue < 0 || o.Timeout < 0 {
		return errors.New("lanes, batch, queue and timeout must not be negative")
	}
	return nil
}

// Reader reads heat hashes, many in one round trip.
type Reader struct {
	client   redis.UniversalClient
	prefix   string
	multiKey bool // several keys may stand in one command
	opts     ReaderOptions
	swept    share // of hashes found by LookMany

	queue  chan *request
	lanes  sync.WaitGroup
	closed context.Context
	close  context.CancelFunc
}

// request is one call of Look on its way through a lane.
type request struct {
	ctx    context.Context
	planID string
	answer chan event.Look // holds one, so that a lane never waits for a caller that has gone
}

var requests = sync.Pool{New: func() any { return &request{answer: make(chan event.Look, 1)} }}

// NewReader makes the reader of the hashes <prefix><plan_id> and starts its lanes; end them with Close. The
// client stays the caller's. A client that retries by itself is refused (MaxRetries must be -1), because the
// stop conditions count attempts: one look must be one.
func NewReader(client redis.UniversalClient, prefix string, opts ReaderOptions) (*Reader, error) {
	if prefix == "" {
		return nil, errors.New("create heat reader: the key prefix is empty")
	}
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("create heat reader: %w", err)
	}
	r := &Reader{client: client, prefix: prefix, opts: opts.withDefaults()}
	if single, ok := client.(*redis.Client); ok {
		if n := single.Options().MaxRetries; n > 0 {
			return nil, fmt.Errorf("create heat reader: the client retries %d times, and one look must be one attempt: set MaxRetries to -1", n)
		}
		// A deadline of the context alone does not end a read that is under way.
		r.client, r.multiKey = single.WithTimeout(r.opts.Timeout), true
	}
	r.queue = make(chan *request, r.opts.Queue)
	r.closed, r.close = context.WithCancel(context.Background())
	for range r.opts.Lanes {
		r.lanes.Go(r.lane)
	}
	return r, nil
}

// Look reads the heat of one plan: one attempt, no retries. The answer is Failed as well when ctx ends before
// it is known, with the context's cause wrapped, so a caller that is being cancelled asks its context first.
func (r *Reader) Look(ctx context.Context, planID string) event.Look {
	req := requests.Get().(*request)
	req.ctx, req.planID = ctx, planID
	select {
	case r.queue <- req:
	case <-ctx.Done():
		return r.fail(context.Cause(ctx))
	case <-r.closed.Done():
		return r.fail(ErrClosed)
	}
	select {
	case look := <-req.answer:
		req.ctx = nil
		requests.Put(req)
		return look
	case <-ctx.Done(): // the lane still holds the request, so it is left to the garbage collector
		return r.fail(context.Cause(ctx))
	case <-r.closed.Done():
		return r.fail(ErrClosed)
	}
}

func (r *Reader) fail(err error) event.Look {
	return event.Look{At: r.opts.Now(), Kind: event.Failed, Err: fmt.Errorf("look up heat: %w", err)}
}

// Close ends the lanes and waits for them. Looks under way fail with ErrClosed, and so does every later one.
func (r *Reader) Close() {
	r.close()
	r.lanes.Wait()
}

// lane answers whatever is queued, as soon as it is free: batches grow with the load by themselves and a
// single look never waits for others.
func (r *Reader) lane() {
	var (
		batch []*request
		ids   []string
		looks []event.Look
	)
	for {
		select {
		case <-r.closed.Done():
			return
		case req := <-r.queue:
			batch = r.fill(append(batch[:0], req))
		}
		ids = ids[:0]
		for _, req := range batch {
			ids = append(ids, req.planID)
		}
		looks = r.LookEach(r.closed, looks[:0], ids)
		for i, req := range batch {
			req.answer <- looks[i]
		}
		clear(batch)
		clear(ids)
		clear(looks)
	}
}

// fill adds what is queued to the batch, but not what its caller has given up.
func (r *Reader) fill(batch []*request) []*request {
	for len(batch) < r.opts.Batch {
		select {
		case req := <-r.queue:
			if req.ctx.Err() == nil {
				batch = append(batch, req)
			}
		default:
			return batch
		}
	}
	return batch
}
