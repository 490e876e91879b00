package app

import (
	"context"
	"log/slog"
	"strings"
	"time"
)

// Supervisor is a service manager that is told how a run is doing, in the states of systemd's sd_notify.
type Supervisor struct {
	// Notify sends one or more states ("READY=1"), each a line. It must return at once.
	Notify func(states string) error
	// Watchdog is within which time the manager wants a sign of life, 0 when it wants none.
	Watchdog time.Duration
}

// supervise tells the manager until ctx ends: READY once plans are observed, STATUS when what is wrong changes, and WATCHDOG
// for as long as the loops come round. A run that hangs gives no sign and is started again; one that waits for Redis is
// alive. doing is the STATUS when nothing is wrong. drain ends when the drain begins.
func supervise(ctx, drain context.Context, s *Supervisor, doing string, live, ready healthCheck, log *slog.Logger) {
	send := func(states ...string) {
		if err := s.Notify(strings.Join(states, "\n")); err != nil {
			log.WarnContext(ctx, "cannot tell the service manager", "err", err)
		}
	}
	every := time.Second
	if s.Watchdog > 0 {
		every = min(every, s.Watchdog/4)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	began, status, stopping := false, "", drain.Done()
	for {
		if s.Watchdog > 0 && len(live(ctx)) == 0 {
			send("WATCHDOG=1")
		}
		if drain.Err() == nil {
			// Redis is asked, so it may take its time; never as long as the next sign of life is due.
			within, cancel := context.WithTimeout(ctx, every)
			wrong := ready(within)
			cancel()
			now := doing
			if len(wrong) > 0 {
				now = "not ready: " + oneLine(strings.Join(wrong, "; "))
			}
			switch {
			case len(wrong) == 0 && !began:
				began = true
				send("READY=1", "STATUS="+now)
			case now != status:
				send("STATUS=" + now)
			}
			status = now
		}
		select {
		case <-ctx.Done():
			return
		case <-stopping:
			stopping = nil
			send("STOPPING=1", "STATUS=draining")
		case <-tick.C:
		}
	}
}

// oneLine keeps a text from being taken for several states.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
