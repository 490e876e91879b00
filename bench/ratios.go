package main

import (
	"fmt"
	"io"
	"math"
	"slices"
)

// ratio compares two variants, or holds one figure against its limit.
type ratio struct {
	Name string  `json:"name"`
	Must float64 `json:"must,omitempty"`
	Aim  float64 `json:"aim,omitempty"`
	// Median is the ratio of the medians; Least and Most are those of single rounds.
	Median  float64 `json:"median"`
	Least   float64 `json:"least"`
	Most    float64 `json:"most"`
	Verdict string  `json:"verdict,omitempty"`
}

// goal is a ratio with what it has to reach.
type goal struct {
	name      string
	of, to    string // variants; to "" for a figure of its own
	figure    func(result) float64
	must, aim float64
	most      bool // must and aim are not to be exceeded
}

func perSecond(r result) float64 { return r.PerSecond }
func clientCPU(r result) float64 { return r.ClientCPU }
func peakRSS(r result) float64   { return r.PeakRSS }

// strawman is what (a) has to reach of (c): less, and the peer is none.
const strawman = "a4 ÷ c16, plans/s: the peer is no straw man"

var goals = []goal{
	{name: strawman, of: "a4", to: "c16", figure: perSecond, must: 7},
	{name: "d ÷ a4, plans/s", of: "d", to: "a4", figure: perSecond, must: 0.75, aim: 0.95},
	{name: "d ÷ c16, plans/s", of: "d", to: "c16", figure: perSecond, must: 5, aim: 8},
	{name: "d ÷ c1, plans/s", of: "d", to: "c1", figure: perSecond, must: 15, aim: 25},
	{name: "f ÷ d, plans/s", of: "f", to: "d", figure: perSecond, must: 0.5, aim: 0.65},
	{name: "d ÷ a4, client CPU per plan", of: "d", to: "a4", figure: clientCPU, must: 2.5, aim: 1.5, most: true},
	{name: "d, peak RSS, MB", of: "d", figure: peakRSS, must: 100, aim: 64, most: true},
	{name: "f, peak RSS, MB", of: "f", figure: peakRSS, must: 100, aim: 64, most: true},
	{name: "d ÷ u4, plans/s", of: "d", to: "u4", figure: perSecond},
	{name: "d ÷ b4, plans/s", of: "d", to: "b4", figure: perSecond},
	{name: "e ÷ d, plans/s", of: "e", to: "d", figure: perSecond},
	{name: "g ÷ ag, plans/s (AOF)", of: "g", to: "ag", figure: perSecond},
	{name: "h2 ÷ d, plans/s", of: "h2", to: "d", figure: perSecond},
	{name: "h4 ÷ d, plans/s", of: "h4", to: "d", figure: perSecond},
	{name: "h4 ÷ d, client CPU per plan", of: "h4", to: "d", figure: clientCPU},
}

// compare works the ratios out.
func (f *throughputFigures) compare() {
	for _, g := range goals {
		of, to := f.figures(g.of, g.figure), f.figures(g.to, g.figure)
		if len(of) == 0 || g.to != "" && len(to) == 0 {
			continue
		}
		f.Ratios = append(f.Ratios, g.ratio(of, to))
		if last := f.Ratios[len(f.Ratios)-1]; g.name == strawman && last.Verdict == "MISSED" {
			f.Invalid = fmt.Sprintf("the hand-written loop is only %.1f times the stock transport: it must be %.0f, or the comparison proves nothing", last.Median, g.must)
		}
	}
}

func (g goal) ratio(of, to []float64) ratio {
	r := ratio{Name: g.name, Must: g.must, Aim: g.aim, Median: median(of), Least: slices.Min(of), Most: slices.Max(of)}
	if g.to != "" {
		r.Median /= median(to)
		r.Least, r.Most = math.Inf(1), 0
		for i := range min(len(of), len(to)) {
			r.Least, r.Most = min(r.Least, of[i]/to[i]), max(r.Most, of[i]/to[i])
		}
	}
	reaches := func(limit float64) bool { return limit > 0 && (r.Median >= limit) != g.most }
	switch {
	case g.must == 0:
	case reaches(g.aim):
		r.Verdict = "aim"
	case reaches(g.must):
		r.Verdict = "must"
	default:
		r.Verdict = "MISSED"
	}
	return r
}

// figures are those of the valid runs of a variant, by round.
func (f *throughputFigures) figures(key string, figure func(result) float64) []float64 {
	var values []float64
	for _, r := range f.Results {
		if r.Variant == key && len(r.Invalid) == 0 {
			values = append(values, figure(r))
		}
	}
	return values
}

// print writes the tables.
func (f *throughputFigures) print(w io.Writer) {
	if f.Quick {
		fmt.Fprintln(w, "A quick run: it shows that everything works, its figures prove nothing.")
	}
	t := newTable(fmt.Sprintf("Throughput, medians of %d rounds; CPU in seconds per 100,000 plans", f.Rounds),
		"", "variant", "plans/s", "least", "most", "client CPU", "Redis CPU", "peak MB", "invalid")
	for _, v := range variants {
		speed := f.figures(v.Key, perSecond)
		runs := 0
		for _, r := range f.Results {
			if r.Variant == v.Key {
				runs++
			}
		}
		if runs == 0 {
			continue
		}
		if len(speed) == 0 {
			t.row(v.Key, v.Name, "-", "-", "-", "-", "-", "-", runs)
			continue
		}
		cpu := f.figures(v.Key, clientCPU)
		redis := f.figures(v.Key, func(r result) float64 { return r.RedisCPU })
		t.row(v.Key, v.Name, fmt.Sprintf("%.0f", median(speed)), fmt.Sprintf("%.0f", slices.Min(speed)), fmt.Sprintf("%.0f", slices.Max(speed)),
			fmt.Sprintf("%.2f", median(cpu)), fmt.Sprintf("%.2f", median(redis)), fmt.Sprintf("%.0f", slices.Max(f.figures(v.Key, peakRSS))), runs-len(speed))
	}
	t.print(w)
	t = newTable("Ratios of the medians, and of single rounds", "ratio", "median", "least", "most", "must", "aim", "reached")
	for _, r := range f.Ratios {
		t.row(r.Name, fmt.Sprintf("%.2f", r.Median), fmt.Sprintf("%.2f", r.Least), fmt.Sprintf("%.2f", r.Most), limit(r.Must), limit(r.Aim), r.Verdict)
	}
	t.print(w)
	fmt.Fprintf(w, "\n%d cores hold Redis and all clients, so that more processes share what one has: read their CPU per plan.\n", f.Machine.Cores)
}

func limit(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%g", v)
}
