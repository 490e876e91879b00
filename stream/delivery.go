package stream

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/entry"
)

// Delivery is one entry in the hands of this consumer, on its way through a handler. It is found in the context of
// its message (DeliveryFrom). It ends, once, by the commit of an answer, by DeadLetter, by Drop, or by Ack or Nack of
// its message. Its methods are safe for concurrent use.
type Delivery struct {
	entry    Entry  // as it is pending in Redis
	original *Entry // what a redriven entry stands for, else nil
	count    int64
	nacks    int
	codecErr error

	sub *subscription
	at  time.Time // since when the entry has not been idle for Redis; guarded by sub.mu
	// parked: no message is under way, see Bundle.Park; guarded by sub.mu
	parked bool
	again  bool // the entry was read or claimed once more while it was in hand; guarded by sub.mu
	// brings is what the contexts of its messages hold since it was resumed; nil before
	brings atomic.Pointer[keepsake]

	state     atomic.Uint32
	cancelled atomic.Bool // the message's context has ended

	mu      sync.Mutex    // guards the channels, which are made when somebody wants to wait
	settled chan struct{} // closed when the transport has nothing more to do for the message; nil where nobody watches it
	over    bool          // settled is closed, or would be
	done    chan struct{} // the Done channel of the message's context
	text    string        // of the entry ID as it is pending, once it was asked for
}

// The states of a Delivery.
const (
	inHand   uint32 = iota
	finished        // committed, parked, dropped, acknowledged in Redis, or given back
)

// DeliveryFrom is the delivery that the message of ctx belongs to, or nil.
func DeliveryFrom(ctx context.Context) *Delivery {
	d, _ := ctx.Value(deliveryKey{}).(*Delivery)
	return d
}

// Entry is the entry as Redis sent it; of a redriven entry, the original. Its fields must not be changed.
func (d *Delivery) Entry() Entry {
	if d.original != nil {
		return *d.original
	}
	return d.entry
}

// Redriven reports whether the entry has been a dead letter before.
func (d *Delivery) Redriven() bool { return d.original != nil }

// Group is the consumer group that the entry was read for.
func (d *Delivery) Group() string { return d.sub.cfg.Group }

// Count is Redis' delivery count: 1 for an entry that is read for the first time. It rises with each claim, so it
// does not count failures.
func (d *Delivery) Count() int64 { return d.count }

// Nacks is how often the entry was nacked before, in this process.
func (d *Delivery) Nacks() int { return d.nacks }

// CodecError is why the codec could not decode the entry, or nil. The message then carries the flat fields.
func (d *Delivery) CodecError() error { return d.codecErr }

// DeadLetter parks the entry in the dead-letter stream and acknowledges it, in one script. reason should be one of a
// closed set, failures is how often the handler failed. It tries until ctx ends. After a nil error the message may be
// acked; that does nothing more.
func (d *Delivery) DeadLetter(ctx context.Context, reason string, cause error, failures int) error {
	return d.sub.park(ctx, d, reason, cause, failures)
}

// Drop acknowledges the entry without an answer and counts it as dropped in the totals. It tries until ctx ends.
func (d *Delivery) Drop(ctx context.Context) error {
	return d.sub.settle(ctx, d)
}

// finish takes the delivery out of the entries in hand. It reports whether it was this call that did.
func (d *Delivery) finish() bool { return d.end(false) }

// end is finish; with handBack the entry is not settled and is to be handed back.
func (d *Delivery) end(handBack bool) bool {
	if !d.state.CompareAndSwap(inHand, finished) {
		return false
	}
	d.sub.release(d, handBack)
	d.noteSettled()
	d.cancel()
	return true
}

// watched prepares for a watcher.
func (d *Delivery) watched() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settled != nil {
		return
	}
	d.settled = make(chan struct{})
	if d.over {
		close(d.settled)
	}
}

func (d *Delivery) noteSettled() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.settled != nil {
		close(d.settled)
	}
}

// cancel ends the context of the message.
func (d *Delivery) cancel() {
	// Both under the lock: Done closes the channel that it makes for what is cancelled already.
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cancelled.Swap(true) {
		return
	}
	if d.done != nil {
		close(d.done)
	}
}

// id is the text of the entry ID as it is pending.
func (d *Delivery) id() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.text == "" {
		d.text = d.entry.ID.String()
	}
	return d.text
}

// bundled is the message of a delivery in a bundle. Nobody acks it, so that one with flat fields does without the
// channels and the metadata of message.NewMessage.
func (d *Delivery) bundled(codec Codec) *message.Message {
	flat := false
	switch codec.(type) {
	case Flat:
		flat = true
	case Either:
		flat = !mayBeEnvelope(d.entry.Fields)
	}
	if !flat {
		return d.message(codec)
	}
	m := &message.Message{UUID: d.id(), Payload: message.Payload(d.entry.Fields)}
	m.SetContext((*deliveryContext)(d))
	return m
}

func (d *Delivery) message(codec Codec) *message.Message {
	e := d.Entry()
	m, err := codec.Decode(e)
	if err != nil {
		d.codecErr = fmt.Errorf("decode entry %s: %w", e.ID, err)
		m, _ = Flat{}.Decode(e)
	}
	m.SetContext((*deliveryContext)(d))
	return m
}

type deliveryKey struct{}

// deliveryContext is the context of a delivery's message: the values of the subscription's context, the delivery and the
// entry ID. It ends when the message is settled or its subscription drains. A type of its own saves the
// allocations, and the lock of a common parent, that a context.WithCancel for each message would cost.
type deliveryContext Delivery

var _ context.Context = (*deliveryContext)(nil)

func (c *deliveryContext) Deadline() (time.Time, bool) { return time.Time{}, false }

func (c *deliveryContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.cancelled.Load() {
			close(c.done)
		}
	}
	return c.done
}

func (c *deliveryContext) Err() error {
	if c.cancelled.Load() {
		return context.Canceled
	}
	return nil
}

func (c *deliveryContext) Value(key any) any {
	switch key {
	case deliveryKey{}:
		return (*Delivery)(c)
	case entry.ContextKey:
		if c.original != nil {
			return &c.original.ID
		}
		return &c.entry.ID
	}
	if b := c.brings.Load(); b != nil && b.key == key {
		return b.value
	}
	return c.sub.values.Value(key)
}
