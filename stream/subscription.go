package stream

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// subscription reads one stream for one group. Its loops that take entries (read, claim) end when it drains; the
// watchers of its messages end when those are settled, or abandoned after CloseTimeout; the loop that keeps what is in
// hand (keep) ends after them.
type subscription struct {
	cfg    SubscriberConfig
	client redis.UniversalClient
	log    *slog.Logger
	stream string
	values context.Context // for its values only
	// redrive: the stream holds redriven entries, see accept
	redrive   bool
	partition *Partition // to which it belongs, nil without partitions
	order     int        // among the subscriptions of its topic

	subscriberClosing <-chan struct{}
	nudgeChannel      string

	out      chan *message.Message
	credits  *credits
	acks     *lanes[*Delivery]
	claimNow chan struct{} // holds one request to claim at once
	drain    chan struct{} // closed: read nothing more, end the contexts of messages
	abandon  chan struct{} // closed: wait for nobody any more
	// sweepEvery is the constant of that name, but in a test
	sweepEvery time.Duration
	watchers   sync.WaitGroup

	taking    sync.Mutex  // held while claimed or recovered entries are on their way into hand; no credits are waited for under it
	uncertain atomic.Bool // a reply may have been lost: what it brought is pending here without our knowing

	lastReply int    // bytes of the last read's reply; the reader's own
	lastRead  int    // entries of it, likewise
	sizing    sizing // of reads, likewise

	send func() // sendResumed, as one value for all

	commits, parks, drops, plainAcks outage

	mu       sync.Mutex
	held     map[entry.ID]*Delivery
	again    int         // of those in hand how many were read or claimed once more
	took     bool        // something was taken into hand since the group was tended
	returned []entry.ID  // to be handed back
	resumed  []*Delivery // resumed and not yet sent, see Bundle.Park
	// settledMeanwhile are the entries settled since a claim was sent, nil while none is under way: an entry that was in
	// hand here for so long that our own claim brings it must not be delivered again when it is settled before the reply
	settledMeanwhile map[entry.ID]bool
	draining         bool          // as drain, under mu
	idle             chan struct{} // closed when draining and nothing is held
	isIdle           bool
	progress         time.Time
	waiting          bool // the reader waits for room, which is for the handlers to make
	readErr          error
	grouped          bool // the group exists, as far as we know
	// everGrouped: it has existed in our time, so that creating it is healing
	everGrouped bool
	low         entry.ID // the last low-water mark that we saw, for a Redis that lost its cursor as well
	lowKnown    bool
}

func newSubscription(ctx context.Context, s *Subscriber, stream string) *subscription {
	sub := &subscription{
		cfg:               s.cfg,
		client:            s.client,
		log:               s.log.With("stream", stream),
		stream:            stream,
		values:            context.WithoutCancel(ctx),
		subscriberClosing: s.closing,
		nudgeChannel:      s.nudgeChannel(),
		out:               make(chan *message.Message),
		credits:           newCredits(s.cfg.MaxInFlight),
		claimNow:          make(chan struct{}, 1),
		drain:             make(chan struct{}),
		abandon:           make(chan struct{}),
		sweepEvery:        sweepEvery,
		held:              map[entry.ID]*Delivery{},
		idle:              make(chan struct{}),
		progress:          time.Now(),
		commits:           outage{op: "commit"},
		parks:             outage{op: "park"},
		drops:             outage{op: "drop"},
		plainAcks:         outage{op: "ack"},
	}
	sub.send = sub.sendResumed
	return sub
}

// run keeps the subscription going until ctx or the subscriber ends, then drains it.
func (s *subscription) run(ctx context.Context) {
	work, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	s.acks = newLanes(1, idsPerScript, s.acknowledge)
	s.claimSoon() // a predecessor may have left something

	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	var keeper, loops sync.WaitGroup
	keeper.Go(func() { s.keep(keeping) })
	for _, loop := range []func(context.Context){s.read, s.claim} {
		loops.Go(func() { loop(work) })
	}
	select {
	case <-ctx.Done():
	case <-s.subscriberClosing:
	}
	// What the messages leave of the time is for handing back: some 40 µs of Redis for an entry.
	until := time.Now().Add(s.cfg.CloseTimeout + 2*time.Second)
	s.beginDrain()
	stop(ErrDraining)
	loops.Wait()

	timeout := time.NewTimer(s.cfg.CloseTimeout)
	defer timeout.Stop()
	select {
	case <-s.idle:
	case <-timeout.C:
		s.log.WarnContext(ctx, "messages were neither acked nor nacked in time; their entries are handed back",
			"timeout", s.cfg.CloseTimeout, "in_flight", s.state().InFlight)
	}
	close(s.abandon)
	s.watchers.Wait()
	s.acks.close()
	stopKeeping()
	keeper.Wait()
	s.handBack(until)
}

// noteRead keeps the state that health checks see, and logs each change of it once.
func (s *subscription) noteRead(err error) {
	s.mu.Lock()
	was := s.readErr
	s.progress, s.readErr = time.Now(), err
	if err == nil {
		s.grouped, s.everGrouped = true, true
	}
	s.mu.Unlock()
	switch {
	case err != nil && was == nil && !IsNoGroup(err):
		s.log.Warn("reading failed; trying again until it works", "err", err)
	case err == nil && was != nil:
		s.log.Info("reading works again")
	}
}

func (s *subscription) totals() string { return s.cfg.KeyPrefix + "totals" }

func (s *subscription) cursorKey() string {
	if s.cfg.CursorKey != nil {
		return s.cfg.CursorKey(s.stream)
	}
	return s.cfg.KeyPrefix + "cursor:" + s.cfg.Group + ":" + s.stream
}

func (s *subscription) state() SubscriptionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	progress := s.progress
	if s.waiting {
		progress = time.Now()
	}
	return SubscriptionState{
		Stream:      s.stream,
		InFlight:    len(s.held),
		Progress:    progress,
		Err:         s.readErr,
		GroupExists: s.grouped,
		Draining:    s.draining,
	}
}
