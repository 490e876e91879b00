package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"heatobserver/config"
	"heatobserver/event"
	"heatobserver/heat"
	"heatobserver/middleware"
	"heatobserver/stream"
	"heatobserver/tracing"
)

// Options are what a run takes beside its configuration.
type Options struct {
	Logger *slog.Logger
	// RedisHook sees the connections and commands of the run's client, lookups as connections only (go-redis copies no
	// hooks to a client with a timeout of its own): for tracing, and for tests that do harm. Default: none.
	RedisHook redis.Hook
	// Listener is served instead of one on the configured address.
	Listener net.Listener
	// Supervisor is told that the run is ready, alive and draining. Default: nobody is.
	Supervisor *Supervisor
	// Started is called once the handlers read, with the address of metrics, health and the status page.
	Started func(addr net.Addr)

	built func(*processor) // lets a test reach into the run
}

// processor is a running observer.
type processor struct {
	cfg     config.Config
	log     *slog.Logger
	client  redis.UniversalClient
	side    redis.UniversalClient // for what stands beside observing
	clock   *clock
	metrics *metrics
	tracer  *tracing.Tracer // nil when off

	reader     *heat.Reader
	waiter     *heat.Waiter
	saturation *middleware.Saturation

	mu       sync.Mutex
	handlers []*handler
	draining bool
	drained  bool

	cleanups []cleanup
}

// handler is one of the two observers with its transport.
type handler struct {
	name       string
	group      string
	subscriber *stream.Subscriber
	routed     *message.Handler
}

// reads reports whether every subscription of the handler can read; with none it reads nothing.
func (h *handler) reads() bool {
	all := h.subscriber.Subscriptions()
	return len(all) > 0 && !slices.ContainsFunc(all, func(s stream.SubscriptionState) bool { return s.Err != nil || !s.GroupExists })
}

// cleanup is one step of taking the house down.
type cleanup struct {
	name string
	do   func() error
}

func (p *processor) atEnd(name string, do func() error) {
	p.cleanups = append(p.cleanups, cleanup{name, do})
}

// close takes everything down, the last built first.
func (p *processor) close() error {
	var errs []error
	for i := len(p.cleanups) - 1; i >= 0; i-- {
		if err := p.cleanups[i].do(); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", p.cleanups[i].name, err))
		}
	}
	return errors.Join(errs...)
}

// Run observes until ctx ends, then drains and returns nil. Any other end is an error: a handler that stopped, a
// listener that failed. A *ConfigError is for the operator to mend.
func Run(ctx context.Context, cfg config.Config, opts Options) (err error) {
	p := &processor{cfg: cfg, log: opts.Logger}
	defer func() { err = errors.Join(err, p.close()) }()
	defer tune(ctx, cfg.Runtime, opts.Logger)()

	listener := opts.Listener
	if listener == nil {
		if listener, err = listen(ctx, cfg.HTTP.Addr); err != nil {
			return err
		}
	}
	if p.tracer, err = startTracing(ctx, cfg.Groups.Consumer, opts.Logger); err != nil {
		return errors.Join(err, listener.Close())
	}
	p.atEnd("tracing", func() error { return endTracing(p.tracer, opts.Logger) })
	if p.client, err = NewClient(cfg); err != nil {
		return errors.Join(err, listener.Close())
	}
	p.atEnd("redis client", p.client.Close)
	if opts.RedisHook != nil {
		p.client.AddHook(opts.RedisHook)
	}
	p.metrics = newMetrics(cfg.Late.MaxWait, []string{cfg.Groups.Early, cfg.Groups.Late})

	// What runs beside the handlers outlives ctx, because a drain still needs it.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	p.atEnd("background work", func() error { stop(); running.Wait(); return nil })

	failed := make(chan error, 3)
	page, err := p.newPage()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	server := newServer(newHandler(p.metrics.registry, p.alive, p.ready, cfg.HTTP, page), p.log)
	running.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serve metrics and health: %w", err)
		}
	})
	p.atEnd("http server", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			return server.Close()
		}
		return nil
	})
	paging, stopPaging := context.WithCancel(background)
	running.Go(func() { page.Run(paging) })
	p.atEnd("status page", func() error { stopPaging(); return nil }) // or its readers would hold the server up

	p.clock = newClock(p.side, p.metrics.roundTrip)
	if err := p.clock.measure(ctx); err != nil {
		p.log.WarnContext(ctx, "Redis does not answer; trying until it does", "redis", cfg.Redis.Where(), "err", err)
	}
	running.Go(func() { p.clock.run(background, 10*time.Second) })

	const switchedOff = "observing is switched off by P28_HEAT_OBS_ENABLED: nothing is read"
	observing := cfg.EarlyEnabled() || cfg.LateEnabled()
	if opts.Supervisor != nil {
		doing := "observing"
		if !observing {
			doing = switchedOff
		}
		running.Go(func() { supervise(background, ctx, opts.Supervisor, doing, p.alive, p.ready, p.log) })
	}
	if !observing {
		p.log.WarnContext(ctx, switchedOff, "http", listener.Addr())
		if opts.Started != nil {
			opts.Started(listener.Addr())
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		}
	}
	if err := p.build(background, &running); err != nil {
		return err
	}
	if opts.built != nil {
		opts.built(p)
	}
	if cfg.AtLeastOnce() {
		p.log.WarnContext(ctx, "observations are written at least once: on a Redis Cluster names without a common hash tag cannot be committed in one script. "+
			"A worker that dies while it writes may leave an observation twice. A tag in all names, or P28_PLAN_STREAMS, makes it exactly once (docs/scaling.md)")
	}
	return p.observe(ctx, failed, func() {
		p.log.InfoContext(ctx, "observing", "redis", cfg.Redis.Where(), "streams", strings.Join(cfg.PlanStreams(), " "), "prefix", cfg.HeatLookupPrefix,
			"early", cfg.EarlyEnabled(), "late", cfg.LateEnabled(), "http", listener.Addr().String())
		if opts.Started != nil {
			opts.Started(listener.Addr())
		}
	})
}

// build makes what looks heat up and waits for it. Early and late share the one lookup object: production-safety rule 1.
func (p *processor) build(ctx context.Context, running *sync.WaitGroup) (err error) {
	rules := event.Rules{MaxWait: p.cfg.Late.MaxWait, Poll: p.cfg.Late.Poll, MaxErrors: p.cfg.Late.MaxRedisErrors}
	told := p.metrics.heat()
	p.reader, err = heat.NewReader(p.client, p.cfg.HeatLookupPrefix, heat.ReaderOptions{Now: p.clock.Now, Metrics: told})
	if err != nil {
		return err
	}
	p.atEnd("heat reader", func() error { p.reader.Close(); return nil })

	watchFor := p.cfg.Late.Watch
	if watchFor == 0 {
		watchFor = -1
	}
	waiter, err := heat.NewWaiter(p.reader, heat.WaiterOptions{
		Rules: rules, MaxWorkers: p.cfg.Late.MaxWorkers, SweepFactor: p.cfg.Late.SweepFactor, WatchFor: watchFor,
		MaxWaiting: p.cfg.Late.MaxInflight,
		Now:        p.clock.Now, Metrics: told,
	})
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.waiter = waiter // health may be asked for already
	p.mu.Unlock()
	p.atEnd("waiter", func() error { p.waiter.Close(); return nil })
	p.metrics.gauge("waiting_plans", "Plans that wait for their heat in this process.", nil, func() float64 { return float64(p.waiter.Len()) })

	if p.cfg.Late.Notify != config.NotifyAuto || !p.cfg.LateEnabled() {
		return nil
	}
	watcher, err := p.newWatcher()
	if err != nil {
		return err
	}
	running.Go(func() { _ = watcher.Run(ctx) }) // it returns only the cause of ctx
	p.metrics.gauge("notifications_healthy", "1 while Redis announces writes of heat to this process.", nil,
		func() float64 { return boolean(watcher.Healthy()) })
	return nil
}

// watcher has writes of heat announced.
type watcher interface {
	Run(ctx context.Context) error
	Healthy() bool
}

func (p *processor) newWatcher() (watcher, error) {
	opts := heat.WatcherOptions{Log: p.log}
	if cluster, ok := p.client.(*redis.ClusterClient); ok {
		return heat.NewNodesWatcher(cluster, p.cfg.HeatLookupPrefix, p.waiter, opts)
	}
	connection, err := redisOptions(p.cfg)
	if err != nil {
		return nil, err
	}
	return heat.NewWatcher(tracking(p.cfg.Redis, connection), p.cfg.HeatLookupPrefix, p.waiter, opts)
}

// observe runs the router until ctx ends or something else does.
func (p *processor) observe(ctx context.Context, failed <-chan error, started func()) error {
	router, err := message.NewRouter(message.RouterConfig{
		CloseTimeout: p.cfg.DrainTimeout + p.cfg.Read.Block + 3*time.Second,
	}, newRouterLog(p.log))
	if err != nil {
		return fmt.Errorf("create router: %w", err)
	}
	if err := p.addHandlers(router); err != nil {
		return err
	}
	p.observeGroups()
	p.announce(ctx)

	done := make(chan error, 1)
	go func() { done <- router.Run(context.WithoutCancel(ctx)) }()
	select {
	case <-router.Running():
	case err := <-done:
		return fmt.Errorf("start the handlers: %w", orUnexpected(err))
	}
	stopped := p.stopped()
	started()

	var cause error
	select {
	case <-ctx.Done():
		p.log.InfoContext(ctx, "draining", "timeout", p.cfg.DrainTimeout)
	case cause = <-failed:
	case name := <-stopped:
		cause = fmt.Errorf("handler %s stopped though nobody asked it to: its subscription ended", name)
	case err := <-done:
		return fmt.Errorf("the router stopped though nobody asked it to: %w", orUnexpected(err))
	}
	p.mu.Lock()
	p.draining = true
	p.mu.Unlock()
	if err := router.Close(); err != nil {
		cause = errors.Join(cause, fmt.Errorf("drain: %w", err))
	}
	if err := <-done; err != nil {
		cause = errors.Join(cause, fmt.Errorf("run router: %w", err))
	}
	if cause == nil {
		p.mu.Lock()
		p.drained = true
		p.mu.Unlock()
		p.log.InfoContext(ctx, "drained")
	}
	return cause
}

var errUnexpected = errors.New("it returned without an error")

func orUnexpected(err error) error {
	if err == nil {
		return errUnexpected
	}
	return err
}

// stopped yields the name of a handler that has stopped, of those that the router runs.
func (p *processor) stopped() <-chan string {
	names := make(chan string, len(p.handlers))
	for _, h := range p.running() {
		go func() { // ends with the handler, which the router always stops
			<-h.routed.Stopped()
			names <- h.name
		}()
	}
	return names
}
