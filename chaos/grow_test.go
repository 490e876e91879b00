package chaos

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
)

// TestFleetGrowsAndShrinks runs 1, 2, 4, 8 and again fewer workers under load. Each that is added takes its share, each that is
// removed leaves no consumer behind, one that dies is claimed from, and every plan is observed once at each point.
func TestFleetGrowsAndShrinks(t *testing.T) {
	if testing.Short() {
		t.Skip("eight workers under load take seconds")
	}
	srv := redistest.Start(t)
	client := srv.Client()
	l := &load{client: client, seed: 11, rate: 200}
	ctx, stop := context.WithCancel(context.Background())
	var background sync.WaitGroup
	defer background.Wait()
	defer stop()
	env := settings(srv.Addr())
	workers := []*process{startWorker(t, "g1", env...)}
	writing, stopWriting := context.WithCancel(ctx)
	background.Go(func() { l.write(writing) })
	background.Go(func() { l.writeHeat(ctx) })

	for _, n := range []int{2, 4, 8} {
		for len(workers) < n {
			workers = append(workers, startWorker(t, fmt.Sprint("g", len(workers)+1), env...))
		}
		began := time.Now()
		if !shared(workers) {
			t.Fatalf("with %d workers some read nothing to speak of: %v", n, reads(workers))
		}
		t.Logf("%d workers share the load %v after the last was added", n, time.Since(began).Round(100*time.Millisecond))
	}

	dead := workers[7]
	dead.Kill()
	for len(workers) > 1 {
		last := workers[len(workers)-1]
		workers = workers[:len(workers)-1]
		if last == dead {
			continue
		}
		last.Signal(syscall.SIGTERM)
		if !last.Wait(startLimit) || last.Err() != nil {
			t.Fatalf("worker %s did not drain: %v", last.Name, last.Err())
		}
		if left := consumersOf(t, client, last.Consumer()); len(left) > 0 {
			t.Errorf("worker %s has drained and left %v behind", last.Name, left)
		}
	}
	stopWriting()
	if !eventually(startLimit, func() bool { return settled(client) }) {
		t.Fatal("plans are still pending")
	}
	if held := consumersOf(t, client, dead.Consumer()); len(held) > 0 {
		for name, pending := range held {
			if pending > 0 {
				t.Errorf("%s has %d entries, which nobody has claimed", name, pending)
			}
		}
	}
	n, plans := observations(t, client), 0
	for _, e := range l.acknowledged() {
		if e.malformed {
			continue
		}
		plans++
		for _, point := range points {
			if times := n[point+" "+e.plan]; times != 1 {
				t.Errorf("plan %s was observed %d times at %s", e.plan, times, point)
			}
		}
	}
	t.Logf("%d plans, each observed once at each point", plans)
}

// reads is how many new entries each worker has read.
func reads(workers []*process) []float64 {
	n := make([]float64, len(workers))
	for i, w := range workers {
		w.scrape()
		n[i] = w.sum("entries_read_total{", `"new"`)
	}
	return n
}

// shared waits until each worker has read at least a quarter of an equal share of what is read from now on.
func shared(workers []*process) bool {
	before := reads(workers)
	return eventually(startLimit, func() bool {
		total, least := 0.0, -1.0
		for i, n := range reads(workers) {
			n -= before[i]
			total += n
			if least < 0 || n < least {
				least = n
			}
		}
		return total >= float64(50*len(workers)) && least >= total/float64(4*len(workers))
	})
}

// consumersOf are the consumers of both groups whose name begins with prefix, with what is pending for them.
func consumersOf(t *testing.T, client *redis.Client, prefix string) map[string]int64 {
	t.Helper()
	ctx, cancel := deadline()
	defer cancel()
	found := map[string]int64{}
	for _, group := range groups {
		list, err := client.XInfoConsumers(ctx, planStream, group).Result()
		mustDo(t, "list consumers", err)
		for _, c := range list {
			if strings.HasPrefix(c.Name, prefix) {
				found[group+"/"+c.Name] = c.Pending
			}
		}
	}
	return found
}
