package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// SubscriberConfig says what a Subscriber reads and as whom.
type SubscriberConfig struct {
	// Group is the consumer group. Required.
	Group string
	// Consumer is the name of this process in the group: one name, one process, also across restarts, or a zombie
	// and its successor would pass for each other. Required.
	Consumer string
	// Codec turns entries into messages. Default: Flat.
	Codec Codec

	// MaxInFlight bounds the entries in hand, read and not settled, of each subscription. Default: 256.
	MaxInFlight int
	// Batch bounds the entries of one read. Default: 128, at most MaxInFlight.
	Batch int
	// Block is how long a read waits for new entries. A blocked read cannot be interrupted, so it is also how long
	// the end of a subscription can take; it must be shorter than the client's read timeout. Default: 500 ms.
	Block time.Duration
	// MinIdle is the idle time after which entries of other consumers are claimed. What is in hand here is refreshed at
	// a third of it, so handlers may take longer. Default: 5 s, at least 100 ms.
	MinIdle time.Duration
	// MaxNackPause is the longest time until a nacked message is delivered again; it begins with 10 ms and doubles with
	// each nack. Default: 5 s.
	MaxNackPause time.Duration
	// CloseTimeout bounds how long the end of a subscription waits for messages that are neither acked nor nacked;
	// then they are handed back. Default: 10 s.
	CloseTimeout time.Duration
	// ConsumerTTL is how long other consumers must have been idle, with nothing pending, to be removed from the group.
	// Default: 10 min, or twice MinIdle where that is longer.
	ConsumerTTL time.Duration

	// Start is where a group begins that does not exist and has no cursor: "auto", "0", "$" or an entry ID. "auto" is
	// "0" on a stream that is empty, else now minus Lookback. Default: "auto".
	Start string
	// Lookback: see Start. Default: 0.
	Lookback time.Duration

	// Bundles has the entries that come in one read or claim travel together as one message (see Bundle); a handler has to
	// know of bundles. Redriven ones come each by itself all the same. Default: false.
	Bundles bool

	// KeyPrefix begins the keys of our own: cursor:<group>, totals and the marks of dead letters, and the channel
	// nudge. Default: "stream:".
	KeyPrefix string
	// CursorKey names the key of a stream's cursor. Default: <KeyPrefix>cursor:<group>:<stream>.
	CursorKey func(stream string) string
	// Redrive is the stream through which dead letters come back (see Redrive). It is read beside the topic that is
	// subscribed to first, into the same channel, for the same group, at most 64 entries at once beyond MaxInFlight.
	// Handlers see the original entry. Default: none.
	Redrive string
	// Partitions are read in place of the topic, each with names of its own, into one channel: MaxInFlight bounds all of
	// them together. Default: none.
	Partitions []Partition
	// DeadStream takes the dead letters. Default: <KeyPrefix>dead.
	DeadStream string
	// DeadMaxLen bounds that stream, approximately; 0 does not. Default: 0.
	DeadMaxLen int64
	// DeadTTL is how long the mark lives that keeps an entry from being parked twice. Default: 10 min.
	DeadTTL time.Duration

	// Logger takes what an operator wants to know. Default: slog.Default().
	Logger *slog.Logger
	// Events is told what happens, for metrics. Default: NoEvents.
	Events Events
}

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	if c.Codec == nil {
		c.Codec = Flat{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Events == nil {
		c.Events = NoEvents{}
	}
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 256)
	c.Batch = min(cmp.Or(c.Batch, 128), c.MaxInFlight)
	c.Block = cmp.Or(c.Block, 500*time.Millisecond)
	c.MinIdle = cmp.Or(c.MinIdle, 5*time.Second)
	c.MaxNackPause = cmp.Or(c.MaxNackPause, 5*time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 10*time.Second)
	c.ConsumerTTL = cmp.Or(c.ConsumerTTL, max(10*time.Minute, 2*c.MinIdle))
	c.Start = cmp.Or(c.Start, StartAuto)
	c.KeyPrefix = cmp.Or(c.KeyPrefix, "stream:")
	c.DeadStream = cmp.Or(c.DeadStream, c.KeyPrefix+"dead")
	c.DeadTTL = cmp.Or(c.DeadTTL, 10*time.Minute)
	return c
}

func (c SubscriberConfig) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Group != "", "a group is required")
	check(c.Consumer != "", "a consumer name is required")
	check(c.MaxInFlight > 0, "MaxInFlight %d must be positive", c.MaxInFlight)
	check(c.Batch > 0 && c.Batch <= idsPerScript, "Batch %d must lie between 1 and %d", c.Batch, idsPerScript)
	check(c.Block >= time.Millisecond, "a block of %v must be at least 1ms: 0 would block for ever", c.Block)
	check(c.MinIdle >= 100*time.Millisecond, "MinIdle %v must be at least 100ms", c.MinIdle)
	check(c.MaxNackPause > 0, "MaxNackPause %v must be positive", c.MaxNackPause)
	check(c.CloseTimeout > 0, "CloseTimeout %v must be positive", c.CloseTimeout)
	check(c.ConsumerTTL > c.MinIdle, "ConsumerTTL %v must be longer than MinIdle %v", c.ConsumerTTL, c.MinIdle)
	check(c.Lookback >= 0, "Lookback %v must not be negative", c.Lookback)
	check(len(c.Partitions) <= c.MaxInFlight, "MaxInFlight %d must not be less than the %d partitions", c.MaxInFlight, len(c.Partitions))
	check(validStart(c.Start), "Start %q must be auto, 0, $ or an entry ID", c.Start)
	return errors.Join(append(errs, checkPartitions(c.Partitions))...)
}

// Subscriber reads streams for one consumer group. It is safe for concurrent use. A topic is a stream; subscribing to
// one topic twice reads it twice as the same consumer, which is refused.
type Subscriber struct {
	client redis.UniversalClient
	cfg    SubscriberConfig
	log    *slog.Logger

	closing chan struct{}

	mu     sync.Mutex
	closed bool
	subs   map[string]*subscription
	wg     sync.WaitGroup
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber checks the configuration. It does not connect. The client stays the caller's. Its read timeout bounds
// every wait for Redis; its own retries need not be off.
func NewSubscriber(client redis.UniversalClient, cfg SubscriberConfig) (*Subscriber, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), checkTimeout(client, cfg.Block)); err != nil {
		return nil, fmt.Errorf("configure subscriber: %w", err)
	}
	return &Subscriber{
		client:  client,
		cfg:     cfg,
		log:     cfg.Logger.With("group", cfg.Group, "consumer", cfg.Consumer),
		closing: make(chan struct{}),
		subs:    map[string]*subscription{},
	}, nil
}

// checkTimeout reports a client that would give a blocked read up before it can end. Of clients other than *redis.Client
// the timeout is not known.
func checkTimeout(client redis.UniversalClient, block time.Duration) error {
	c, ok := client.(*redis.Client)
	if !ok {
		return nil
	}
	if limit := c.Options().ReadTimeout; limit > 0 && limit <= block {
		return fmt.Errorf("a block of %v must be shorter than the client's read timeout %v", block, limit)
	}
	return nil
}

// Subscribe begins to read the stream and returns its messages. The channel is closed when ctx ends or Close is called,
// after the messages in hand were settled or handed back. An unreachable Redis is no error: the subscription tries until
// it is there. A key that is no stream is.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	readers, err := s.enter(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	// The group must exist when Subscribe returns, where that can be had: what is published from now on is for it.
	// All at once: a Redis that does not answer takes its time once, and not for each.
	var asked errgroup.Group
	for _, r := range readers {
		asked.Go(func() error {
			if err := r.ensureGroup(ctx); hasPrefix(err, "WRONGTYPE") {
				return err
			}
			return nil
		})
	}
	if err := asked.Wait(); err != nil {
		s.forget(readers)
		s.wg.Done()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	go func() {
		var running sync.WaitGroup
		for _, r := range readers {
			running.Go(func() { r.run(ctx) })
		}
		running.Go(func() { s.nudges(ctx, readers) })
		running.Wait()
		s.forget(readers) // who sees the channel closed may subscribe again
		close(readers[0].out)
		s.wg.Done() // last: the channel is closed when Close returns
	}()
	return readers[0].out, nil
}

// enter registers the subscription of a topic, and with the first that of the redrive stream, which shares its channel.
// Redis is not asked under the lock: a health check must not wait for a server that does not answer.
func (s *Subscriber) enter(ctx context.Context, topic string) ([]*subscription, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	readers := s.readersOf(ctx, topic)
	if s.subs[readers[0].stream] != nil {
		return nil, errors.New("this consumer already reads it")
	}
	for _, r := range readers {
		s.subs[r.stream] = r
	}
	s.wg.Add(1)
	return readers, nil
}

// forget is the end of enter, but for the count of those that Close waits for.
func (s *Subscriber) forget(readers []*subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range readers {
		delete(s.subs, r.stream)
	}
}

// SubscribeInitialize creates stream and group.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var errs []error
	s.mu.Lock()
	readers := s.readersOf(ctx, topic)
	s.mu.Unlock()
	for _, r := range readers {
		if !r.redrive {
			errs = append(errs, r.ensureGroup(ctx))
		}
	}
	return errors.Join(errs...)
}

// Close ends all subscriptions and returns when they have ended: at most CloseTimeout after the blocked read has, and where
// Redis does not answer a few read timeouts of the client later. It may be called again. It does not close the client.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// Subscriptions shows the state of each subscription, ordered by stream.
func (s *Subscriber) Subscriptions() []SubscriptionState {
	s.mu.Lock()
	subs := make([]*subscription, 0, len(s.subs))
	for _, sub := range s.subs {
		subs = append(subs, sub)
	}
	s.mu.Unlock()
	states := make([]SubscriptionState, len(subs))
	for i, sub := range subs {
		states[i] = sub.state()
	}
	slices.SortFunc(states, func(a, b SubscriptionState) int { return cmp.Compare(a.Stream, b.Stream) })
	return states
}

// SubscriptionState is what a health check wants to know of a subscription.
type SubscriptionState struct {
	Stream   string
	InFlight int
	// Progress is when its reader last came round: it read, or it found Redis failing, or it waited for room.
	Progress time.Time
	// Err is the error of the last read, nil while reading works.
	Err error
	// GroupExists is false until the group was seen or created, and while it is missing.
	GroupExists bool
	Draining    bool
}
