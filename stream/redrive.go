package stream

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
)

// Redriving sends dead letters back to the group that gave them up, through a stream of its own: the stream that they
// came from has other readers, for whom the entry would be a new one. An entry of the redrive stream begins with three
// fields, in this order, and goes on with those of the original:
const (
	redriveGroup  = "redrive_group"  // the group that it is for; every other acknowledges it silently
	redriveStream = "redrive_stream" // where the original stood
	redriveID     = "redrive_id"     // and its entry ID there
)

// The limits of redriven entries.
const (
	// MaxRedriveFields is how many fields a redriven entry can have: Lua cannot pass on more values at once.
	MaxRedriveFields = 2997
	// redriveInFlight bounds the redriven entries in hand, so that they do not crowd out those that come anew.
	redriveInFlight = 64
)

// reasonRedrive is the reason of a dead letter for an entry of the redrive stream that is none.
const reasonRedrive = "bad_field"

var (
	//go:embed lua/redrive.lua
	redriveLua    string
	redriveScript = redis.NewScript(redriveLua)
)

// ErrNoDeadLetter is returned by Redrive when the dead letter is not there any more: it was redriven or purged, maybe by
// a first attempt whose reply was lost.
var ErrNoDeadLetter = errors.New("there is no such dead letter any more")

// RedriveKeys names the keys that Redrive works on, as the Subscriber has them.
type RedriveKeys struct {
	DeadStream string
	Redrive    string
	KeyPrefix  string
	// Apart says that they do not share a slot (see Partition). Then the entry is added before the dead letter is deleted,
	// and whoever dies between the two leaves a dead letter that was sent back.
	Apart bool
}

// Redrive sends one dead letter back, in one script: the original goes to the redrive stream for the group, and the dead
// letter is deleted. It returns the ID in the redrive stream. original has the stream, the entry ID and the fields that
// the handler will see; its publish time stays that of its entry ID.
func Redrive(ctx context.Context, client redis.UniversalClient, keys RedriveKeys, deadLetter entry.ID, group string, original Entry) (entry.ID, error) {
	fail := func(err error) (entry.ID, error) {
		return entry.ID{}, fmt.Errorf("redrive dead letter %s: %w", deadLetter, err)
	}
	if err := original.Fields.Check(); err != nil {
		return fail(err)
	}
	if n := original.Fields.Len(); n > MaxRedriveFields {
		return fail(fmt.Errorf("it has %d fields; at most %d can be redriven", n, MaxRedriveFields))
	}
	args := []any{
		deadLetter.String(), group,
		redriveGroup, group, redriveStream, original.Stream, redriveID, original.ID.String(),
	}
	for name, value := range original.Fields.All() {
		args = append(args, name, value)
	}
	totals := keys.KeyPrefix + "totals"
	if !keys.Apart {
		text, err := redriveScript.Run(ctx, client, []string{keys.Redrive, keys.DeadStream, totals}, args...).Text()
		if errors.Is(err, redis.Nil) {
			err = ErrNoDeadLetter
		}
		if err != nil {
			return fail(err)
		}
		return entry.ParseID(text)
	}
	there, err := client.XRange(ctx, keys.DeadStream, deadLetter.String(), deadLetter.String()).Result()
	if err == nil && len(there) == 0 {
		err = ErrNoDeadLetter
	}
	if err != nil {
		return fail(err)
	}
	text, err := redriveScript.Run(ctx, client, []string{keys.Redrive}, args...).Text()
	if err == nil {
		err = client.XDel(ctx, keys.DeadStream, deadLetter.String()).Err()
	}
	if err == nil {
		err = client.HIncrBy(ctx, totals, "redriven:"+group, 1).Err()
	}
	if err != nil {
		return fail(err)
	}
	return entry.ParseID(text)
}

// parseRedriven is the reverse of what Redrive writes. The group is known as soon as it can be read, also beside an
// error.
func parseRedriven(e Entry) (group string, original Entry, err error) {
	if err := e.Fields.Check(); err != nil {
		return "", Entry{}, err
	}
	values := e.Fields.Values()
	head := min(len(values), 6)
	for i, name := range []string{redriveGroup, redriveStream, redriveID} {
		if 2*i >= head || values[2*i] != name {
			return group, Entry{}, fmt.Errorf("field %d of a redriven entry must be %s", i+1, name)
		}
		if values[2*i+1] == "" {
			return group, Entry{}, fmt.Errorf("%s of a redriven entry is empty", name)
		}
		group = values[1]
	}
	id, err := entry.ParseID(values[5])
	if err != nil {
		return group, Entry{}, fmt.Errorf("read %s: %w", redriveID, err)
	}
	return group, Entry{Stream: values[3], ID: id, Fields: entry.Make(values[6:]...)}, nil
}

// newRedriveSubscription reads the redrive stream beside topic, into the same channel. It is an ordinary subscription
// with a group at the beginning of the stream, but that its deliveries show the original entry; see accept.
func newRedriveSubscription(ctx context.Context, s *Subscriber, out chan *message.Message) *subscription {
	sub := newSubscription(ctx, s, s.cfg.Redrive)
	sub.redrive = true
	sub.out = out
	sub.cfg.Start = StartFirst
	sub.cfg.MaxInFlight = min(sub.cfg.MaxInFlight, redriveInFlight)
	sub.cfg.Batch = min(sub.cfg.Batch, sub.cfg.MaxInFlight)
	sub.credits = newCredits(sub.cfg.MaxInFlight)
	return sub
}

// accept prepares a delivery of the redrive stream. It returns false when it took care of the entry itself: one of
// another group is acknowledged, one that is malformed is parked.
func (s *subscription) accept(d *Delivery) bool {
	group, original, err := parseRedriven(d.entry)
	switch {
	case group != "" && group != s.cfg.Group:
		done := message.NewMessage("", nil)
		done.Ack()
		d.watched()
		s.watchers.Go(func() { s.watch(d, done) })
		return false
	case err != nil:
		s.watchers.Go(func() { s.refuse(d, err) })
		return false
	}
	d.original = &original
	return true
}

// refuse parks an entry that says neither whose nor what it is.
func (s *subscription) refuse(d *Delivery, cause error) {
	s.log.Warn("an entry of the redrive stream is malformed; it becomes a dead letter", "entry_id", d.entry.ID.String(), "err", cause)
	if err := s.park((*deliveryContext)(d), d, reasonRedrive, cause, 0); err != nil { // the subscription drains
		s.giveBack(d)
	}
}

// SetFields is f with the fields of set (name, value, in turn) in place of those of the same name, and behind the others
// where there was none.
func SetFields(f entry.Fields, set ...string) entry.Fields {
	values := f.Values()
	for pair := range slices.Chunk(set, 2) {
		found := false
		for i := 0; i < len(values); i += 2 {
			if values[i] == pair[0] {
				values[i+1], found = pair[1], true
			}
		}
		if !found {
			values = append(values, pair...)
		}
	}
	return entry.Make(values...)
}
