package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/entry"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// soaked is what must not grow over a long run, the most of any worker.
type soaked struct {
	name  string
	value func(s sample) float64
	unit  string
	// limit is what is too much at the end for what it was at the start.
	limit func(start float64) float64
}

// sample is what is measured at one moment.
type sample struct {
	memory, heap, goroutines, files, connections, p99 float64
}

var soakedThings = []soaked{
	{"resident memory", func(s sample) float64 { return s.memory / (1 << 20) }, "MiB", func(v float64) float64 { return v*1.5 + 16 }},
	{"heap in use", func(s sample) float64 { return s.heap / (1 << 20) }, "MiB", func(v float64) float64 { return v*1.5 + 16 }},
	{"goroutines", func(s sample) float64 { return s.goroutines }, "", func(v float64) float64 { return v*1.2 + 20 }},
	{"file descriptors", func(s sample) float64 { return s.files }, "", func(v float64) float64 { return v + 12 }},
	{"connections of all to Redis", func(s sample) float64 { return s.connections }, "", func(v float64) float64 { return v + 24 }},
	{"publish to early observation, p99", func(s sample) float64 { return s.p99 }, "ms", func(v float64) float64 { return 3*v + 100 }},
}

// TestSoak is `make soak`: a small fleet under a steady load with slow faults, and nothing that grows.
func TestSoak(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv("SOAK_DURATION"))
	if err != nil {
		t.Skip("make soak runs it, for SOAK_DURATION")
	}
	rate, err := strconv.ParseFloat(os.Getenv("SOAK_RATE"), 64)
	if err != nil {
		t.Fatalf("read SOAK_RATE: %v", err)
	}
	srv := redistest.Start(t)
	env := settings(srv.Addr(), "P28_OBS_MAXLEN=10000", "P28_DEDUPE_TTL_SEC=60")
	steady := []*process{startWorker(t, "s1", env...), startWorker(t, "s2", env...)}
	comes := startWorker(t, "s3", env...) // and goes: a drain and a new process each time
	end := beside(t, srv, rate)

	// The first tenth fills what has a limit: the streams, the pools, what is waiting.
	time.Sleep(duration / 10)
	first := measure(t, srv, steady)
	until := time.Now().Add(duration * 9 / 10)
	faults := 0
	for pause := max(duration/30, 3*time.Second); time.Until(until) > 2*pause; faults++ {
		time.Sleep(pause)
		comes = slowFault(t, srv, steady, comes, faults, env)
	}
	time.Sleep(time.Until(until))
	last := measure(t, srv, steady)
	end()

	fmt.Printf("\nsoak: %v, %.0f plans/s, 3 workers, %d faults\n%-36s %12s %12s\n", duration, rate, faults, "", "start", "end")
	for _, thing := range soakedThings {
		from, to := thing.value(first), thing.value(last)
		fmt.Printf("%-36s %12.1f %12.1f %s\n", thing.name, from, to, thing.unit)
		if to > thing.limit(from) {
			t.Errorf("%s grew from %.1f to %.1f %s, more than to %.1f", thing.name, from, to, thing.unit, thing.limit(from))
		}
	}
	if !eventually(startLimit, func() bool { return settled(srv.Client()) }) {
		t.Error("plans are still pending")
	}
}

// beside runs the load, a gate and a bridge until end, which returns when the load has ended.
func beside(t *testing.T, srv *redistest.Server, rate float64) (end func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	client := srv.NewClient(func(o *redis.Options) { o.MaxRetries = 3 })
	delay, err := pipeline.ParseDelay("production")
	mustDo(t, "read the delay", err)
	load, err := pipeline.NewLoad(client, pipeline.LoadConfig{Rate: rate}, log)
	mustDo(t, "set up the load", err)
	gate := pipeline.NewGate(client, pipeline.GateConfig{Delay: delay}, log)
	bridge := pipeline.NewBridge(client, pipeline.BridgeConfig{}, log)
	loading, stopLoad := context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(context.Background())
	var load1, rest sync.WaitGroup
	run := func(group *sync.WaitGroup, ctx context.Context, name string, do func(context.Context) error) {
		group.Go(func() {
			if err := do(ctx); err != nil {
				t.Errorf("%s stopped: %v", name, err)
			}
		})
	}
	run(&load1, loading, "load", load.Run)
	run(&rest, ctx, "gate", gate.Run)
	run(&rest, ctx, "bridge", bridge.Run)
	t.Cleanup(func() { stopLoad(); stop(); load1.Wait(); rest.Wait() })
	return func() { stopLoad(); load1.Wait() }
}

// slowFault does one harm after the other: connections cut, a worker stopped for a while, a worker replaced, Redis without an
// answer for a while. It returns the worker that comes and goes.
func slowFault(t *testing.T, srv *redistest.Server, steady []*process, comes *process, n int, env []string) *process {
	t.Helper()
	ctx, cancel := deadline()
	defer cancel()
	switch n % 4 {
	case 0:
		mustDo(t, "cut connections", srv.Client().Do(ctx, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err())
	case 1:
		steady[0].Signal(syscall.SIGSTOP)
		time.Sleep(1500 * time.Millisecond) // the fault itself: longer than min idle
		steady[0].Signal(syscall.SIGCONT)
	case 2:
		comes.Signal(syscall.SIGTERM)
		if !comes.Wait(startLimit) || comes.Err() != nil {
			t.Errorf("worker %s did not drain: %v", comes.Name, comes.Err())
		}
		return startWorker(t, "s3", env...)
	case 3:
		mustDo(t, "pause Redis", srv.Client().Do(ctx, "CLIENT", "PAUSE", 1000, "ALL").Err())
	}
	return comes
}

// measure takes a sample, the most of each in ten looks: the moment of a collection of garbage is chance.
func measure(t *testing.T, srv *redistest.Server, workers []*process) (most sample) {
	t.Helper()
	for range 10 {
		for _, w := range workers {
			w.scrape()
			most.memory = max(most.memory, w.sum("process_resident_memory_bytes"))
			most.heap = max(most.heap, w.sum("go_memstats_heap_inuse_bytes"))
			most.goroutines = max(most.goroutines, w.sum("go_goroutines"))
			most.files = max(most.files, w.sum("process_open_fds"))
		}
		ctx, cancel := deadline()
		info, err := srv.Client().InfoMap(ctx, "clients").Result()
		cancel()
		mustDo(t, "ask for the connections", err)
		n, _ := strconv.ParseFloat(info["Clients"]["connected_clients"], 64)
		most.connections = max(most.connections, n)
		time.Sleep(300 * time.Millisecond) // between two looks
	}
	most.p99 = delayP99(t, srv.Client())
	return most
}

// delayP99 is the 99th percentile of the time from a plan to its early observation, of the newest 2,000, by their entry IDs.
func delayP99(t *testing.T, client *redis.Client) float64 {
	t.Helper()
	ctx, cancel := deadline()
	defer cancel()
	list, err := client.XRevRangeN(ctx, observedStream, "+", "-", 2000).Result()
	mustDo(t, "read observations", err)
	var delays []float64
	for _, m := range list {
		o, err := readObservation(m)
		if err == nil && o.point == pointEarly && o.source != (entry.ID{}) {
			delays = append(delays, float64(o.id.Time().Sub(o.source.Time()).Milliseconds()))
		}
	}
	if len(delays) == 0 {
		t.Fatalf("no observation among %d entries", len(list))
	}
	slices.Sort(delays)
	return delays[len(delays)*99/100]
}
