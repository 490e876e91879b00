package stream_test

import (
	"sync"
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
)

// TestNameThatMoves: after a failover behind one address the old primary stays up, as a replica, and so do the connections to
// it. They are given up one after the other, whether there is an answer to write or only to be read.
func TestNameThatMoves(t *testing.T) {
	for _, waiting := range []bool{true, false} {
		t.Run(map[bool]string{true: "an answer waits", false: "nothing in hand"}[waiting], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			proxy, client := w.through(nil)
			_, out := w.subscribe(client, w.config("a"))
			pub := w.publisher(client)
			w.add(1)
			m := next(t, out)
			if !waiting {
				require.NoError(t, pub.Publish("out", answer(m)))
				m.Ack()
				eventually(t, "it is acknowledged", func() bool { return w.pending() == 0 })
			}
			var idle sync.WaitGroup // connections of a pool that was busy once
			for range 8 {
				idle.Go(func() { _ = client.Do(w.ctx, "BLPOP", "nothing", "0.2").Err() })
			}
			idle.Wait()

			old := w.server
			b := redistest.Start(t)
			b.Replica(old)
			b.Promote()
			old.Replica(b)
			w.server, w.admin = b, b.Client()
			proxy.Target(b.Addr()) // for new connections alone
			if waiting {
				require.NoError(t, pub.Publish("out", answer(m)))
				m.Ack()
			}
			w.add(1)
			m = next(t, out)
			require.NoError(t, pub.Publish("out", answer(m)))
			m.Ack()
			eventually(t, "both are answered", func() bool { return w.admin.XLen(w.ctx, "out").Val() == 2 && w.pending() == 0 })
		})
	}
}

// TestPlainMessageToANameThatMoves: a message that answers nothing is sent once, and what a replica refused costs the connection
// to it, so that the next meets the primary.
func TestPlainMessageToANameThatMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	proxy, client := w.through(nil)
	pub := w.publisher(client)
	plain := func() error {
		return pub.Publish("out", message.NewMessage("plain", message.Payload(entry.Make("a", "b"))))
	}
	require.NoError(t, plain()) // its connection is kept
	old := w.server
	b := redistest.Start(t)
	b.Replica(old)
	b.Promote()
	old.Replica(b)
	proxy.Target(b.Addr())
	require.ErrorContains(t, plain(), "READONLY")
	require.NoError(t, plain())
	require.EqualValues(t, 2, b.Client().XLen(w.ctx, "out").Val())
}
