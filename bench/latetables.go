package main

import (
	"fmt"
	"io"
	"time"
)

// The limits of the issue that the figures answer to.
var (
	noticeLimits = map[float64]limits{1000: {must: 10, aim: 3}, 5000: {must: 20, aim: 6}} // ms, by plans per second
	memoryLimits = map[int]limits{50_000: {must: 600, aim: 600}, 100_000: {must: 800, aim: 800}}
	redisLimit   = limits{must: 10, aim: 10}   // percent of a core, for the waiting
	idleLimit    = limits{must: 0.5, aim: 0.5} // percent of a core
)

// writeTables shows what was measured.
func (f *lateFigures) writeTables(w io.Writer) {
	m := f.Machine
	fmt.Fprintf(w, "\n%s, %d cores, %s, Redis %s, %s, load average at the beginning %s\n",
		m.CPU, m.Cores, m.Go, m.Redis, m.Time.Format(time.RFC3339), m.Load)
	f.printLatency(w)
	f.printCoverage(w)
	f.printWaiting(w)
	f.printStill(w)
}

func (f *lateFigures) printLatency(w io.Writer) {
	if len(f.Latency) == 0 {
		return
	}
	r := newTable("Hash written → observation in the stream (heat 50-150 ms after its plan; median of the rounds, p99 of all rounds in brackets)",
		"scheme", "plans/s", "p50 ms", "p99 ms", "limit", "CPU %", "Redis CPU %", "peak MB", "dropped", "valid")
	for _, group := range f.groups() {
		var p50, p99, cpu, redis, mb []float64
		dropped, valid := 0, "yes"
		for _, x := range group {
			p50, p99 = append(p50, x.Noticed.P50), append(p99, x.Noticed.P99)
			cpu, redis, mb = append(cpu, x.CPU["observer"]), append(redis, x.CPU["redis"]), append(mb, x.PeakMB)
			dropped += x.Dropped
			if len(x.Invalid) > 0 {
				valid = "NO"
			}
		}
		first, limit := group[0], ""
		if first.Scheme == us {
			limit = noticeLimits[first.Rate].verdict(median(p99))
		}
		r.row(first.Scheme, int(first.Rate), fmt.Sprintf("%.2f", median(p50)), fmt.Sprintf("%.2f (%.1f)", median(p99), p99), limit,
			fmt.Sprintf("%.0f", median(cpu)), fmt.Sprintf("%.0f", median(redis)), fmt.Sprintf("%.0f", median(mb)), dropped, valid)
	}
	r.print(w)
}

// groups are the rounds of each case, in the order in which the cases first came.
func (f *lateFigures) groups() [][]flow {
	var groups [][]flow
	type key struct {
		s    scheme
		rate float64
	}
	place := map[key]int{}
	for _, x := range f.Latency {
		k := key{x.Scheme, x.Rate}
		i, ok := place[k]
		if !ok {
			i = len(groups)
			place[k] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], x)
	}
	return groups
}

func (f *lateFigures) printCoverage(w io.Writer) {
	if len(f.Coverage) == 0 {
		return
	}
	r := newTable("Coverage at 1000 plans/s: late observations with heat, of the plans whose heat came within the allowed wait",
		"scheme", "heat after", "in flight", "good for plans/s", "covered %", "after deadline", "timeout", "missing", "dropped",
		"found at once %", "reader p50/p99 ms", "early %", "CPU %", "Redis CPU %", "log says", "valid")
	for _, x := range f.Coverage {
		goodFor := "-"
		var ms int
		if _, err := fmt.Sscanf(x.Heat, "%d ms", &ms); err == nil {
			goodFor = fmt.Sprint(x.InFlight * 1000 / ms)
		}
		reader, early := "-", "-"
		if x.Reader.N > 0 {
			reader, early = fmt.Sprintf("%.0f/%.0f", x.Reader.P50, x.Reader.P99), fmt.Sprintf("%.1f", x.EarlyCoverage)
		}
		says, valid := "", "yes"
		if x.Warned {
			says = "raise it"
		}
		if len(x.Invalid) > 0 {
			valid = "NO"
		}
		r.row(x.Scheme, x.Heat, x.InFlight, goodFor, fmt.Sprintf("%.2f", x.Coverage), x.AfterDeadline, x.Timeout, x.Missing, x.Dropped,
			fmt.Sprintf("%.0f", percent(x.AtOnce, x.Plans)), reader, early, fmt.Sprintf("%.0f", x.CPU["observer"]), fmt.Sprintf("%.0f", x.CPU["redis"]), says, valid)
	}
	r.print(w)
}

func (f *lateFigures) printWaiting(w io.Writer) {
	if len(f.Waiting) == 0 {
		return
	}
	r := newTable("Plans waiting at once in one process",
		"scheme", "waiting", "min idle s", "RSS MB", "limit", "KB each", "peak MB", "CPU %", "Redis CPU %", "for the waiting", "limit", "looked at every ms", "notice p50/p99 ms", "valid")
	for _, x := range f.Waiting {
		valid, forWaiting := "yes", x.CPU["redis"]-x.EmptyRedis
		if len(x.Invalid) > 0 {
			valid = "NO"
		}
		memory, redis := "", ""
		if x.Scheme == us {
			memory, redis = memoryLimits[x.Plans].verdict(x.MB), redisLimit.verdict(forWaiting)
		}
		r.row(x.Scheme, x.Plans, x.MinIdle.Seconds(), fmt.Sprintf("%.0f", x.MB), memory, fmt.Sprintf("%.1f", x.PerPlanKB), fmt.Sprintf("%.0f", x.PeakMB),
			fmt.Sprintf("%.1f", x.CPU["observer"]), fmt.Sprintf("%.1f", x.CPU["redis"]), fmt.Sprintf("%.1f", forWaiting), redis,
			fmt.Sprintf("%.0f", x.Interval), fmt.Sprintf("%.2f/%.2f", x.Noticed.P50, x.Noticed.P99), valid)
	}
	r.print(w)
}

// printStill shows what happens without new plans.
func (f *lateFigures) printStill(w io.Writer) {
	if len(f.Idle) > 0 {
		r := newTable("Idle", "scheme", "CPU %", "limit", "Redis CPU %", "RSS MB")
		for _, x := range f.Idle {
			r.row(x.Scheme, fmt.Sprintf("%.2f", x.CPU["observer"]), idleLimit.verdict(x.CPU["observer"]), fmt.Sprintf("%.2f", x.CPU["redis"]), fmt.Sprintf("%.0f", x.MB))
		}
		r.print(w)
	}
	if len(f.Backlog) == 0 {
		return
	}
	r := newTable("A backlog past its deadline", "plans", "in flight", "s", "plans/s", "after deadline", "missing", "log says", "valid")
	for _, x := range f.Backlog {
		says, valid := "", "yes"
		if x.Warned {
			says = "raise it"
		}
		if len(x.Invalid) > 0 {
			valid = "NO"
		}
		r.row(x.Plans, x.InFlight, fmt.Sprintf("%.2f", x.Seconds), fmt.Sprintf("%.0f", x.PerSecond), x.AfterDeadline, x.Missing, says, valid)
	}
	r.print(w)
}

// draw shows the distributions of all rounds.
func (f *lateFigures) draw(files ...string) error {
	var curves []curve
	for _, group := range f.groups() {
		c := curve{name: fmt.Sprintf("%s, %.0f/s", group[0].Scheme, group[0].Rate), dashed: group[0].Rate > 1000}
		for _, x := range group {
			c.sample = append(c.sample, x.noticed...)
		}
		curves = append(curves, c)
	}
	return drawDistributions("From the hash written to the late observation in the stream", "ms (logarithmic)", curves, files...)
}
