package app

import (
	"fmt"
	"time"
)

// NewFleetLimiter is a worker's side of the limit over all workers.
var NewFleetLimiter = newFleetLimiter

// Patient has a limiter wait for a busy Redis, where it would let everything pass.
func Patient(l *fleetLimiter, timeout time.Duration) *fleetLimiter {
	l.timeout = timeout
	return l
}

// WithEnd adds to the options what ends the subscription of a handler behind the application's back, as a defect of the
// transport would: nothing that Redis answers does.
func WithEnd(opts Options, handler string) (Options, func() error) {
	var p *processor
	opts.built = func(built *processor) { p = built }
	return opts, func() error {
		for _, h := range p.running() {
			if h.name == handler {
				return h.subscriber.Close()
			}
		}
		return fmt.Errorf("there is no handler %s", handler)
	}
}
