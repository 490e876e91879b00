package app

import (
	"context"
	"log/slog"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"heatobserver/config"
)

// containerShare of a container's memory is for Go; the rest is for what Go does not account for.
const containerShare = 0.9

// tune sets up Go's garbage collector and returns how to undo it. What the observer keeps is small and what it throws
// away is much, so that memory buys CPU cheaply; the limit takes it back where there is little.
func tune(ctx context.Context, cfg config.Runtime, log *slog.Logger) (undo func()) {
	percent := debug.SetGCPercent(cfg.GCPercent)
	limit, given := cfg.Limit()
	if !given {
		limit = ContainerLimit()
	}
	before := debug.SetMemoryLimit(-1)
	if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	log.DebugContext(ctx, "set up the garbage collector", "gogc", cfg.GCPercent, "gomemlimit", debug.SetMemoryLimit(-1))
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(before)
	}
}

// HistoryRoom is the GOGC of a walk over a history, in percent.
const HistoryRoom = 33

// TuneForHistory sets up Go's garbage collector for a walk over a history, which keeps much for long and throws little away.
// The usual room, as much again as what is alive, would let memory go by the length of the walk: a short one ends before
// the room is full. A third of it costs a few percent of speed. A GOGC that is given stays. undo puts back what was before.
func TuneForHistory(ctx context.Context, cfg config.Runtime, log *slog.Logger) (undo func()) {
	if !cfg.GCGiven {
		cfg.GCPercent = HistoryRoom
	}
	return tune(ctx, cfg, log)
}

// ContainerLimit is Go's share of the limit of the cgroup that this process is in, in bytes; 0 where there is none. It is
// what GOMEMLIMIT is unless somebody sets it.
func ContainerLimit() int64 {
	limit, err := memlimit.ApplyRatio(memlimit.FromCgroup, containerShare)()
	if err != nil || limit == 0 { // no cgroups, or none with a limit: nothing to keep to
		return 0
	}
	return int64(min(limit, 1<<62))
}
