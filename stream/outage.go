package stream

import "sync/atomic"

// outage is a kind of write that fails and is tried until it works. Reading may go on meanwhile (OOM, a key of another
// type, a right that is missing), so that nothing else would say why nothing is written.
type outage struct {
	op string
	on atomic.Bool
}

// noteWrite logs with its cause that an outage has begun, and that it is over: each once.
func (s *subscription) noteWrite(o *outage, err error) {
	switch {
	case err != nil && !o.on.Swap(true):
		s.log.Warn("writing failed; trying again until it works", "op", o.op, "err", err)
	case err == nil && o.on.Load() && o.on.Swap(false):
		s.log.Info("writing works again", "op", o.op)
	}
}
