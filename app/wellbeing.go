package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"heatobserver/stream"
)

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
	if err := p.side.Ping(ctx).Err(); err != nil { // that client keeps to the time of ctx
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
		wrong = append(wrong, h.unready(h.subscriber.Subscriptions())...)
	}
	return wrong
}

// unready is what keeps a handler from reading, each thing once: its subscriptions meet the same outage.
func (h *handler) unready(subscriptions []stream.SubscriptionState) (wrong []string) {
	if len(subscriptions) == 0 {
		return []string{fmt.Sprintf("the %s handler is not subscribed", h.name)}
	}
	for _, s := range subscriptions {
		var text string
		switch {
		case s.Err != nil:
			text = fmt.Sprintf("the %s handler cannot read: %v", h.name, s.Err)
		case !s.GroupExists:
			text = fmt.Sprintf("group %s does not exist yet", h.group)
		}
		if text != "" && !slices.Contains(wrong, text) {
			wrong = append(wrong, text)
		}
	}
	return wrong
}
