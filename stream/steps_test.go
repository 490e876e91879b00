package stream_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/stream"
)

// apart are names in different slots, as the scripts are told; one server serves them all.
var apart = stream.Partition{
	Stream: testStream, Answers: "out", DedupePrefix: "dedupe:", KeyPrefix: "own:{in}:", DeadStream: "dead",
	Redrive: "redrive", RedriveKeyPrefix: "own:{redrive}:", Apart: true,
}

// mortal is a client of a process that dies when a command has been carried out: nothing is sent after it.
type mortal struct {
	after string
	dead  atomic.Bool
}

var errDead = errors.New("the process is dead")

func (m *mortal) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if m.dead.Load() {
			return nil, errDead
		}
		return next(ctx, network, addr)
	}
}

func (m *mortal) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return m.run(cmd, func() error { return next(ctx, cmd) })
	}
}

func (m *mortal) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return m.run(cmds[0], func() error { return next(ctx, cmds) })
	}
}

func (m *mortal) run(cmd redis.Cmder, next func() error) error {
	if m.dead.Load() {
		return errDead
	}
	err := next()
	if err == nil && cmd.Name() == m.after {
		m.dead.Store(true)
		return errDead
	}
	return err
}

// answering answers what comes with a subscriber and a publisher of its own, until the test ends.
func (w *world) answering(client *redis.Client, consumer string) {
	w.t.Helper()
	cfg := w.config(consumer)
	cfg.Partitions = []stream.Partition{apart}
	sub := w.subscriber(client, cfg)
	pub, err := stream.NewPublisher(client, stream.PublisherConfig{Fields: []string{"answers"}, Events: w.events, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { require.NoError(w.t, pub.Close()) })
	out, err := sub.Subscribe(w.ctx, "any")
	require.NoError(w.t, err)
	done := make(chan struct{})
	w.t.Cleanup(func() { <-done })
	w.t.Cleanup(func() { require.NoError(w.t, sub.Close()) })
	go func() {
		defer close(done)
		for m := range out {
			if pub.Publish("any", answer(m)) == nil {
				m.Ack()
			} else {
				m.Nack()
			}
		}
	}()
}

// A worker that dies between two steps of a commit: another answers again or finds the answer, and nothing is lost.
func TestDeathBetweenSteps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		after string
		most  int // answers to one entry
	}{{"exists", 1}, {"xadd", 2}, {"set", 1}} {
		t.Run("after "+tc.after, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.group()
			ids := w.add(8)
			victim := &mortal{after: tc.after}
			client := w.server.NewClient(nil)
			client.AddHook(victim)
			w.answering(client, "victim")
			eventually(t, "it dies", victim.dead.Load)
			w.answering(w.admin, "successor")
			eventually(t, "everything is acknowledged", func() bool { return w.pending() == 0 })
			n := w.answers()
			twice := 0
			for _, id := range ids {
				require.Positive(t, n[id], "entry %s is lost", id)
				require.LessOrEqual(t, n[id], tc.most, "entry %s", id)
				if n[id] > 1 {
					twice++
				}
				require.Positive(t, w.admin.PTTL(w.ctx, "dedupe:"+id).Val(), "entry %s is remembered", id)
			}
			require.Equal(t, tc.most > 1, twice > 0, "death after the answer was added has it added again")
			if tc.after == "set" {
				require.Positive(t, w.admin.HGet(w.ctx, "own:{in}:totals", "duplicate:"+testGroup).Val())
			}
		})
	}
}

// What a step failed to do is tried again without those before it.
func TestStepsAreNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group()
	fails := &failing{command: "set", times: 3}
	client := w.server.NewClient(nil)
	client.AddHook(fails)
	w.answering(client, "a")
	w.add(3)
	eventually(t, "everything is acknowledged", func() bool { return w.events.get(string(stream.Written)) == 3 && w.pending() == 0 })
	require.Zero(t, fails.left())
	require.EqualValues(t, 3, w.admin.XLen(w.ctx, "out").Val(), "added once, though the dedupe keys could not be set three times")
	require.Zero(t, w.events.get(string(stream.Duplicate)))
}

// failing fails a command so many times without sending it.
type failing struct {
	command string
	times   int64
	done    atomic.Int64
}

func (f *failing) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (f *failing) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (f *failing) left() int64 { return max(0, f.times-f.done.Load()) }

func (f *failing) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if cmds[0].Name() == f.command && f.done.Add(1) <= f.times {
			for _, c := range cmds {
				c.SetErr(errDead)
			}
			return errDead
		}
		return next(ctx, cmds)
	}
}

// A dead letter, in another slot or in the same: written once, with the fields in the order of the contract, and sent back.
func TestDeadLetterOfAPartition(t *testing.T) {
	t.Parallel()
	for name, apart := range map[string]bool{"in steps": true, "in one script": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deadLetterOfAPartition(t, apart)
		})
	}
}

func deadLetterOfAPartition(t *testing.T, inSteps bool) {
	w := newWorld(t)
	cfg := w.config("a")
	partition := apart
	partition.Apart = inSteps
	cfg.Partitions = []stream.Partition{partition}
	sub := w.subscriber(nil, cfg)
	out, err := sub.Subscribe(w.ctx, "any")
	require.NoError(t, err)
	w.add(1)
	m := next(t, out)
	d := stream.DeliveryFrom(m.Context())
	require.NoError(t, d.DeadLetter(w.ctx, "handler_failed", errors.New("no"), 2))
	m.Ack()
	require.Zero(t, w.pending())
	require.EqualValues(t, 1, w.events.get("dead"))
	raw, err := w.admin.Do(w.ctx, "XRANGE", "dead", "-", "+").Slice()
	require.NoError(t, err)
	require.Len(t, raw, 1)
	letter := raw[0].([]any)
	var names []string
	for i, v := range letter[1].([]any) {
		if i%2 == 0 {
			names = append(names, v.(string))
		}
	}
	require.Equal(t, "reason error stream group entry_id failures ts_epoch raw", strings.Join(names, " "))
	require.Equal(t, "1", w.admin.HGet(w.ctx, "own:{in}:totals", "dead:"+testGroup).Val())

	keys := stream.RedriveKeys{DeadStream: "dead", Redrive: "redrive", KeyPrefix: "own:{in}:", Apart: inSteps}
	id, err := entry.ParseID(letter[0].(string))
	require.NoError(t, err)
	original := d.Entry()
	sent, err := stream.Redrive(w.ctx, w.admin, keys, id, testGroup, original)
	require.NoError(t, err)
	require.Equal(t, sent.String(), w.admin.XRange(w.ctx, "redrive", "-", "+").Val()[0].ID)
	again := next(t, out)
	require.True(t, stream.DeliveryFrom(again.Context()).Redriven())
	require.Equal(t, original.ID, stream.DeliveryFrom(again.Context()).Entry().ID)
	require.Equal(t, original.Fields.Values(), stream.DeliveryFrom(again.Context()).Entry().Fields.Values())
	again.Ack()
	_, err = stream.Redrive(w.ctx, w.admin, keys, id, testGroup, original)
	require.ErrorIs(t, err, stream.ErrNoDeadLetter)
}

// Whoever dies between the steps of redriving leaves a dead letter that was sent back: it can be sent back again, and is
// answered once.
func TestDeathBetweenStepsOfRedriving(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.group()
	original := stream.Entry{Stream: testStream, ID: entry.ID{Ms: 1_700_000_000_000}, Fields: entry.Make("n", "1")}
	text, err := w.admin.XAdd(w.ctx, &redis.XAddArgs{Stream: "dead", Values: []string{"group", testGroup}}).Result()
	require.NoError(t, err)
	id, err := entry.ParseID(text)
	require.NoError(t, err)
	keys := stream.RedriveKeys{DeadStream: "dead", Redrive: "redrive", KeyPrefix: "own:{in}:", Apart: true}
	victim := &mortal{after: "eval"}
	client := w.server.NewClient(nil)
	client.AddHook(victim)
	_, err = stream.Redrive(w.ctx, client, keys, id, testGroup, original)
	require.ErrorIs(t, err, errDead)
	require.EqualValues(t, 1, w.admin.XLen(w.ctx, "dead").Val())
	require.EqualValues(t, 1, w.admin.XLen(w.ctx, "redrive").Val())

	_, err = stream.Redrive(w.ctx, w.admin, keys, id, testGroup, original)
	require.NoError(t, err)
	require.Zero(t, w.admin.XLen(w.ctx, "dead").Val())
	require.Equal(t, "1", w.admin.HGet(w.ctx, "own:{in}:totals", "redriven:"+testGroup).Val())
	w.answering(w.admin, "a")
	eventually(t, "both are answered", func() bool {
		return w.events.get(string(stream.Written))+w.events.get(string(stream.Duplicate)) == 2
	})
	require.EqualValues(t, 1, w.admin.XLen(w.ctx, "out").Val())
}

// TestStepsThatAreRefused: whatever step Redis refuses, the entry stays pending until it is answered, and is answered once.
func TestStepsThatAreRefused(t *testing.T) {
	for _, command := range []string{"xpending", "exists", "xadd", "set", "xack"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cfg := w.config("a")
			cfg.Partitions = []stream.Partition{apart}
			out, err := w.subscriber(nil, cfg).Subscribe(w.ctx, "any")
			require.NoError(t, err)
			pub := w.publisher(nil)
			w.add(2)
			first, second := next(t, out), next(t, out)
			require.NoError(t, pub.Publish("any", answer(first)))
			first.Ack()
			require.NoError(t, w.admin.ACLSetUser(w.ctx, "default", "-"+command).Err())
			published := make(chan error, 1)
			go func() { published <- pub.Publish("any", answer(second)) }()
			eventually(t, "it is refused", func() bool { return w.events.get("failed commit") > 1 })
			require.EqualValues(t, 1, w.admin.XInfoGroups(w.ctx, testStream).Val()[0].Pending)
			require.NoError(t, w.admin.ACLSetUser(w.ctx, "default", "+"+command).Err())
			require.NoError(t, <-published)
			second.Ack()
			require.Zero(t, w.pending())
			require.EqualValues(t, 2, w.admin.XLen(w.ctx, "out").Val())
			require.EqualValues(t, 2, w.events.get("written"))
			require.EqualValues(t, 2, w.admin.Exists(w.ctx, "dedupe:"+answer(first).UUID, "dedupe:"+answer(second).UUID).Val())
		})
	}
}
