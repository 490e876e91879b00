package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"

	"heatobserver/config"
	"heatobserver/entry"
	"heatobserver/event"
	"heatobserver/handlers"
	"heatobserver/heat"
	"heatobserver/middleware"
	"heatobserver/stream"
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
	// Started is called once the handlers read, with the address of metrics and health.
	Started func(addr net.Addr)

	built func(*processor) // lets a test reach into the run
}

// processor is a running observer.
type processor struct {
	cfg     config.Config
	log     *slog.Logger
	client  redis.UniversalClient
	clock   *clock
	metrics *metrics

	reader     *heat.Reader
	waiter     *heat.Waiter
	saturation *middleware.Saturation

	mu       sync.Mutex
	handlers []*handler
	draining bool

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
	server := newServer(newHandler(p.metrics.registry, p.alive, p.ready, cfg.HTTP.Pprof), p.log)
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

	p.clock = &clock{client: p.client, trip: p.metrics.roundTrip}
	if err := p.clock.measure(ctx); err != nil {
		p.log.WarnContext(ctx, "Redis does not answer; trying until it does", "redis", cfg.Redis.Where(), "err", err)
	}
	running.Go(func() { p.clock.run(background, 10*time.Second) })

	if opts.Supervisor != nil {
		running.Go(func() { supervise(background, ctx, opts.Supervisor, p.alive, p.ready, p.log) })
	}
	if !cfg.EarlyEnabled() && !cfg.LateEnabled() {
		p.log.WarnContext(ctx, "observing is switched off by P28_HEAT_OBS_ENABLED: nothing is read", "http", listener.Addr())
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
	return p.observe(ctx, failed, func() {
		p.log.InfoContext(ctx, "observing", "redis", cfg.Redis.Where(), "stream", cfg.Streams.Plan, "prefix", cfg.HeatLookupPrefix,
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

	switch {
	case p.cfg.Late.Notify != config.NotifyAuto || !p.cfg.LateEnabled():
	case len(p.cfg.Redis.Cluster) > 0:
		p.log.InfoContext(ctx, "heat is polled: on a cluster its writes are not announced", "poll", p.cfg.Late.Poll)
	default:
		opts, err := redisOptions(p.cfg.Redis, p.cfg.Read.Block)
		if err != nil {
			return err
		}
		watcher, err := heat.NewWatcher(tracking(p.cfg.Redis, opts), p.cfg.HeatLookupPrefix, p.waiter, heat.WatcherOptions{Log: p.log})
		if err != nil {
			return err
		}
		running.Go(func() { _ = watcher.Run(ctx) }) // it returns only the cause of ctx
		p.metrics.gauge("notifications_healthy", "1 while Redis announces writes of heat to this process.", nil,
			func() float64 { return boolean(watcher.Healthy()) })
	}
	return nil
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

// The names of the handlers, which are label values.
const (
	early = "early"
	late  = "late"
)

func (p *processor) addHandlers(router *message.Router) error {
	settings := handlers.Settings{
		Rules:         event.Rules{MaxWait: p.cfg.Late.MaxWait, Poll: p.cfg.Late.Poll, MaxErrors: p.cfg.Late.MaxRedisErrors},
		MaxDebugChars: p.cfg.Output.MaxDebugChars,
		Now:           p.clock.Now,
	}
	if p.cfg.EarlyEnabled() {
		err := p.addHandler(router, observer{
			name: early, group: p.cfg.Groups.Early, inFlight: p.cfg.Early.MaxInflight, handle: handlers.NewEarly(p.reader, settings),
			bundle: handlers.NewEarlyBundle(p.reader, settings), bundles: func(entry.ID) bool { return true },
		})
		if err != nil {
			return err
		}
	}
	if !p.cfg.LateEnabled() {
		return nil
	}
	inFlight := p.cfg.Late.MaxInflight
	skip := p.cfg.Late.OnSaturation == config.SaturationSkip
	p.saturation = middleware.NewSaturation(middleware.SaturationConfig{
		Limit: inFlight, Skip: skip, Logger: p.log.With("handler", late),
		Hint: fmt.Sprintf("raise P28_LATE_OBS_MAX_INFLIGHT: %d waiting plans are good for %d ÷ heat delay plans/s", inFlight, inFlight),
	})
	if skip {
		inFlight += 2 * p.cfg.Read.Batch // the subscriber reads on at saturation, or there would be nothing to skip
	} else {
		inFlight++ // one plan that finds no place, or nobody would notice saturation and log it
	}
	o := observer{
		name: late, group: p.cfg.Groups.Late, inFlight: inFlight, handle: handlers.NewLate(p.waiter, settings),
		bundle: handlers.NewLateBundle(p.waiter, settings, p.saturation.Note), bundles: func(entry.ID) bool { return true },
		own: []message.HandlerMiddleware{p.saturation.Middleware},
	}
	if skip {
		o.bundles = nil // at saturation everything beyond the limit is skipped, whatever its age
	}
	return p.addHandler(router, o)
}

// observer is one of the two handlers before it has its transport.
type observer struct {
	name, group string
	inFlight    int
	handle      message.HandlerFunc
	own         []message.HandlerMiddleware // beside those that both have

	bundle  handlers.Bundle
	bundles func(entry.ID) bool // which entries may be bundled; nil for none
}

// addHandler gives a handler its own group and transport. The middleware is added from the outside in; its order is part
// of the design (ARCHITECTURE.md).
func (p *processor) addHandler(router *message.Router, o observer) error {
	name, group := o.name, o.group
	log := p.log.With("handler", name)
	if p.cfg.Throttle.PerSec > 0 || p.cfg.Throttle.FleetPerSec > 0 {
		o.bundles = nil // the limit holds for each plan
	}
	out := p.cfg.Output
	subscriber, err := stream.NewSubscriber(p.client, stream.SubscriberConfig{
		Group:        group,
		Consumer:     p.cfg.Groups.Consumer + "-" + process,
		Codec:        stream.Either{},
		MaxInFlight:  o.inFlight,
		Batch:        min(p.cfg.Read.Batch, o.inFlight),
		Bundle:       o.bundles,
		Block:        p.cfg.Read.Block,
		MinIdle:      p.cfg.Read.ClaimMinIdle,
		CloseTimeout: p.cfg.DrainTimeout,
		Start:        p.cfg.Groups.Start,
		Lookback:     p.cfg.Late.MaxWait,
		KeyPrefix:    out.KeyPrefix,
		CursorKey:    func(name string) string { return cursorKey(p.cfg, name, group) },
		Redrive:      p.cfg.Streams.Redrive,
		DeadStream:   p.cfg.Streams.Dead,
		DeadMaxLen:   p.cfg.Streams.DeadMaxLen,
		DeadTTL:      out.DedupeTTL,
		Logger:       log,
		Events:       p.metrics,
	})
	if err != nil {
		return err
	}
	// The router closes both, but only of a handler that it came to run.
	p.atEnd("subscriber of the "+name+" handler", subscriber.Close)
	publisher, err := stream.NewPublisher(p.client, stream.PublisherConfig{
		Fields:       event.ObservationFields[:],
		MaxLen:       p.cfg.Streams.ObservedMaxLen,
		DedupePrefix: out.DedupePrefix,
		DedupeTTL:    out.DedupeTTL,
		KeyPrefix:    out.KeyPrefix,
		Batch:        out.CommitBatch,
		Logger:       log,
		Events:       p.metrics,
	})
	if err != nil {
		return err
	}
	p.atEnd("publisher of the "+name+" handler", publisher.Close)
	routed := router.AddHandler(name, p.cfg.Streams.Plan, subscriber, p.cfg.Streams.Observed, publisher, o.handle)
	routed.AddMiddleware(middleware.Bundled(middleware.BundleHandler(o.bundle), p.metrics.handler(name), log))
	routed.AddMiddleware(middleware.Metrics(p.metrics.handler(name)))
	routed.AddMiddleware(middleware.DeadLetter(log))
	routed.AddMiddleware(middleware.Retry(middleware.RetryConfig{
		MaxFailures: p.cfg.Read.MaxFailures, OnRetry: func() { p.metrics.Failed(name) },
	}))
	routed.AddMiddleware(o.own...)
	if perSec := p.cfg.Throttle.PerSec; perSec > 0 {
		routed.AddMiddleware(middleware.Throttle(perSec, p.cfg.Throttle.EffectiveBurst()))
	}
	if perSec := p.cfg.Throttle.FleetPerSec; perSec > 0 {
		limiter := newFleetLimiter(p.client, out.KeyPrefix+"throttle:"+name, perSec, log)
		routed.AddMiddleware(middleware.ThrottleBy(limiter))
	}
	routed.AddMiddleware(middleware.Recoverer)
	h := &handler{name: name, group: group, subscriber: subscriber, routed: routed}
	p.mu.Lock()
	p.handlers = append(p.handlers, h)
	p.mu.Unlock()
	p.metrics.gauge("inflight_plans", "Plans in the hands of this process, read and not settled.", map[string]string{"handler": name},
		func() float64 {
			n := 0
			for _, s := range h.subscriber.Subscriptions() {
				n += s.InFlight
			}
			return float64(n)
		})
	limit := o.inFlight
	if name == late {
		limit = p.cfg.Late.MaxInflight // the subscriber reads a few more, so that saturation is noticed
	}
	p.metrics.gauge("inflight_limit_plans", "Plans that may be in flight in this process before it is saturated.", map[string]string{"handler": name},
		func() float64 { return float64(limit) })
	p.metrics.gauge("subscribed", "1 while the handler reads its streams.", map[string]string{"handler": name},
		func() float64 { return boolean(h.reads()) })
	return nil
}

// observeGroups has the state of the groups appear in the metrics.
func (p *processor) observeGroups() {
	var groups []streamGroup
	for _, h := range p.running() {
		groups = append(groups, streamGroup{p.cfg.Streams.Plan, h.group}, streamGroup{p.cfg.Streams.Redrive, h.group})
	}
	p.metrics.registry.MustRegister(newGroupCollector(p.client, groups))
	p.metrics.gauge("clock_offset_seconds", "What the clock of Redis is ahead of the local one; it is corrected.", nil,
		func() float64 { return p.clock.Offset().Seconds() })
}

// process tells this process from all others, also from its predecessor, which may be a zombie that wakes up.
var process = strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixMilli(), 36)

// running are the handlers, for those who look from the outside.
func (p *processor) running() []*handler {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.handlers)
}

// alive checks that the loops come round. A reader that waits for room or for Redis is alive.
func (p *processor) alive(context.Context) []string {
	var wrong []string
	limit := 3*p.cfg.Read.Block + 15*time.Second
	for _, h := range p.running() {
		for _, s := range h.subscriber.Subscriptions() {
			if idle := time.Since(s.Progress); idle > limit && !s.Draining {
				wrong = append(wrong, fmt.Sprintf("the reader of the %s handler has not come round for %v", h.name, idle.Round(time.Second)))
			}
		}
	}
	p.mu.Lock()
	waiter := p.waiter
	p.mu.Unlock()
	if waiter != nil {
		if overdue := waiter.Overdue(); overdue > waiterLimit {
			wrong = append(wrong, fmt.Sprintf("waiting plans have not been looked at for %v", overdue.Round(time.Second)))
		}
	}
	return wrong
}

// waiterLimit is how late a look at a waiting plan may be: far beyond the timeouts of one, which a Redis that does not
// answer uses up.
const waiterLimit = 30 * time.Second

// ready checks that plans are being observed.
func (p *processor) ready(ctx context.Context) []string {
	var wrong []string
	p.mu.Lock()
	if p.draining {
		wrong = append(wrong, "draining")
	}
	p.mu.Unlock()
	if err := p.client.Ping(ctx).Err(); err != nil {
		wrong = append(wrong, fmt.Sprintf("Redis does not answer: %v", err))
	}
	if since := p.metrics.commitsFailSince(); !since.IsZero() {
		wrong = append(wrong, "observations cannot be written since "+since.Format(time.RFC3339))
	}
	running := p.running()
	if len(running) == 0 && p.cfg.EarlyEnabled() {
		wrong = append(wrong, "the handlers have not started")
	}
	for _, h := range running {
		subscriptions := h.subscriber.Subscriptions()
		if len(subscriptions) == 0 {
			wrong = append(wrong, fmt.Sprintf("the %s handler is not subscribed", h.name))
		}
		for _, s := range subscriptions {
			switch {
			case s.Err != nil:
				wrong = append(wrong, fmt.Sprintf("the %s handler cannot read: %v", h.name, s.Err))
			case !s.GroupExists:
				wrong = append(wrong, fmt.Sprintf("group %s does not exist yet", h.group))
			}
		}
	}
	return wrong
}
