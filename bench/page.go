package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// pageCommand measures what open status pages cost the observer.
type pageCommand struct {
	Rounds int `default:"5" help:"How often each is measured, by turns."`
	Plans  int `default:"200000" help:"Plans that are observed."`
	Pages  int `default:"50" help:"Pages that are open meanwhile."`
	output
}

// pageFigures are all that was measured.
type pageFigures struct {
	Machine machine  `json:"machine"`
	Pages   int      `json:"pages"`
	Without []result `json:"without"`
	With    []result `json:"with"`
	Ratios  []ratio  `json:"ratios"`
}

// Run measures, prints and writes.
func (c *pageCommand) Run(ctx context.Context) error {
	binary, end, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	f := pageFigures{Machine: describeMachine(ctx), Pages: c.Pages}
	if err := try(ctx, func(t *trial) { c.measure(t, binary, &f) }); err != nil {
		return err
	}
	figures := func(results []result, figure func(result) float64) (values []float64) {
		for _, r := range results {
			values = append(values, figure(r))
		}
		return values
	}
	with := fmt.Sprintf("%d pages ÷ none", c.Pages)
	f.Ratios = []ratio{
		goal{name: with + ", plans/s", to: "none", must: 0.95}.ratio(figures(f.With, perSecond), figures(f.Without, perSecond)),
		goal{name: with + ", CPU of the observer", to: "none"}.ratio(figures(f.With, clientCPU), figures(f.Without, clientCPU)),
	}
	t := newTable(fmt.Sprintf("%d plans, early, medians of %d rounds; CPU in seconds per 100,000 plans", c.Plans, c.Rounds),
		"pages open", "plans/s", "least", "most", "CPU of the observer", "Redis CPU", "peak MB")
	for _, row := range []struct {
		pages   int
		results []result
	}{{0, f.Without}, {c.Pages, f.With}} {
		speed := figures(row.results, perSecond)
		t.row(row.pages, fmt.Sprintf("%.0f", median(speed)), fmt.Sprintf("%.0f", slices.Min(speed)), fmt.Sprintf("%.0f", slices.Max(speed)),
			fmt.Sprintf("%.2f", median(figures(row.results, clientCPU))),
			fmt.Sprintf("%.2f", median(figures(row.results, func(r result) float64 { return r.RedisCPU }))),
			fmt.Sprintf("%.0f", slices.Max(figures(row.results, peakRSS))))
	}
	t.print(os.Stdout)
	t = newTable("Ratios of the medians, and of single rounds", "ratio", "median", "least", "most", "must", "reached")
	for _, r := range f.Ratios {
		t.row(r.Name, fmt.Sprintf("%.2f", r.Median), fmt.Sprintf("%.2f", r.Least), fmt.Sprintf("%.2f", r.Most), limit(r.Must), r.Verdict)
	}
	t.print(os.Stdout)
	return writeJSON(c.file("page.json"), f)
}

func (c *pageCommand) measure(t *trial, binary string, f *pageFigures) {
	data := newDataset(t, c.Plans)
	for round := range c.Rounds {
		for _, pages := range []int{0, c.Pages} {
			v := earlyAlone
			v.started = func(t *trial, observers []*child) { openPages(t, observers[0].http, pages) }
			var r result
			t.check("observe", try(t.ctx, func(t *trial) { r = v.run(t, binary, data) }))
			if len(r.Invalid) > 0 {
				t.Fatalf("the observations are wrong: %v", r.Invalid)
			}
			r.Round = round + 1
			if pages == 0 {
				f.Without = append(f.Without, r)
			} else {
				f.With = append(f.With, r)
			}
			fmt.Fprintf(os.Stderr, "round %d  %2d pages  %.0f plans/s\n", r.Round, pages, r.PerSecond)
		}
	}
}

// pageAsks is what an open page asks for and how often; 0 is a stream that it reads for as long as it is open.
var pageAsks = map[string]time.Duration{
	"/api/v1/events":             0,
	"/api/v1/observations":       time.Hour,
	"/api/v1/deadletters":        time.Hour,
	"/api/v1/series?buckets=120": 5 * time.Second,
	"/api/v1/waits":              5 * time.Second,
	"/api/v1/what-if":            15 * time.Second,
}

// openPages asks an observer for what open pages ask for, until the trial ends.
func openPages(t *trial, addr string, pages int) {
	ctx, cancel := context.WithCancel(t.ctx)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(pageAsks) * pages}}
	var open sync.WaitGroup
	t.Cleanup(func() { cancel(); open.Wait(); client.CloseIdleConnections() })
	for range pages {
		for path, every := range pageAsks {
			open.Go(func() {
				for ctx.Err() == nil {
					if err := ask(ctx, client, "http://"+addr+path); err != nil && ctx.Err() == nil {
						t.Errorf("an open page: %w", err)
						return
					}
					pauseUntil(ctx, time.Now().Add(max(every, time.Second)))
				}
			})
		}
	}
}

// ask reads an answer to its end. That nothing has been read from Redis yet is one.
func ask(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, response.Body)
	if err = errors.Join(err, response.Body.Close()); err == nil && response.StatusCode >= 500 && response.StatusCode != http.StatusServiceUnavailable {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return err
}
