package stream

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"heatobserver/entry"
)

// unconnected is a Subscriber that sends nothing.
func unconnected(t *testing.T, cfg SubscriberConfig) *Subscriber {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = client.Close() })
	cfg.Group, cfg.Consumer = "g", "me"
	s, err := NewSubscriber(client, cfg)
	require.NoError(t, err)
	return s
}

// TestReadersOfPartitions: each has the names of its partition, and all share a bound and a channel.
func TestReadersOfPartitions(t *testing.T) {
	s := unconnected(t, SubscriberConfig{MaxInFlight: 100, Batch: 80, KeyPrefix: "own:", Partitions: []Partition{
		{Stream: "in0", KeyPrefix: "own:{0}:", DeadStream: "dead0", Redrive: "again0"},
		{Stream: "in1", KeyPrefix: "own:{1}:", DeadStream: "dead1", Redrive: "again1", RedriveKeyPrefix: "own:{again1}:"},
		{Stream: "in2", KeyPrefix: "own:{2}:", DeadStream: "dead2"},
	}})
	readers := s.readersOf(t.Context(), "topic")
	type names struct{ stream, keys, dead, nudge string }
	var got []names
	for i, r := range readers {
		got = append(got, names{r.stream, r.cfg.KeyPrefix, r.cfg.DeadStream, r.nudge()})
		require.Equal(t, i, r.order)
		require.Equal(t, readers[0].out, r.out)
		require.Equal(t, "own:nudge", r.nudgeChannel)
		if r.redrive {
			require.Same(t, readers[1].credits, r.credits)
			require.Equal(t, []any{StartFirst, redriveInFlight, redriveInFlight, redriveInFlight},
				[]any{r.cfg.Start, r.cfg.MaxInFlight, r.cfg.Batch, r.credits.free})
		} else {
			require.Same(t, readers[0].credits, r.credits)
		}
		require.Equal(t, 3, r.credits.share)
	}
	require.Equal(t, []names{
		{"in0", "own:{0}:", "dead0", "g in0"},
		{"again0", "own:{0}:", "dead0", "g again0"},
		{"in1", "own:{1}:", "dead1", "g in1"},
		{"again1", "own:{again1}:", "dead1", "g again1"},
		{"in2", "own:{2}:", "dead2", "g in2"},
	}, got)
	require.Equal(t, 1, readers[0].appetite(), "of many readers one that found nothing holds room for one entry")
	readers[0].lastRead = 1
	require.Equal(t, 80, readers[0].appetite())
	require.Negative(t, (&commit{delivery: &Delivery{sub: readers[0]}}).before(&commit{delivery: &Delivery{sub: readers[2]}}))

	alone := unconnected(t, SubscriberConfig{MaxInFlight: 100, Batch: 80, Redrive: "again"})
	readers = alone.readersOf(t.Context(), "topic")
	require.Len(t, readers, 2)
	require.Equal(t, []any{"g", 80, 80}, []any{readers[0].nudge(), readers[0].appetite(), readers[0].cfg.Batch})
	alone.subs["again"] = readers[1]
	require.Len(t, alone.readersOf(t.Context(), "other"), 1, "a redrive stream is read beside the first topic alone")
}

// TestConcerns: who is handed something is told by name.
func TestConcerns(t *testing.T) {
	s := unconnected(t, SubscriberConfig{})
	for text, want := range map[string]bool{"g": true, "g in": true, "g other": false, "other": false, "other in": false, "": false} {
		require.Equal(t, want, s.concerns(&redis.Message{Payload: text}, "in"), text)
	}
	require.True(t, s.concerns(&redis.Subscription{Kind: "subscribe"}, "in"))
	require.False(t, s.concerns(&redis.Subscription{Kind: "unsubscribe"}, "in"))
}

// TestWaitingForRoomIsProgress: a health check takes no reader for hung that waits for its handlers.
func TestWaitingForRoomIsProgress(t *testing.T) {
	sub := newSubscription(t.Context(), unconnected(t, SubscriberConfig{MaxInFlight: 1}), "in")
	require.Equal(t, 1, sub.room(t.Context(), 1))
	long := time.Now().Add(-time.Hour)
	sub.mu.Lock()
	sub.progress = long
	sub.mu.Unlock()
	require.Equal(t, long, sub.state().Progress)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() { ended <- sub.room(ctx, 1) }()
	require.Eventually(t, func() bool { return sub.state().Progress.After(long) }, 30*time.Second, time.Millisecond)
	stop()
	require.Zero(t, <-ended)
	require.Equal(t, long, sub.state().Progress)
}

// TestParseRedriven: what the redrive stream holds that nobody redrove is told apart, and whose it is as soon as it can be known.
func TestParseRedriven(t *testing.T) {
	good := []string{redriveGroup, "g", redriveStream, "in", redriveID, "5-1", "a", "b"}
	group, original, err := parseRedriven(Entry{Fields: entry.Make(good...)})
	require.NoError(t, err)
	require.Equal(t, "g", group)
	require.Equal(t, Entry{Stream: "in", ID: entry.ID{Ms: 5, Seq: 1}, Fields: entry.Make("a", "b")}, original)
	change := func(i int, to string) []string {
		changed := append([]string{}, good...)
		changed[i] = to
		return changed
	}
	for _, c := range []struct {
		fields []string
		group  string
		says   string
	}{
		{nil, "", "field 1 of a redriven entry must be redrive_group"},
		{good[:2], "g", "field 2 of a redriven entry must be redrive_stream"},
		{good[:4], "g", "field 3 of a redriven entry must be redrive_id"},
		{change(0, "x"), "", "field 1"},
		{change(1, ""), "", "redrive_group of a redriven entry is empty"},
		{change(2, "x"), "g", "field 2"},
		{change(3, ""), "g", "redrive_stream of a redriven entry is empty"},
		{change(4, "x"), "g", "field 3"},
		{change(5, ""), "g", "redrive_id of a redriven entry is empty"},
		{change(5, "x"), "g", "read redrive_id"},
	} {
		group, original, err := parseRedriven(Entry{Fields: entry.Make(c.fields...)})
		require.ErrorContains(t, err, c.says)
		require.Equal(t, c.group, group, c.says)
		require.Zero(t, original)
	}
	_, _, err = parseRedriven(Entry{Fields: entry.Fields("rubbish")})
	require.Error(t, err)
}

// TestPublisherConfigIsChecked: each bound, from both sides.
func TestPublisherConfigIsChecked(t *testing.T) {
	good := PublisherConfig{}.withDefaults()
	require.NoError(t, good.validate())
	require.NotNil(t, good.Logger)
	require.Equal(t, []any{"stream:", "stream:answered:", 10 * time.Minute, 2, 128},
		[]any{good.KeyPrefix, good.DedupePrefix, good.DedupeTTL, good.Lanes, good.Batch})
	for says, change := range map[string]func(*PublisherConfig){
		"":                func(c *PublisherConfig) { c.DedupeTTL, c.Batch, c.Lanes, c.MaxLen = time.Millisecond, 1024, 1, 1 },
		"MaxLen -1":       func(c *PublisherConfig) { c.MaxLen = -1 },
		"DedupeTTL 999":   func(c *PublisherConfig) { c.DedupeTTL = time.Millisecond - time.Microsecond },
		"-1 lanes":        func(c *PublisherConfig) { c.Lanes = -1 },
		"a batch of -1":   func(c *PublisherConfig) { c.Batch = -1 },
		"a batch of 0":    func(c *PublisherConfig) { c.Batch = 0 },
		"a batch of 1025": func(c *PublisherConfig) { c.Batch = 1025 },
	} {
		c := good
		change(&c)
		if err := c.validate(); says == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, says)
		}
	}
}

// TestRepliesThatAreNone: what is no reply to XREADGROUP is an error, and none that is cut short passes for an empty one.
func TestRepliesThatAreNone(t *testing.T) {
	const whole = "*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n"
	entries, err := parseRead([]byte(whole), "in")
	require.NoError(t, err)
	require.Equal(t, []Entry{{Stream: "in", ID: entry.ID{Ms: 1, Seq: 1}, Fields: entry.Make("a", "b")}}, entries)
	for i := 1; i < len(whole); i++ {
		_, err := parseRead([]byte(whole[:i]), "in")
		require.Error(t, err, "%q", whole[:i])
	}
	for _, raw := range []string{
		"*x\r\n", "$1\r\na\r\n", "+OK\r\n", "-NOGROUP no\r\n", "!10\r\nNOGROUP no\r\n",
		"*1\r\n*2\r\n:\r\n", "*1\r\n*2\r\n#t\r\n", "*1\r\n*2\r\n$x\r\n", "*1\r\n*2\r\n$9\r\nin\r\n",
		"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*3\r\n$3\r\n1-1\r\n*0\r\n$1\r\na\r\n",
		"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$1\r\nx\r\n*0\r\n",
		"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*1\r\n$1\r\na\r\n",
		"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$3\r\n1-1\r\n%1\r\n$1\r\na\r\n$1\r\nb\r\n",
		"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n:1\r\n:2\r\n",
		"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$-1\r\n$1\r\nb\r\n",
	} {
		_, err := parseRead([]byte(raw), "in")
		require.Error(t, err, "%q", raw)
	}
	for _, raw := range []string{"*-1\r\n", "_\r\n", "*0\r\n"} {
		entries, err := parseRead([]byte(raw), "in")
		require.NoError(t, err, "%q", raw)
		require.Empty(t, entries)
	}
}

// TestSizing: few at first, then as many as make a reply of some megabytes, growing in steps; nothing is learnt of nothing.
func TestSizing(t *testing.T) {
	var z sizing
	require.Equal(t, []int{5, firstPage}, []int{z.limit(5), z.limit(512)})
	z.saw(0, 5, replyBytes)
	require.Equal(t, firstPage, z.limit(512))
	z.saw(1, 100, replyBytes)
	require.Equal(t, 4*firstPage, z.limit(512))
	z.saw(256, 256*100, replyBytes)
	require.Equal(t, 512, z.limit(512))
	z.saw(100, 100*replyBytes/8, replyBytes)
	require.Equal(t, 8, z.limit(512))
	z.saw(2, 3*replyBytes, replyBytes)
	require.Equal(t, 1, z.limit(512), "one at the least")
	z.saw(1, 100, replyBytes)
	require.Equal(t, 4, z.limit(512))
}
