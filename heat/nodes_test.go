package heat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
	"heatobserver/internal/redistest"
)

// The listener hears that writes are announced only while all primaries announce theirs, hears it again when one of them
// may have missed some, and nothing of a primary that is let go of.
func TestNodesAgree(t *testing.T) {
	heard := &recorder{}
	var primaries []*redis.Options
	var unknown error
	w := &NodesWatcher{
		primaries: func(context.Context) ([]*redis.Options, error) { return primaries, unknown },
		prefix:    prefix, listener: heard, opts: WatcherOptions{Log: heard.log()}.withDefaults(), nodes: map[string]*node{},
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer running.Wait()
	defer cancel()
	// Nobody listens at these ports, so that what the Watchers would say is said here.
	at := func(ports ...int) {
		primaries = nil
		for _, port := range ports {
			primaries = append(primaries, &redis.Options{Addr: "127.0.0.1:" + strconv.Itoa(port)})
		}
		w.follow(ctx, &running)
	}
	expect := func(step string, want ...bool) {
		t.Helper()
		if got := heard.resets; !slices.Equal(got, want) {
			t.Errorf("%s: told %v, want %v", step, got, want)
		}
		heard.resets = nil
	}
	at(1, 2)
	one, two := w.nodes["127.0.0.1:1"], w.nodes["127.0.0.1:2"]
	expect("in the beginning")
	one.Reset(true)
	expect("one of two", false)
	two.Reset(true)
	expect("both", true)
	two.Reset(true)
	expect("a flush of one", true)
	at(1, 2)
	expect("nothing new")
	at()
	expect("a cluster that says it has none")
	at(1, 2, 3)
	expect("a third that says nothing yet", false)
	w.nodes["127.0.0.1:3"].Reset(true)
	expect("all three", true)
	unknown = errors.New("nobody answers")
	at()
	expect("the cluster is not known")
	unknown = nil
	one.Reset(false)
	expect("the first is lost", false)
	at(2, 3)
	expect("and is none any more", true)
	one.Reset(false)
	expect("what is let go of")
	two.Notify("p")
	if got := fmt.Sprint(heard.notified); got != "[p]" {
		t.Errorf("notified %s, want [p]", got)
	}
	if _, err := NewNodesWatcher(nil, "", heard, WatcherOptions{}); err == nil {
		t.Error("an empty prefix is taken")
	}
}

// A primary is watched from when it becomes one until it is none any more.
func TestNodesAreLetGoOf(t *testing.T) {
	heard := &recorder{}
	var primary string
	w := &NodesWatcher{
		primaries: func(context.Context) ([]*redis.Options, error) { return []*redis.Options{{Addr: primary}}, nil },
		prefix:    prefix, listener: heard, opts: WatcherOptions{Log: heard.log()}.withDefaults(), nodes: map[string]*node{},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var first, second sync.WaitGroup
	defer second.Wait()
	defer cancel()
	primary = "127.0.0.1:1" // nobody listens there
	w.follow(ctx, &first)
	heard.eventually(t, "it is watched", func() bool { return strings.Contains(heard.logged.String(), "node=127.0.0.1:1") })
	primary = "127.0.0.1:2"
	w.follow(ctx, &second)
	let := make(chan struct{})
	go func() { defer close(let); first.Wait() }()
	select {
	case <-let:
	case <-time.After(time.Minute):
		t.Error("it is watched for ever")
	}
}

// On a cluster of six servers the heat of every slot is noticed by announcement, also when a primary has been killed and its
// replica promoted, and when a slot has moved. Whatever is written meanwhile is found, by the sweep at the latest.
func TestNodesWatcher(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts six servers and waits for a failover")
	}
	cluster := redistest.StartCluster(t, 3)
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), MaxRetries: 3, DialerRetries: 1, ClusterStateReloadInterval: time.Second})
	defer func() { _ = client.Close() }() // nothing was written that could be lost
	lookups := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs(), MaxRetries: -1, DialerRetries: 1, ReadTimeout: time.Second, ClusterStateReloadInterval: time.Second})
	defer func() { _ = lookups.Close() }()
	// No sweep looks at a plan before its deadline: what is found was announced, or looked for after a repair.
	ws := newWaits(t, newReader(t, lookups, ReaderOptions{}), func(o *WaiterOptions) {
		o.Rules = event.Rules{MaxWait: time.Minute, Poll: 100 * time.Millisecond, MaxErrors: 1000}
		o.SweepFactor, o.WatchFor = 1000, -1
	})
	defer ws.w.Close()
	heard := &recorder{}
	w, err := NewNodesWatcher(client, prefix, ws.w, WatcherOptions{MaxBackoff: 200 * time.Millisecond, Log: heard.log()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = w.Run(ctx) })
	watched := func(what string) {
		t.Helper()
		heard.eventually(t, what, w.Healthy)
		eventually(t, what, func() bool { ws.w.mu.Lock(); defer ws.w.mu.Unlock(); return ws.w.announced })
	}
	const plans = 60 // of all slots
	round := 0
	name := func(i int) string { return fmt.Sprintf("%d-%s", round, planName(i)) }
	begin := func() {
		t.Helper()
		for i := range plans {
			ws.start(ctx, name(i), time.Now())
		}
		eventually(t, "all wait, and have been looked at", func() bool {
			ws.w.mu.Lock()
			defer ws.w.mu.Unlock()
			return len(ws.w.schedule.plans) == plans
		})
	}
	write := func(key string) {
		eventually(t, "the cluster takes writes", func() bool { return client.HSet(ctx, key, "heat_level", "hot").Err() == nil })
	}
	end := func(what string, noticed ...event.Noticed) {
		t.Helper()
		for range plans {
			r := ws.next()
			if r.err != nil || r.verdict.Reason != event.OK || !slices.Contains(noticed, r.verdict.Noticed) {
				t.Fatalf("%s: %s ended with %+v, %v", what, r.planID, r.verdict, r.err)
			}
		}
		ws.empty()
		round++
	}

	watched("all primaries announce")
	begin()
	for i := range plans {
		write(prefix + name(i))
	}
	end("at rest", event.Notification)

	begin()
	dead := cluster.Owner(prefix + name(0))
	dead.Kill()
	eventually(t, "the loss is noticed", func() bool { return !w.Healthy() })
	for i := range plans {
		write(prefix + name(i)) // those of the dead one once its replica is promoted
	}
	end("over a failover", event.Notification, event.Sweep)
	watched("the promoted one announces")
	begin()
	for i := range plans {
		write(prefix + name(i))
	}
	end("after a failover", event.Notification)

	from := cluster.Owner(prefix + name(1))
	to := from
	for i := 2; to == from; i++ {
		to = cluster.Owner(prefix + name(i))
	}
	cluster.MoveSlot(prefix+name(1), to, 0)
	begin()
	for i := range plans {
		write(prefix + name(i))
	}
	end("after a slot has moved", event.Notification)
}
