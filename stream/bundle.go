package stream

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Bundle is entries of one read or claim that travel through the router as one message, because a message for each costs more
// than all the rest that is done for it. It carries no rights of its own: every entry keeps its Delivery, ends by itself, and
// whatever the bundle does not answer goes through the router again as a message of its own.
//
// It is found in the context of its message (BundleFrom). A handler gives the answers that it has with Answer. Acking the
// message of a bundle acks what was neither answered nor left out; nacking it has all that is not settled delivered again,
// each by itself.
type Bundle struct {
	sub        *subscription
	deliveries []*Delivery
	messages   []*message.Message
	alone      []bool // left out by Answer; written before the message of the bundle is acked
	parked     []bool // parked, and not answered all the same; nil where none was
}

type (
	bundleKey  struct{}
	answersKey struct{}
)

// BundleFrom is the bundle that the message of ctx stands for, or nil.
func BundleFrom(ctx context.Context) *Bundle {
	b, _ := ctx.Value(bundleKey{}).(*Bundle)
	return b
}

// Messages are those of the entries, in the order of the stream. They are like any other but that acking and nacking
// them does nothing.
func (b *Bundle) Messages() []*message.Message { return b.messages }

// Answer returns the message to publish for all answers; there is none where there are no answers. answers[i] belongs to
// Messages()[i] and carries its context; nil sends that entry through the router by itself, as do missing ones, except
// for those that were parked.
func (b *Bundle) Answer(answers []*message.Message) []*message.Message {
	b.alone = make([]bool, len(b.messages))
	given := make([]*message.Message, 0, len(b.messages))
	for i := range b.messages {
		switch {
		case i < len(answers) && answers[i] != nil:
			given = append(given, answers[i])
			b.unpark(i)
		case !b.isParked(i):
			b.alone[i] = true
		}
	}
	if len(given) == 0 {
		return nil
	}
	m := &message.Message{}
	m.SetContext(context.WithValue((*bundleContext)(b), answersKey{}, given))
	return []*message.Message{m}
}

// answersFrom are the answers that a message of Answer carries, or nil.
func answersFrom(ctx context.Context) []*message.Message {
	answers, _ := ctx.Value(answersKey{}).([]*message.Message)
	return answers
}

// deliverTogether sends what was read or claimed at once, as one message where there are bundles.
func (s *subscription) deliverTogether(deliveries []*Delivery) {
	switch {
	case !s.cfg.Bundles || s.redrive:
		for _, d := range deliveries {
			s.deliver(d)
		}
	case len(deliveries) > 0:
		s.deliverBundle(deliveries)
	}
}

// deliverBundle sends one message for all of the deliveries and watches over it.
func (s *subscription) deliverBundle(deliveries []*Delivery) {
	b := &Bundle{sub: s, deliveries: deliveries, messages: make([]*message.Message, len(deliveries))}
	for i, d := range deliveries {
		b.messages[i] = d.bundled(s.cfg.Codec)
	}
	m := message.NewMessage(deliveries[0].id(), nil)
	m.SetContext((*bundleContext)(b))
	select {
	case s.out <- m:
		s.watchers.Go(func() { s.watchBundle(b, m) })
	case <-s.drain:
		for _, d := range deliveries {
			s.giveBack(d)
		}
	}
}

// watchBundle waits for what becomes of a bundle. Deliveries that are not settled then get watchers of their own.
func (s *subscription) watchBundle(b *Bundle, m *message.Message) {
	var settle func(i int, d *Delivery)
	select {
	case <-m.Acked():
		settle = func(i int, d *Delivery) {
			if i < len(b.alone) && b.alone[i] {
				s.watchers.Go(func() { s.deliver(d) })
				return
			}
			d.cancel()
			if s.acks.put(context.Background(), d) != nil {
				s.giveBack(d)
			}
		}
	case <-m.Nacked():
		settle = func(_ int, d *Delivery) {
			d.cancel()
			s.watchers.Go(func() { s.redeliver(d) })
		}
	case <-s.abandon:
		settle = func(_ int, d *Delivery) { s.giveBack(d) }
	}
	for i, d := range b.deliveries {
		if d.state.Load() == inHand && !b.isParked(i) {
			settle(i, d)
		}
	}
}

// bundleContext is the context of a bundle's message. It ends when the subscription drains.
type bundleContext Bundle

var _ context.Context = (*bundleContext)(nil)

func (c *bundleContext) Deadline() (time.Time, bool) { return time.Time{}, false }
func (c *bundleContext) Done() <-chan struct{}       { return c.sub.drain }

func (c *bundleContext) Err() error {
	select {
	case <-c.sub.drain:
		return context.Canceled
	default:
		return nil
	}
}

func (c *bundleContext) Value(key any) any {
	if key == (bundleKey{}) {
		return (*Bundle)(c)
	}
	return c.sub.values.Value(key)
}
