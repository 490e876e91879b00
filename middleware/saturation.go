package middleware

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/stream"
)

// Saturation bounds how many messages are with the handler at once, whatever subscription they come from
// (production-safety rule 2). The count goes down on every way out of the handler, panics included.
type Saturation struct {
	cfg   SaturationConfig
	slots chan struct{}
	warn  atomic.Int64 // when saturation was last logged, in unix ms
}

// SaturationConfig says how many, and what happens beyond.
type SaturationConfig struct {
	// Limit is how many messages may be with the handler at once, at least 1.
	Limit int
	// Skip acknowledges a message beyond the limit without an answer, and counts it. Otherwise it waits for its turn.
	Skip bool
	// Hint is logged with saturation, at most once in ten seconds: what to do about it.
	Hint   string
	Logger *slog.Logger
}

// NewSaturation makes the bound.
func NewSaturation(cfg SaturationConfig) *Saturation {
	return &Saturation{cfg: cfg, slots: make(chan struct{}, max(1, cfg.Limit))}
}

// InFlight is how many messages are with the handler.
func (s *Saturation) InFlight() int { return len(s.slots) }

// Middleware applies the bound.
func (s *Saturation) Middleware(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		ctx := msg.Context()
		select {
		case s.slots <- struct{}{}:
		default:
			s.Note(ctx)
			if s.cfg.Skip {
				return nil, s.drop(ctx)
			}
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		defer func() { <-s.slots }()
		return next(msg)
	}
}

// drop fails open: an observer that is behind must never hold anybody up.
func (s *Saturation) drop(ctx context.Context) error {
	d := stream.DeliveryFrom(ctx)
	if d != nil {
		if err := d.Drop(ctx); err != nil {
			return err
		}
		s.cfg.Logger.DebugContext(ctx, "dropped a message at saturation", "limit", s.cfg.Limit,
			"entry_id", d.Entry().ID.String())
	}
	return nil
}

// Note is for saturation that somebody else has noticed.
func (s *Saturation) Note(ctx context.Context) {
	const every = 10 * time.Second
	now, last := time.Now().UnixMilli(), s.warn.Load()
	if now-last < every.Milliseconds() || !s.warn.CompareAndSwap(last, now) {
		return
	}
	s.cfg.Logger.WarnContext(ctx, "saturated: as many messages are in flight as may be",
		"limit", s.cfg.Limit, "skip", s.cfg.Skip, "hint", s.cfg.Hint)
}
