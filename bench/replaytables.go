package main

import (
	"fmt"
	"os"
	"slices"
)

// of are the figures of one source and size, in the order of the rounds.
func (f *replayFigures) of(source string, size int, figure func(replayRun) float64) (values []float64) {
	for _, r := range f.Runs {
		if r.Source == source && r.Size == size {
			values = append(values, figure(r))
		}
	}
	return values
}

func (f *replayFigures) sizes() (sizes []int) {
	for _, r := range f.Runs {
		sizes = append(sizes, r.Size)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

func plansPerSecond(r replayRun) float64 { return r.PerSecond }
func replayPeak(r replayRun) float64     { return r.PeakMB }

// judge holds the figures against what they have to reach: the speed at the largest history, and its memory against that
// of the smallest.
func (f *replayFigures) judge() {
	sizes := f.sizes()
	least, most := sizes[0], sizes[len(sizes)-1]
	for _, g := range replayGoals {
		speed := f.of(g.of, most, plansPerSecond)
		if len(speed) == 0 {
			continue
		}
		f.Goals = append(f.Goals, goal{name: g.name, must: g.must, aim: g.aim}.ratio(speed, nil))
		if least != most {
			flat := goal{name: fmt.Sprintf("%s, peak RSS of %d ÷ %d plans", g.of, most, least), to: "x", must: 1.25, aim: 1.1, most: true}
			f.Goals = append(f.Goals, flat.ratio(f.of(g.of, most, replayPeak), f.of(g.of, least, replayPeak)))
		}
	}
}

func (f *replayFigures) print() {
	t := newTable(fmt.Sprintf("Replay of plans with their decisions, %d plans/s of history, medians", f.Rate),
		"source", "plans", "plans/s", "least", "most", "CPU s per 100k", "Redis CPU s per 100k", "peak RSS MB")
	for _, size := range f.sizes() {
		for _, g := range replayGoals {
			speed := f.of(g.of, size, plansPerSecond)
			if len(speed) == 0 {
				continue
			}
			per100k := func(cpu func(replayRun) float64) string {
				return fmt.Sprintf("%.2f", median(f.of(g.of, size, func(r replayRun) float64 { return cpu(r) / float64(r.Plans) * 1e5 })))
			}
			redis := "-"
			if g.of == "redis" {
				redis = per100k(func(r replayRun) float64 { return r.RedisCPU })
			}
			t.row(g.of, size, fmt.Sprintf("%.0f", median(speed)), fmt.Sprintf("%.0f", slices.Min(speed)), fmt.Sprintf("%.0f", slices.Max(speed)),
				per100k(func(r replayRun) float64 { return r.CPU }), redis, fmt.Sprintf("%.0f", median(f.of(g.of, size, replayPeak))))
		}
	}
	t.print(os.Stdout)
	t = newTable("What has to be reached", "figure", "median", "least", "most", "must", "aim", "reached")
	for _, r := range f.Goals {
		t.row(r.Name, fmt.Sprintf("%.4g", r.Median), fmt.Sprintf("%.4g", r.Least), fmt.Sprintf("%.4g", r.Most), limit(r.Must), limit(r.Aim), r.Verdict)
	}
	t.print(os.Stdout)
}

// agree fails when the same history did not give the same report each time, from wherever it was read.
func (f *replayFigures) agree() error {
	for _, size := range f.sizes() {
		first := ""
		for _, r := range f.Runs {
			if r.Size != size {
				continue
			}
			if first == "" {
				first = r.Digest
			}
			if r.Digest != first || r.Plans == 0 {
				return fmt.Errorf("the reports of %d plans differ: %s round %d", size, r.Source, r.Round)
			}
		}
	}
	return nil
}
