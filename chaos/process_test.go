package chaos

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"heatobserver/app/apptest"
)

// process is one life of a worker, and its metrics.
type process struct {
	*apptest.Process

	mu      sync.Mutex
	metrics map[string]float64 // as last scraped
}

const startLimit = apptest.StartLimit

// startWorker starts a worker and returns when it reads, or has ended.
func startWorker(t *testing.T, name string, env ...string) *process {
	t.Helper()
	return &process{Process: apptest.Start(t, name, env...)}
}

// get asks the process for a page. Every scrape has a connection of its own, which a stopped process cannot keep.
func (p *process) get(path string) (status int, body []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addr+path, nil)
	if err != nil {
		return 0, nil
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	body, err = io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil
	}
	return resp.StatusCode, body
}

func (p *process) ready() bool {
	status, _ := p.get("/readyz")
	return status == http.StatusOK
}

// scrape keeps the metrics of this moment; those of the last one stay when the process does not answer.
func (p *process) scrape() {
	status, body := p.get("/metrics")
	if status != http.StatusOK {
		return
	}
	m := map[string]float64{}
	for line := range bytes.Lines(body) {
		if line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimSpace(string(line)), "} ")
		if ok {
			name += "}"
		} else if name, value, ok = strings.Cut(strings.TrimSpace(string(line)), " "); !ok {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = v
		}
	}
	p.mu.Lock()
	p.metrics = m
	p.mu.Unlock()
}

// sum adds up the series whose name with labels contains all the parts.
func (p *process) sum(parts ...string) (total float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
series:
	for name, v := range p.metrics {
		for _, part := range parts {
			if !strings.Contains(name, part) {
				continue series
			}
		}
		total += v
	}
	return total
}
