package heat

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// NodesWatcher has every primary of a Redis Cluster announce the writes below a prefix, because each announces its own
// alone: a Watcher for each, begun and ended as slots move and replicas are promoted. Its Listener is told that writes
// are announced only while all primaries do so, and to look for itself whenever one of them may have been missed.
type NodesWatcher struct {
	primaries func(ctx context.Context) ([]*redis.Options, error)
	prefix    string
	listener  Listener
	opts      WatcherOptions

	mu    sync.Mutex
	nodes map[string]*node // by address
	told  bool             // what the listener was told last
}

// NewNodesWatcher makes a NodesWatcher; Run has it work. The client stays the caller's.
func NewNodesWatcher(client *redis.ClusterClient, prefix string, listener Listener, opts WatcherOptions) (*NodesWatcher, error) {
	if err := validateWatcher(prefix, opts); err != nil {
		return nil, err
	}
	return &NodesWatcher{
		primaries: func(ctx context.Context) ([]*redis.Options, error) { return primariesOf(ctx, client) },
		prefix:    prefix, listener: listener, opts: opts.withDefaults(), nodes: map[string]*node{},
	}, nil
}

// primariesOf asks the cluster who serves its slots, and returns how each is connected to.
func primariesOf(ctx context.Context, client *redis.ClusterClient) ([]*redis.Options, error) {
	var mu sync.Mutex
	var all []*redis.Options
	err := client.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, node.Options())
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list the primaries: %w", err)
	}
	return all, nil
}

// Healthy reports whether every primary that is known announces its writes.
func (w *NodesWatcher) Healthy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range w.nodes {
		if !n.watcher.Healthy() {
			return false
		}
	}
	return len(w.nodes) > 0
}

// followEvery is how often the cluster is asked for its primaries. For so long a write may go unannounced to one that
// has just been promoted or been given its first slot; it is seen by the look that follows, and by the sweep.
const followEvery = time.Second

// Run keeps the announcements going until ctx ends, and returns its cause. It must run once at a time.
func (w *NodesWatcher) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		w.follow(ctx, &running)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// follow begins to watch primaries that are new and lets go of those that are none any more.
func (w *NodesWatcher) follow(ctx context.Context, running *sync.WaitGroup) {
	ask, cancel := context.WithTimeout(ctx, 2*w.opts.PongWithin)
	defer cancel()
	primaries, err := w.primaries(ask)
	if err == nil && len(primaries) == 0 {
		err = errors.New("the cluster has none")
	}
	if err != nil { // those that are watched may still be there
		w.opts.Log.DebugContext(ctx, "the primaries of the cluster are not known", "err", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	gone := make(map[string]*node, len(w.nodes))
	for addr, n := range w.nodes {
		gone[addr] = n
	}
	for _, opts := range primaries {
		if delete(gone, opts.Addr); w.nodes[opts.Addr] == nil {
			w.nodes[opts.Addr] = w.begin(ctx, running, opts)
		}
	}
	for addr, n := range gone {
		delete(w.nodes, addr)
		n.stop()
		w.opts.Log.InfoContext(ctx, "no primary of the cluster any more", "node", addr)
	}
	w.tell(false)
}

func (w *NodesWatcher) begin(ctx context.Context, running *sync.WaitGroup, opts *redis.Options) *node {
	n := &node{of: w, addr: opts.Addr}
	own := w.opts
	own.Log = own.Log.With("node", opts.Addr)
	n.watcher = newWatcher(Tracking(opts), w.prefix, n, own)
	ctx, n.stop = context.WithCancel(ctx)
	running.Go(func() { _ = n.watcher.Run(ctx) }) // it returns only the cause of ctx
	return n
}

// tell passes on what holds of all primaries when it has changed, or again, to have everything looked at.
func (w *NodesWatcher) tell(again bool) {
	announced := true // there is one at least: follow keeps the last that were known
	for _, n := range w.nodes {
		announced = announced && n.announced
	}
	if again || announced != w.told {
		w.told = announced
		w.listener.Reset(announced)
	}
}

// node is the Listener of one primary.
type node struct {
	of        *NodesWatcher
	addr      string
	watcher   *Watcher
	stop      context.CancelFunc
	announced bool // guarded by of.mu
}

var _ Listener = (*node)(nil)

// Notify passes the announcement on.
func (n *node) Notify(planID string) { n.of.listener.Notify(planID) }

// Reset tells the listener what now holds of all.
func (n *node) Reset(announced bool) {
	n.of.mu.Lock()
	defer n.of.mu.Unlock()
	n.announced = announced
	if n.of.nodes[n.addr] == n { // else it is let go of
		n.of.tell(announced)
	}
}
