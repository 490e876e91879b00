package app

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/config"
	"heatobserver/event"
	"heatobserver/handlers"
	"heatobserver/middleware"
	"heatobserver/stream"
)

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
			bundle: handlers.NewEarlyBundle(p.reader, settings), bundles: true,
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
	return p.addHandler(router, observer{
		name: late, group: p.cfg.Groups.Late, inFlight: inFlight, handle: handlers.NewLate(p.waiter, settings),
		bundle:  handlers.NewLateBundle(p.waiter, settings, p.saturation.Note),
		bundles: !skip, // at saturation everything beyond the limit is skipped, whatever its age
		own:     []message.HandlerMiddleware{p.saturation.Middleware},
	})
}

// observer is one of the two handlers before it has its transport.
type observer struct {
	name, group string
	inFlight    int
	handle      message.HandlerFunc
	own         []message.HandlerMiddleware // beside those that both have

	bundle  handlers.Bundle
	bundles bool // its entries travel in bundles
}

// addHandler gives a handler its own group and transport. The middleware is added from the outside in; its order is part
// of the design (ARCHITECTURE.md).
func (p *processor) addHandler(router *message.Router, o observer) error {
	name, group := o.name, o.group
	log := p.log.With("handler", name)
	events := p.tracer.Events(p.metrics, p.cfg.Streams.Observed)
	if p.cfg.Throttle.PerSec > 0 || p.cfg.Throttle.FleetPerSec > 0 {
		o.bundles = false // the limit holds for each plan
	}
	out := p.cfg.Output
	partitions := partitionsOf(p.cfg)
	subscriber, err := stream.NewSubscriber(p.client, stream.SubscriberConfig{
		Group:        group,
		Consumer:     p.consumer(),
		Codec:        stream.Either{},
		MaxInFlight:  o.inFlight + max(0, len(partitions)-1), // an idle reader holds room for one entry
		Partitions:   partitions,
		Batch:        min(p.cfg.Read.Batch, o.inFlight),
		Bundles:      o.bundles,
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
		Lanes:        min(2*max(1, len(partitions)), 16),
		Logger:       log,
		Events:       events,
	})
	if err != nil {
		return err
	}
	p.atEnd("publisher of the "+name+" handler", publisher.Close)
	routed := router.AddHandler(name, p.cfg.Streams.Plan, subscriber, p.cfg.Streams.Observed, p.tracer.Publisher(publisher), o.handle)
	routed.AddMiddleware(p.clock.hold)
	routed.AddMiddleware(p.tracer.Outermost()...)
	routed.AddMiddleware(middleware.Bundled(p.tracer.Bundle(middleware.BundleHandler(o.bundle)), p.metrics.handler(name), log))
	routed.AddMiddleware(middleware.Metrics(p.metrics.handler(name)))
	routed.AddMiddleware(middleware.DeadLetter(log))
	routed.AddMiddleware(middleware.Retry(middleware.RetryConfig{
		MaxFailures: p.cfg.Read.MaxFailures, OnRetry: func() { p.metrics.Failed(name) },
	}))
	routed.AddMiddleware(p.tracer.Attempts()...)
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

// partitionsOf are the partitions as the transport has them, none when one stream shares its slot with all of its names.
func partitionsOf(cfg config.Config) (partitions []stream.Partition) {
	if !cfg.Partitioned() && !cfg.AtLeastOnce() {
		return nil
	}
	for _, names := range cfg.Names() {
		partitions = append(partitions, stream.Partition{
			Stream: names.Plan, Answers: names.Observed, Redrive: names.Redrive, DeadStream: names.Dead,
			DedupePrefix: names.DedupePrefix, KeyPrefix: names.KeyPrefix, RedriveKeyPrefix: names.RedriveKeyPrefix, Apart: names.Apart,
		})
	}
	return partitions
}

// observeGroups has the state of the groups appear in the metrics.
func (p *processor) observeGroups() {
	var groups []streamGroup
	for _, h := range p.running() {
		for _, names := range p.cfg.Names() {
			groups = append(groups, streamGroup{names.Plan, h.group}, streamGroup{names.Redrive, h.group})
		}
	}
	p.metrics.registry.MustRegister(newGroupCollector(p.side, groups))
	p.metrics.gauge("clock_offset_seconds", "What the clock of Redis is ahead of the local one; it is corrected.", nil,
		func() float64 { return p.clock.Offset().Seconds() })
}

// consumer is the consumer name of this process in both groups.
func (p *processor) consumer() string { return p.cfg.Groups.Consumer + "-" + process }

// process tells this process from all others, also from its predecessor, which may be a zombie that wakes up.
var process = strconv.Itoa(os.Getpid()) + "-" + strconv.FormatInt(time.Now().UnixMilli(), 36)
