package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// buildProcessor builds the binary that is measured, as it is deployed: without the race detector.
func buildProcessor(ctx context.Context, dir string) (path string, err error) {
	path = filepath.Join(dir, "processor")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", path, "heatobserver/cmd/processor")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the processor: %w\n%s", err, out)
	}
	return path, nil
}

// child is a process under measurement. It ends with its trial.
type child struct {
	t    *trial
	cmd  *exec.Cmd
	http string // where it serves metrics; "" when it does not

	started chan string // takes the http address
	scanned sync.WaitGroup

	mu       sync.Mutex
	warnings []string // what it logged at warn and above
	lastLine string   // of its standard output
	ended    bool
}

// stopLimit is how long a process may take to drain.
const stopLimit = 30 * time.Second

// startChild starts a program with these variables and no others but PATH and HOME, and returns once it says that it
// observes.
func startChild(t *trial, path string, args []string, env map[string]string) *child {
	c := &child{t: t, cmd: exec.CommandContext(t.ctx, path, args...), started: make(chan string, 1)}
	for _, name := range []string{"PATH", "HOME"} {
		c.cmd.Env = append(c.cmd.Env, name+"="+os.Getenv(name))
	}
	for name, value := range env {
		c.cmd.Env = append(c.cmd.Env, name+"="+value)
	}
	stdout, err := c.cmd.StdoutPipe()
	t.check("start "+path, err)
	stderr, err := c.cmd.StderrPipe()
	t.check("start "+path, err)
	t.check("start "+path, c.cmd.Start())
	c.scanned.Go(func() { lines(stdout, func(line string) { c.mu.Lock(); c.lastLine = line; c.mu.Unlock() }) })
	c.scanned.Go(func() { lines(stderr, c.log); close(c.started) })
	t.Cleanup(c.stop)
	select {
	case addr, ok := <-c.started:
		if !ok {
			t.Fatalf("%s ended at once: %s", path, strings.Join(c.warned(), "\n"))
		}
		c.http = addr
	case <-time.After(stopLimit):
		t.Fatalf("%s did not begin to observe within %v", path, stopLimit)
	}
	return c
}

func lines(r io.Reader, take func(string)) {
	scanner := bufio.NewScanner(r)
	for scanner.Scan() {
		take(scanner.Text())
	}
}

// log takes a line of the child's log, which is JSON.
func (c *child) log(line string) {
	var record struct{ Level, Msg, HTTP string }
	if json.Unmarshal([]byte(line), &record) != nil || record.Level == "WARN" || record.Level == "ERROR" {
		c.mu.Lock()
		c.warnings = append(c.warnings, line)
		c.mu.Unlock()
		return
	}
	if record.Msg == "observing" {
		select {
		case c.started <- record.HTTP:
		default:
		}
	}
}

// warned is what the child has logged at warn and above.
func (c *child) warned() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.warnings
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// stop has the child drain and waits for its end.
func (c *child) stop() {
	if c.ended {
		return
	}
	c.ended = true
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // fails only when it has ended already
	kill := time.AfterFunc(stopLimit, func() { _ = c.cmd.Process.Kill() })
	defer kill.Stop()
	c.scanned.Wait()
	if err := c.cmd.Wait(); err != nil && c.t.ctx.Err() == nil {
		c.t.Errorf("the process under measurement ended badly: %w\n%s", err, strings.Join(c.warned(), "\n"))
	}
}

// output is the last line that the child has printed. It stops the child.
func (c *child) output() string {
	c.stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastLine
}

// series is the value of a metric of the child, named with its labels as it is exposed, and 0 when there is none.
func (c *child) series(name string) float64 {
	all, err := c.scrape()
	c.t.check("read the metrics", err)
	return all[name]
}

func (c *child) scrape() (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(c.t.ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.http+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(string(body)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); ok && name != "#" && err == nil {
			all[name] = number
		}
	}
	return all, nil
}
