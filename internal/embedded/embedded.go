// Package embedded runs a Redis inside the process, for the demo and for tests that need no real one. It is
// miniredis with its clock running: keys expire in real time, and TIME and entry IDs follow the local clock.
//
// It is a stand-in, no proof. What it lacks of what the project uses elsewhere:
//
//   - CLIENT TRACKING: an unknown subcommand, so heat is found by polling;
//   - entries that were trimmed away while pending: XAUTOCLAIM neither lists nor removes them; XPENDING and
//     XINFO GROUPS hide them, XINFO CONSUMERS counts them until they are acknowledged;
//   - the cost of XPENDING grows with all that is pending in the group, whatever range is asked for;
//   - XINFO GROUPS: lag is the length of the stream; XINFO STREAM: only length and last-generated-id;
//   - INFO: only a part, without redis_version; ACL, memory limits, persistence and replication: nothing;
//   - expiry is exact to a tenth of a second, coarser beyond some ten thousand keys.
package embedded

import (
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// The clock ticks once in tick, and so seldom that it costs at most one part in idleShare of the time: one tick
// walks over all keys while commands wait.
const (
	tick      = 100 * time.Millisecond
	idleShare = 50
)

// Server is a running Redis. Close ends it.
type Server struct {
	redis *miniredis.Miniredis
	stop  chan struct{}
	done  chan struct{}
}

// Start starts a Redis on a free port of the loopback interface. It holds everything in memory.
func Start() (*Server, error) {
	redis := miniredis.NewMiniRedis()
	if err := redis.Start(); err != nil {
		return nil, fmt.Errorf("start the embedded redis: %w", err)
	}
	s := &Server{redis: redis, stop: make(chan struct{}), done: make(chan struct{})}
	go s.runClock()
	return s, nil
}

// Addr is "host:port".
func (s *Server) Addr() string { return s.redis.Addr() }

// Close ends the clock and the server and drops all connections. It returns when both have ended, always with
// a nil error; calling it twice panics.
func (s *Server) Close() error {
	close(s.stop)
	<-s.done
	s.redis.Close()
	return nil
}

// runClock lets keys expire: on its own miniredis counts down no TTL. (Its ClockTTL would, by walking over all
// keys at every single command.)
func (s *Server) runClock() {
	defer close(s.done)
	timer := time.NewTimer(tick)
	defer timer.Stop()
	last := time.Now()
	for {
		select {
		case <-s.stop:
			return
		case now := <-timer.C:
			s.redis.FastForward(now.Sub(last))
			last = now
			timer.Reset(max(tick, idleShare*time.Since(now)))
		}
	}
}
