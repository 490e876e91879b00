package heat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"heatobserver/event"
	"heatobserver/internal/redistest"
)

// From the moment the hash is written to the return of Wait, at a steady rate and with others waiting.
func BenchmarkNoticeLatency(b *testing.B) {
	for _, test := range []struct {
		perSecond int
		others    int // plans that wait all the time
		notify    bool
	}{
		{1000, 0, true}, {5000, 0, true}, {1000, 10_000, true}, {1000, 0, false},
	} {
		b.Run(fmt.Sprintf("%d_per_s/%d_others/notify=%v", test.perSecond, test.others, test.notify), func(b *testing.B) {
			server := redistest.Start(b)
			h := newHouse(b, server, func(o *WaiterOptions) { o.Rules.MaxWait = time.Hour })
			if !test.notify {
				// Out of the Watcher's sight: another prefix, and the Waiter knows that it has to poll.
				h.reader.prefix = "polled:"
				h.w.Reset(false)
			}
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for i := range test.others {
				h.start(ctx, fmt.Sprint("other-", i), time.Now())
			}
			eventually(b, "the others wait", func() bool { return h.w.Len() == test.others })

			client := server.NewClient(nil)
			latencies := make(chan time.Duration, test.perSecond*2)
			gap := time.Second / time.Duration(test.perSecond)
			n := 0
			redisBefore, start := redisCPU(b, client), time.Now()
			b.ResetTimer()
			for b.Loop() {
				id := planName(n)
				n++
				go func() {
					wrote := make(chan time.Time, 1)
					go func() {
						time.Sleep(50*time.Millisecond + rand.N(100*time.Millisecond))
						at := time.Now()
						if err := client.HSet(ctx, h.reader.prefix+id, "heat_level", "hot").Err(); err != nil {
							b.Error(err)
						}
						wrote <- at
					}()
					v, err := h.w.Wait(ctx, event.Plan{PlanID: id}, time.Now())
					seen := time.Now()
					if err != nil || v.Reason != event.OK {
						b.Errorf("ended with %v, %v", v.Reason, err)
					}
					latencies <- seen.Sub(<-wrote)
				}()
				time.Sleep(time.Until(start.Add(time.Duration(n) * gap)))
			}
			b.StopTimer()
			all := make([]time.Duration, n)
			for i := range all {
				all[i] = <-latencies
			}
			took := time.Since(start)
			slices.Sort(all)
			ms := func(q float64) float64 { return float64(all[int(q*float64(n-1))].Microseconds()) / 1000 }
			b.ReportMetric(ms(0.5), "p50-ms")
			b.ReportMetric(ms(0.99), "p99-ms")
			b.ReportMetric(100*float64(redisCPU(b, client)-redisBefore)/float64(took), "redis-cpu-%")
		})
	}
}

// What a waiting plan costs in the Waiter, its Parking included.
func BenchmarkWaitingPlan(b *testing.B) {
	const plans = 100_000
	for b.Loop() {
		w, err := NewWaiter(newFake(0), WaiterOptions{Rules: event.Rules{MaxWait: time.Hour, Poll: time.Hour}})
		if err != nil {
			b.Fatal(err)
		}
		ids := make([]string, plans)
		for i := range ids {
			ids[i] = planName(i)
		}
		before := heapInUse()
		parkings := make([]Parking, 0, plans)
		for _, id := range ids {
			parkings = append(parkings, Parking{PlanID: id, Published: time.Now(), Done: func(event.Verdict) func() { return nil }})
		}
		for _, p := range w.Park(parkings) {
			if p.Over || p.Refused {
				b.Fatal("a plan does not wait")
			}
		}
		b.ReportMetric(float64(heapInUse()-before)/plans, "B/plan")
		w.Close()
		runtime.KeepAlive(parkings)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

// The work of the structure itself: a plan comes, is looked at once, is announced and goes.
func BenchmarkWait(b *testing.B) {
	w, err := NewWaiter(instant{}, WaiterOptions{Rules: testRules})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	b.ReportAllocs()
	b.SetParallelism(256)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.Wait(b.Context(), event.Plan{PlanID: "p"}, time.Now()); err != nil {
				b.Error(err)
			}
		}
	})
}

// instant is a Looker that finds everything at once.
type instant struct{}

func (instant) LookEach(_ context.Context, dst []event.Look, ids []string) []event.Look {
	now := time.Now()
	for range ids {
		dst = append(dst, event.Look{At: now, Kind: event.Found})
	}
	return dst
}

func (i instant) LookMany(ctx context.Context, dst []event.Look, ids []string) []event.Look {
	return i.LookEach(ctx, dst, ids)
}

// BenchmarkLookAlone: 256 goroutines look at one plan each at a time, half of them with heat: our lanes beside go-redis' own
// AutoPipeline with its defaults.
func BenchmarkLookAlone(b *testing.B) {
	server := redistest.Start(b)
	client := server.NewClient(nil)
	h := newHouse(b, server, nil)
	auto, err := client.AutoPipeline()
	if err != nil {
		b.Fatal(err)
	}
	const plans = 1024
	for i := range plans / 2 {
		client.HSet(b.Context(), h.reader.prefix+planName(2*i), "heat_level", "hot", "decision_id", "d", "decided_at", "1")
	}
	for _, test := range []struct {
		name string
		look func(planID string) error
	}{
		{"lanes", func(id string) error { return h.reader.Look(b.Context(), id).Err }},
		{"AutoPipeline", func(id string) error { return auto.HGetAll(b.Context(), h.reader.prefix+id).Err() }},
	} {
		b.Run(test.name, func(b *testing.B) {
			var next atomic.Int64
			b.SetParallelism(256 / runtime.GOMAXPROCS(0))
			before := redisCPU(b, client)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := test.look(planName(int(next.Add(1)) % plans)); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64((redisCPU(b, client)-before).Nanoseconds())/float64(b.N), "redis-ns/op")
		})
	}
}
