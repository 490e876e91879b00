package heat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"heatobserver/event"
)

// Looker looks at many plans at once; Reader is one. Both methods append one look for each plan, in the order
// of the plans, and return within a bounded time also when Redis does not answer.
type Looker interface {
	// LookEach is used where most hashes are expected to be there.
	LookEach(ctx context.Context, dst []event.Look, planIDs []string) []event.Look
	// LookMany is used where most are expected to be absent.
	LookMany(ctx context.Context, dst []event.Look, planIDs []string) []event.Look
}

var _ Looker = (*Reader)(nil)

// WaiterOptions are the settings of a Waiter. Rules must be given; the zero value of the rest is good.
type WaiterOptions struct {
	// Rules say when a wait ends. MaxWait and Poll must be positive.
	Rules event.Rules
	// MaxWorkers is how many batches of looks may be under way at once. Default 4.
	MaxWorkers int
	// MaxWaiting is how many plans may wait at once (production-safety rule 2); further callers of Wait queue for a
	// place. Default 262144, at some 0.5 KB each (BenchmarkWaitingPlan).
	MaxWaiting int
	// SweepFactor times Rules.Poll is the distance of two looks at a plan while writes are announced, because
	// the sweep is then only the safety net. For more than 10,000 looks a second it is longer. Default 10.
	SweepFactor int
	// WatchFor is how long a plan stays watched after its wait ended in a timeout, so that the delays of heat
	// are known beyond the allowed wait. Default 30s; negative: not at all.
	WatchFor time.Duration
	// MaxWatched is how many plans are watched so at most; a timeout beyond them is not followed. Default 1000.
	MaxWatched int
	// Now is the Redis server's time. Default: the local clock.
	Now func() time.Time
	// Metrics are told of every end of a wait.
	Metrics Metrics
}

func (o WaiterOptions) withDefaults() WaiterOptions {
	o.MaxWorkers = cmp.Or(o.MaxWorkers, 4)
	o.MaxWaiting = cmp.Or(o.MaxWaiting, 1<<18)
	o.SweepFactor = cmp.Or(o.SweepFactor, 10)
	o.WatchFor = cmp.Or(o.WatchFor, 30*time.Second)
	o.MaxWatched = cmp.Or(o.MaxWatched, 1000)
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Metrics = o.Metrics.withDefaults()
	return o
}

func (o WaiterOptions) validate() error {
	switch {
	case o.Rules.MaxWait <= 0 || o.Rules.Poll <= 0:
		return errors.New("the allowed wait and the poll interval must be positive")
	case o.MaxWorkers < 0 || o.MaxWaiting < 0 || o.SweepFactor < 0 || o.MaxWatched < 0:
		return errors.New("workers, waiting and watched plans and the sweep factor must not be negative")
	}
	return nil
}

// Waiter holds all plans of a process that wait for their heat.
//
// A plan is in it before its first look, so a write between the look and the registration cannot be missed; it
// leaves it on every way out of Wait. Plans are looked at in batches by MaxWorkers goroutines: at once when
// they are new or a write to their hash was announced, after a sweep interval, and at their deadline.
type Waiter struct {
	looker Looker
	opts   WaiterOptions
	tick   time.Duration // due times of sweeps are rounded up to it, so that they share batches

	workers sync.WaitGroup
	wake    chan struct{} // holds one: a worker that leaves work behind passes it on
	places  chan struct{} // one taken for each plan in it that is not only watched
	closed  context.Context
	close   context.CancelFunc

	mu        sync.Mutex
	plans     map[string]*waiting // by plan ID; further waits for the same plan hang on the first
	urgent    fifo                // to be looked at now
	schedule  schedule            // to be looked at later
	timer     *time.Timer         // fires when the first of schedule is due
	armed     time.Time           // when it fires, zero when it does not
	waits     int                 // plans in it whose caller waits
	watched   int                 // plans in it after their timeout
	announced bool                // writes are announced
	sweepTurn bool                // the next batch is taken from schedule, when both have one
}

// NewWaiter starts the workers of a Waiter; end them with Close. The looker stays the caller's and must live
// longer.
func NewWaiter(looker Looker, opts WaiterOptions) (*Waiter, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("create waiter: %w", err)
	}
	w := &Waiter{
		looker: looker,
		opts:   opts.withDefaults(),
		tick:   max(opts.Rules.Poll/10, time.Millisecond),
		wake:   make(chan struct{}, 1),
		places: make(chan struct{}, opts.withDefaults().MaxWaiting),
		plans:  make(map[string]*waiting),
	}
	w.closed, w.close = context.WithCancel(context.Background())
	w.timer = time.AfterFunc(time.Hour, w.rang)
	w.timer.Stop()
	for range w.opts.MaxWorkers {
		w.workers.Go(w.work)
	}
	return w, nil
}

// Wait looks for the heat of a plan that was published at published (see event.Plan.Published) until the rules
// of event.Wait end the wait, which is a verdict and never an error.
//
// With MaxWaiting plans in the Waiter it first waits for a place. An error means that there is no verdict: the
// cause of ctx, at once when it ends, or ErrClosed. The plan has left the Waiter when Wait returns, whatever the way.
func (w *Waiter) Wait(ctx context.Context, plan event.Plan, published time.Time) (event.Verdict, error) {
	if ctx.Err() != nil {
		return event.Verdict{}, context.Cause(ctx)
	}
	select {
	case w.places <- struct{}{}:
	case <-ctx.Done():
		return event.Verdict{}, context.Cause(ctx)
	case <-w.closed.Done():
		return event.Verdict{}, fmt.Errorf("wait for heat: %w", ErrClosed)
	}
	p := &waiting{
		planID: plan.PlanID,
		wait:   event.NewWait(event.Late, published, w.opts.Rules),
		over:   make(chan struct{}),
		cause:  event.AtOnce,
	}
	if err := w.register(p); err != nil {
		return event.Verdict{}, fmt.Errorf("wait for heat: %w", err)
	}
	defer w.forget(p)
	select {
	case <-p.over:
		return *p.verdict, nil
	case <-ctx.Done():
		select {
		case <-p.over: // a verdict that is there is not thrown away
			return *p.verdict, nil
		default:
			return event.Verdict{}, context.Cause(ctx)
		}
	case <-w.closed.Done():
		return event.Verdict{}, fmt.Errorf("wait for heat: %w", ErrClosed)
	}
}

func (w *Waiter) register(p *waiting) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.enter(p) {
		return ErrClosed
	}
	w.hurry(p)
	return nil
}

// enter counts a plan that has its place, and makes it known to Notify. A closed Waiter takes none, and needs no places.
func (w *Waiter) enter(p *waiting) bool {
	if w.closed.Err() != nil {
		return false
	}
	w.waits++
	w.add(p)
	return true
}

// forget removes a plan whose caller does not wait any more; one that has its verdict has left already.
func (w *Waiter) forget(p *waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.verdict == nil {
		w.remove(p)
	}
}

// Len is the number of plans whose callers wait now.
func (w *Waiter) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.waits
}

// Overdue is by how much the look that should come next is late; next to nothing while the workers come round.
func (w *Waiter) Overdue() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first := w.schedule.first(); first != nil {
		return max(0, w.opts.Now().Sub(first.due))
	}
	return 0
}

// Notify says that the hash of a plan was written: when it waits here it is looked at now, together with the
// others that were announced meanwhile. It never waits for a look.
func (w *Waiter) Notify(planID string) {
	w.mu.Lock()
	first := w.plans[planID]
	for p := first; p != nil; p = p.sibling {
		switch p.place {
		case scheduled:
			w.schedule.remove(p)
			p.cause = event.Notification
			w.hurry(p)
		case looking:
			// That look may have been answered before the write.
			p.again = true
		case queued: // is looked at soon anyway
		}
	}
	w.mu.Unlock()
	w.opts.Metrics.Notified(first != nil)
}

// Reset says that announcements of writes began, may have been missed (a flush, a new connection), or ended.
// Everything that waits is looked at once, though no plan more than once per poll interval, and from then on
// at the sweep interval that fits: while announced SweepFactor times the poll interval or longer, else the poll interval.
func (w *Waiter) Reset(announced bool) {
	w.mu.Lock()
	w.announced = announced
	for _, p := range w.plans {
		for ; p != nil; p = p.sibling {
			switch p.place {
			case scheduled:
				p.due = p.wait.Next(w.opts.Rules.Poll)
			case looking:
				p.again = true
			case queued:
			}
		}
	}
	w.schedule.init()
	w.arm()
	w.mu.Unlock()
	w.opts.Metrics.Reset(announced)
}

// Close ends the workers and waits for them. Every wait returns ErrClosed.
func (w *Waiter) Close() {
	w.mu.Lock()
	w.close()
	w.timer.Stop()
	w.mu.Unlock()
	w.workers.Wait()
}
