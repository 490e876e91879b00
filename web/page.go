package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"heatobserver/entry"
	"heatobserver/operate"
	"heatobserver/replay"
)

// Source is where the page reads. *operate.Operator is one. It is used by a few goroutines at once.
type Source interface {
	Status(ctx context.Context, l operate.Limits) (operate.Status, error)
	StreamsNow(ctx context.Context) (operate.Streams, error)
	Observed(ctx context.Context, from, to entry.ID, most int) ([]operate.Observed, error)
	PlansSince(ctx context.Context, since time.Time, most int) (int, error)
	Announcements(ctx context.Context, consumers []string) (map[string]operate.Announcement, error)
	Trace(ctx context.Context, planID string, since time.Time) (operate.Trace, error)
	List(ctx context.Context, f operate.Filter) ([]operate.DeadLetter, int64, error)
	Show(ctx context.Context, id entry.ID, stream string) (operate.DeadLetter, error)
}

var _ Source = (*operate.Operator)(nil)

// Options are what the page is about.
type Options struct {
	Source  Source
	History replay.Source // of plans and decisions, for what-if
	// Simulate holds what what-if shares with the live observer: envelopes, and the settings beside the allowed wait.
	Simulate replay.Options
	Settings replay.Settings // MaxWait is the allowed wait that is set

	Early, Late   Observer
	Partitions    int    // of the plans. Default: 1
	Plans         string // name of the plan stream, or of the first partition
	Observed      string // and of the others
	Dead          string
	Version       string
	Consumer      string        // consumer name of this process
	MaxClients    int           // streams of events at once. Default: 100
	Every         time.Duration // between two rounds of reading. Default: 1 s
	WriteTimeout  time.Duration // for one event to a client. Default: 10 s
	PollTimeout   time.Duration // for one round of reading. Default: 4 s
	CurveLifetime time.Duration // how long a simulated history is good for. Default: 30 s
	Logger        *slog.Logger
}

// Observer is one of the two observers.
type Observer struct {
	Group   string
	Enabled bool
}

func (o *Options) setDefaults() {
	if o.MaxClients == 0 {
		o.MaxClients = 100
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 10 * time.Second
	}
	if o.PollTimeout == 0 {
		o.PollTimeout = 4 * time.Second
	}
	if o.CurveLifetime == 0 {
		o.CurveLifetime = 30 * time.Second
	}
}

// Page serves the status page. Run has to run beside it.
type Page struct {
	opts    Options
	handler http.Handler
	assets  assets
	collect collector
	curves  curves
	traces  gate // few at once: each reads much
	letters gate
	streams gate // of events

	asked atomic.Int64  // unix nanoseconds of the last request
	wake  chan struct{} // somebody asks

	mu      sync.Mutex
	now     *snapshot     // nil before the first
	changed chan struct{} // closed when now changes
	done    chan struct{} // closed when Run ends
}

// New makes a Page. It reads nothing yet.
func New(opts Options) (*Page, error) {
	if opts.Source == nil || opts.History == nil || opts.Logger == nil {
		return nil, errors.New("make the status page: a source, a history and a logger are needed")
	}
	opts.setDefaults()
	p := &Page{
		opts: opts, traces: make(gate, 2), letters: make(gate, 2), streams: make(gate, opts.MaxClients),
		wake: make(chan struct{}, 1), changed: make(chan struct{}), done: make(chan struct{}),
	}
	p.collect = collector{opts: &p.opts, curves: &p.curves}
	p.curves.opts, p.curves.ended = &p.opts, p.done
	p.curves.work = make(gate, 1)
	var err error
	if p.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	p.handler = p.routes()
	return p, nil
}

var _ http.Handler = (*Page)(nil)

// ServeHTTP answers GET and HEAD.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// lookedFor is how long after a request somebody is taken to be still looking.
const lookedFor = 5 * time.Second

// Run reads while somebody looks, until ctx ends. Then every stream of events ends.
func (p *Page) Run(ctx context.Context) {
	defer close(p.done)
	var curves sync.WaitGroup
	defer curves.Wait()
	tick := time.NewTicker(p.opts.Every)
	defer tick.Stop()
	for {
		if time.Since(time.Unix(0, p.asked.Load())) > lookedFor {
			select {
			case <-ctx.Done():
				return
			case <-p.wake:
				continue
			}
		}
		p.publish(p.collect.round(ctx))
		curves.Go(func() { p.curves.renew(ctx) })
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (p *Page) publish(s *snapshot) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = s
	close(p.changed)
	p.changed = make(chan struct{})
}

// current is what was read last, nil before that, and what tells of the next.
func (p *Page) current() (*snapshot, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now, p.changed
}

// look tells the collector that somebody looks.
func (p *Page) look() {
	p.asked.Store(time.Now().UnixNano())
	select {
	case p.wake <- struct{}{}:
	default: // it knows
	}
}

// fresh is a snapshot that is hardly older than the interval of reading, or the last one there is when Redis takes long;
// nil when there is none.
func (p *Page) fresh(ctx context.Context) *snapshot {
	p.look()
	wait := time.NewTimer(p.opts.PollTimeout)
	defer wait.Stop()
	for {
		s, changed := p.current()
		if s != nil && time.Since(s.made) < 2*p.opts.Every {
			return s
		}
		select {
		case <-changed:
		case <-wait.C:
			return s
		case <-p.done:
			return s
		case <-ctx.Done():
			return s
		}
	}
}

// gate lets so many through at once as it has room.
type gate chan struct{}

// enter waits for room until ctx ends.
func (g gate) enter(ctx context.Context) bool {
	select {
	case g <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// try enters if there is room now.
func (g gate) try() bool {
	select {
	case g <- struct{}{}:
		return true
	default:
		return false
	}
}

func (g gate) leave() { <-g }
