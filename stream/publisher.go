package stream

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
)

// PublisherConfig says how a Publisher writes.
type PublisherConfig struct {
	// Codec turns messages into entries. Default: Flat.
	Codec Codec
	// Fields are the names of the fields of every answer, in order; they are written into the commit script, which
	// makes it a quarter cheaper for Redis and lets answers share one script. Default: none, any fields.
	Fields []string
	// MaxLen bounds the destination stream, approximately; 0 does not. Default: 0.
	MaxLen int64
	// DedupePrefix begins the dedupe keys: <DedupePrefix><UUID of the answer>. Whoever answers gives answers to the same
	// question the same UUID. Default: <KeyPrefix>answered:.
	DedupePrefix string
	// DedupeTTL is how long an answer is remembered. An entry that is delivered again later is answered again.
	// Default: 10 min.
	DedupeTTL time.Duration
	// KeyPrefix begins the key totals. It must be the Subscriber's. Default: "stream:".
	KeyPrefix string

	// Lanes is how many scripts may be under way at once. Default: 2.
	Lanes int
	// Batch bounds the answers in one script, and with it how long that blocks Redis: about 15 µs each.
	// Default: 128.
	Batch int

	// Logger: Default: slog.Default().
	Logger *slog.Logger
	// Events is told what happens, for metrics. Default: NoEvents.
	Events Events
}

func (c PublisherConfig) withDefaults() PublisherConfig {
	if c.Codec == nil {
		c.Codec = Flat{}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Events == nil {
		c.Events = NoEvents{}
	}
	c.KeyPrefix = cmp.Or(c.KeyPrefix, "stream:")
	c.DedupePrefix = cmp.Or(c.DedupePrefix, c.KeyPrefix+"answered:")
	c.DedupeTTL = cmp.Or(c.DedupeTTL, 10*time.Minute)
	c.Lanes = cmp.Or(c.Lanes, 2)
	c.Batch = cmp.Or(c.Batch, 128)
	return c
}

func (c PublisherConfig) validate() error {
	var errs []error
	if c.MaxLen < 0 {
		errs = append(errs, fmt.Errorf("MaxLen %d must not be negative", c.MaxLen))
	}
	if c.DedupeTTL < time.Millisecond {
		errs = append(errs, fmt.Errorf("DedupeTTL %v must be at least 1ms", c.DedupeTTL))
	}
	if c.Lanes < 1 {
		errs = append(errs, fmt.Errorf("%d lanes: must be positive", c.Lanes))
	}
	if c.Batch < 1 || c.Batch > 1024 {
		errs = append(errs, fmt.Errorf("a batch of %d: must lie between 1 and 1024", c.Batch))
	}
	return errors.Join(errs...)
}

// Publisher writes messages to streams. A message whose context carries a Delivery is an answer to it, and is committed:
// written, remembered and the entry acknowledged in one script (see lua/commit.lua). Any other message is a plain
// XADD, sent once: after an error it may or may not be there. It is safe for concurrent use.
type Publisher struct {
	client  redis.UniversalClient
	cfg     PublisherConfig
	script  *redis.Script
	repeats bool // the client may send a command again by itself
	commits *lanes[*commit]
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher checks the configuration. It does not connect. The client stays the caller's.
func NewPublisher(client redis.UniversalClient, cfg PublisherConfig) (*Publisher, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure publisher: %w", err)
	}
	p := &Publisher{client: client, cfg: cfg, script: newCommitScript(cfg.Fields), repeats: repeats(client)}
	p.commits = newLanes(cfg.Lanes, cfg.Batch, p.commitBatch)
	return p, nil
}

// repeats reports whether a client may send a command again whose reply was lost. Of clients other than *redis.Client that of
// a Cluster always does, whatever its MaxRetries.
func repeats(client redis.UniversalClient) bool {
	c, ok := client.(*redis.Client)
	return !ok || c.Options().MaxRetries > 0
}

// Publish writes the messages in their order. An answer is tried until Redis takes it, its delivery is cancelled (the
// subscription drains), or it turns out to be somebody else's to give; the last is no error, for there is nothing left to
// do. A delivery takes one answer. The answers of a Bundle share their fate only where one of them is refused before any is
// written.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	var plain []*message.Message
	for _, m := range messages {
		answers := answersFrom(m.Context())
		switch {
		case answers != nil:
		case DeliveryFrom(m.Context()) != nil:
			answers = []*message.Message{m}
		default:
			plain = append(plain, m)
			continue
		}
		if err := p.answer(topic, answers); err != nil {
			return err
		}
	}
	if len(plain) == 0 {
		return nil
	}
	return p.add(topic, plain)
}

// Close writes what is queued. Publish fails from then on. It does not close the client.
func (p *Publisher) Close() error {
	p.commits.close()
	return nil
}

// add writes messages that answer nothing.
func (p *Publisher) add(topic string, messages []*message.Message) error {
	if p.commits.isClosed() {
		return fmt.Errorf("publish to %s: %w", topic, ErrClosed)
	}
	ctx := messages[0].Context()
	pipe := p.client.Pipeline()
	replies := make([]rawReply, len(messages))
	for i, m := range messages {
		fields, err := p.cfg.Codec.Encode(m)
		if err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
		args := make([]any, 0, 8+2*fields.Len())
		args = append(args, "XADD", topic)
		if p.cfg.MaxLen > 0 {
			args = append(args, "MAXLEN", "~", p.cfg.MaxLen)
		}
		args = append(args, "*")
		for name, value := range fields.All() {
			args = append(args, name, value)
		}
		// A command of this kind is the one that go-redis never sends twice, whatever the client's settings: XADD
		// repeated after a lost reply would be a second entry.
		if err := pipe.Process(ctx, redis.NewRawWriteToCmd(ctx, &replies[i], args...)); err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
	}
	_, err := pipe.Exec(ctx)
	for i := 0; err == nil && i < len(replies); i++ {
		err = rawError(replies[i].bytes)
	}
	if err != nil {
		p.cfg.Events.Failed("publish")
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}
