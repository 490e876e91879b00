package chaos

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"heatobserver/entry"
)

// fault is one kind of harm. do returns when the harm is over, and false when there was nothing to harm.
type fault struct {
	name string
	do   func(*run) bool
}

// faults are all kinds, each of which a valid run has met at least twice.
var faults = []fault{
	{"worker killed", (*run).killWorker},
	{"zombie woken", (*run).zombie},
	{"worker drained", (*run).drainWorker},
	{"redis killed", func(r *run) bool { return r.crashRedis(0) }},
	{"redis lost power", func(r *run) bool { return r.crashRedis(16<<10 + r.rng.Int64N(400<<10)) }},
	{"redis hung", (*run).hang},
	{"connections cut", (*run).cut},
	{"replies dropped", (*run).dropReplies},
	{"latency 100 ms", (*run).latency},
	{"groups destroyed", (*run).destroyGroups},
	{"scripts flushed", (*run).flushScripts},
	{"clients killed", (*run).killClients},
	{"plans trimmed", (*run).trim},
	{"memory full", (*run).fillMemory},
	{"replica promoted", (*run).failOver},
}

// recovery is how long after a fault the clients' backoff may still last.
const recovery = 2500 * time.Millisecond

// between is a time from the seed.
func (r *run) between(least, most time.Duration) time.Duration {
	return least + time.Duration(r.rng.Int64N(int64(most-least)))
}

// last lets the harm last for a time from the seed.
func (r *run) last(least, most time.Duration) { time.Sleep(r.between(least, most)) }

// anyWorker picks a slot.
func (r *run) anyWorker() (int, *process) {
	i := r.rng.IntN(len(names))
	return i, r.fleet.running()[i]
}

// excused runs harm in whose time waits may be longer by extra, and for the time of recovery behind it.
func (r *run) excused(extra time.Duration, harm func()) {
	from := time.Now()
	harm()
	r.windows.add(window{from: from, to: time.Now().Add(recovery), extra: extra})
}

// killWorker kills a worker that holds entries and starts another one. What it held is claimed after min idle, found by
// the others within a second, and taken within another.
func (r *run) killWorker() bool {
	i, w := r.anyWorker()
	held := 0
	r.excused(minIdle+2*time.Second, func() {
		w.scrape()
		w.Kill()
		held = len(r.pending(w.Consumer()))
		r.fleet.start(i)
	})
	return held > 0
}

// zombie stops a worker that holds entries, waits until others have claimed and finished all of them, and wakes it.
func (r *run) zombie() bool {
	_, w := r.anyWorker()
	finished := false
	r.excused(minIdle+2*time.Second, func() {
		w.Signal(syscall.SIGSTOP)
		defer w.Signal(syscall.SIGCONT)
		held := r.pending(w.Consumer())
		if len(held) == 0 {
			return
		}
		finished = eventually(15*time.Second, func() bool {
			for _, id := range r.pending("") {
				if slices.Contains(held, id) {
					return false
				}
			}
			return true
		})
		if !finished {
			r.t.Errorf("what a stopped worker held was not claimed and finished within 15s")
		}
	})
	return finished
}

// drainWorker has a worker drain while it holds entries, and replaces it. Its plans wait at most a second longer.
func (r *run) drainWorker() bool {
	i, w := r.anyWorker()
	r.excused(time.Second, func() {
		w.scrape()
		w.Signal(syscall.SIGTERM)
		if !w.Wait(10 * time.Second) {
			r.t.Errorf("worker %s did not drain within 10s", w.Name)
			w.Kill()
		} else if w.Err() != nil {
			r.t.Errorf("worker %s did not end well after SIGTERM: %v", w.Name, w.Err())
		}
		r.fleet.start(i)
	})
	return true
}

// crashRedis kills Redis and starts it again on its append-only file. lost bytes are cut from the end of that file, as by
// a power failure before the system wrote them.
func (r *run) crashRedis(lost int64) bool {
	time.Sleep(time.Until(r.counted))
	ok := true
	r.excused(forever, func() {
		srv := r.primary()
		from := time.Now()
		srv.Kill()
		until := time.Now()
		if lost > 0 {
			ok = truncate(srv.Dir(), lost)
		}
		r.last(100*time.Millisecond, 600*time.Millisecond)
		srv.Restart()
		if lost > 0 {
			r.forgot(r.lastBefore(until), until)
			mustDo(r.t, "rewrite the append-only file", r.rewriteAOF())
		}
		r.down(from)
		r.load.rewrite()
		r.recover()
	})
	return ok
}

// rewriteAOF does what an operator has to do after a power failure (README, "Reliability"). A file that was torn within a
// transaction ends, after Redis has loaded it, with the transaction's beginning: what follows is taken for the rest of it
// when the file is loaded again, and an observation comes back without its dedupe key. Redis 7.0 does so.
func (r *run) rewriteAOF() error {
	ctx, cancel := deadline()
	defer cancel()
	if err := r.control.BgRewriteAOF(ctx).Err(); err != nil {
		return err
	}
	if !eventually(startLimit, func() bool {
		info, err := r.control.Info(ctx, "persistence").Result()
		return err == nil && strings.Contains(info, "aof_rewrite_in_progress:0") &&
			strings.Contains(info, "aof_rewrite_scheduled:0")
	}) {
		return errors.New("it takes too long")
	}
	return nil
}

// lastBefore is the last entry of the plan stream that was written before a moment.
func (r *run) lastBefore(t time.Time) string {
	ctx, cancel := deadline()
	defer cancel()
	list, err := r.control.XRevRangeN(ctx, planStream, entry.IDAt(t.Add(time.Millisecond)).String(), "-", 1).Result()
	mustDo(r.t, "read the last entry that Redis has kept", err)
	if len(list) == 0 {
		return "0-0"
	}
	return list[0].ID
}

// truncate cuts the end off the newest part of an append-only file.
func truncate(dir string, bytes int64) bool {
	parts, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(parts) == 0 {
		return false
	}
	slices.SortFunc(parts, func(a, b string) int { return len(a) - len(b) })
	last := parts[len(parts)-1]
	info, err := os.Stat(last)
	if err != nil || info.Size() <= bytes {
		return false
	}
	return os.Truncate(last, info.Size()-bytes) == nil
}

// hang lets Redis accept connections and commands and answer nothing.
func (r *run) hang() bool {
	r.excused(forever, func() {
		from := time.Now()
		r.primary().Pause()
		r.last(500*time.Millisecond, 1500*time.Millisecond)
		r.primary().Resume()
		r.down(from)
		r.recover()
	})
	return true
}

func (r *run) cut() bool {
	r.excused(forever, func() {
		for range 3 {
			r.proxy.Cut()
			r.last(20*time.Millisecond, 150*time.Millisecond)
		}
	})
	return true
}

// dropReplies loses the replies to scripts (commits and claims among them) and to reads that Redis has executed.
func (r *run) dropReplies() bool {
	before := r.proxy.Dropped()
	want := 4 + r.rng.IntN(6)
	r.excused(forever, func() {
		r.proxy.DropReplies(want, "evalsha", "eval", "xreadgroup")
		eventually(3*time.Second, func() bool { return r.proxy.Dropped()-before >= want })
		r.proxy.DropReplies(0)
	})
	return r.proxy.Dropped()-before >= want
}

func (r *run) latency() bool {
	r.excused(forever, func() {
		r.proxy.Latency(100 * time.Millisecond)
		r.last(700*time.Millisecond, 1500*time.Millisecond)
		r.proxy.Latency(0)
	})
	return true
}

// destroyGroups removes both groups while a stopped worker holds old entries and the others have finished newer ones, so
// that the groups begin again below what is done.
func (r *run) destroyGroups() bool {
	time.Sleep(time.Until(r.counted))
	_, w := r.anyWorker()
	held := 0
	r.excused(minIdle+2*time.Second, func() {
		w.Signal(syscall.SIGSTOP)
		defer w.Signal(syscall.SIGCONT)
		if held = len(r.pending(w.Consumer())); held == 0 {
			return
		}
		r.last(300*time.Millisecond, 600*time.Millisecond)
		ctx, cancel := deadline()
		defer cancel()
		for _, g := range groups {
			mustDo(r.t, "destroy group", r.control.XGroupDestroy(ctx, planStream, g).Err())
		}
		began := time.Now()
		healed := eventually(10*time.Second, func() bool {
			list, err := r.control.XInfoGroups(ctx, planStream).Result()
			return err == nil && len(list) == len(groups)
		})
		if took := time.Since(began); !healed || took > 2*time.Second {
			r.t.Errorf("the groups were not built again within 2s (healed: %v, after %v)", healed, took)
		}
	})
	return held > 0
}

func (r *run) flushScripts() bool {
	ctx, cancel := deadline()
	defer cancel()
	mustDo(r.t, "flush scripts", r.control.ScriptFlush(ctx).Err())
	return true
}

// killClients has the server close every connection but this one.
func (r *run) killClients() bool {
	r.excused(forever, func() {
		ctx, cancel := deadline()
		defer cancel()
		for _, kind := range []string{"normal", "pubsub"} {
			mustDo(r.t, "kill clients", r.control.ClientKillByFilter(ctx, "TYPE", kind, "SKIPME", "yes").Err())
		}
	})
	return true
}

// trim removes plans that wait in the hands of workers, and in half of the cases such that nobody has read.
func (r *run) trim() bool {
	waiting := 0
	r.excused(forever, func() {
		if r.rng.IntN(2) == 0 {
			stopped := r.fleet.running()
			for _, w := range stopped {
				w.Signal(syscall.SIGSTOP)
			}
			defer func() {
				for _, w := range stopped {
					w.Signal(syscall.SIGCONT)
				}
			}()
			r.last(100*time.Millisecond, 200*time.Millisecond)
		}
		waiting = len(r.pending(""))
		ctx, cancel := deadline()
		defer cancel()
		now, err := r.control.Time(ctx).Result()
		mustDo(r.t, "ask for the time", err)
		below := entry.IDAt(now.Add(-20 * time.Millisecond))
		mustDo(r.t, "trim", r.control.XTrimMinID(ctx, planStream, below.String()).Err())
		r.trims = append(r.trims, below)
	})
	// What was lost is counted within a second, or when it is claimed. A group that is destroyed before forgets it, as does a
	// server that is started again or takes over; and what a server loses of what it has written may be the count.
	r.counted = time.Now().Add(minIdle + 2*time.Second)
	return waiting > 0
}

// fillMemory has Redis refuse every write.
func (r *run) fillMemory() bool {
	r.excused(forever, func() {
		r.primary().ConfigSet("maxmemory", "1mb")
		r.last(300*time.Millisecond, 900*time.Millisecond)
		r.primary().ConfigSet("maxmemory", "0")
	})
	return true
}

// failOver makes the other server a replica, promotes it while the primary still takes writes, and moves everybody over:
// what the primary acknowledged after that moment is lost, as in a failover without WAIT.
func (r *run) failOver() bool {
	time.Sleep(time.Until(r.counted))
	old, next := r.primary(), r.standby()
	r.excused(forever, func() {
		next.Restart()
		next.Replica(old)
		r.last(300*time.Millisecond, 600*time.Millisecond)
		from := time.Now()
		next.Promote()
		ctx, cancel := deadline()
		defer cancel()
		info, err := next.Client().XInfoStream(ctx, planStream).Result() // nobody else writes to it yet
		mustDo(r.t, "inspect the promoted stream", err)
		r.last(30*time.Millisecond, 200*time.Millisecond)
		r.proxy.Target(next.Addr())
		r.direct.Target(next.Addr())
		old.Kill()
		r.forgot(info.LastGeneratedID, time.Now())
		r.proxy.Cut()
		r.direct.Cut()
		r.switched()
		r.down(from)
		r.load.rewrite()
		r.recover()
	})
	return true
}
