package main

import (
	"math"
	"slices"
	"time"
)

// spread is how a sample of times is distributed, in milliseconds.
type spread struct {
	N   int     `json:"n"`
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// spreadOf sorts the sample.
func spreadOf(sample []time.Duration) spread {
	if len(sample) == 0 {
		return spread{}
	}
	slices.Sort(sample)
	return spread{
		N: len(sample), P50: quantile(sample, 0.5), P90: quantile(sample, 0.9), P99: quantile(sample, 0.99),
		Max: quantile(sample, 1),
	}
}

// quantile of a sorted sample, in ms: the smallest value that the share q does not exceed.
func quantile(sorted []time.Duration, q float64) float64 {
	i := max(0, int(math.Ceil(q*float64(len(sorted))))-1)
	return millis(sorted[i])
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// median of a few rounds.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// percent of a whole; 0 when there is none.
func percent(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}
