package chaos

import (
	"bufio"
	"bytes"
	"context"
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
	"testing"
	"time"
)

// process is one life of a worker.
type process struct {
	name string // first part of its consumer name
	cmd  *exec.Cmd
	log  string        // path of what it wrote
	addr string        // of its metrics
	done chan struct{} // closed when it has ended
	err  error         // how, once done

	mu      sync.Mutex
	metrics map[string]float64 // as last scraped
}

// startLimit is how long a worker may take to read, on a busy machine.
const startLimit = 30 * time.Second

var lives struct {
	sync.Mutex
	n int
}

// startWorker starts a worker and returns when it reads, or has ended. It ends with the test, and with the test process.
func startWorker(t *testing.T, name string, env ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("find the test binary: %v", err)
	}
	lives.Lock()
	lives.n++
	life := lives.n
	lives.Unlock()
	p := &process{name: name, done: make(chan struct{}), log: filepath.Join(t.TempDir(), fmt.Sprintf("%s-%d.log", name, life))}
	logFile, err := os.Create(p.log)
	if err != nil {
		t.Fatalf("keep the log of worker %s: %v", name, err)
	}
	p.cmd = exec.Command(self)
	p.cmd.Env = append([]string{asWorker + "=1", "P28_CONSUMER=" + name, "PATH=" + os.Getenv("PATH")}, env...)
	p.cmd.Stderr = logFile
	stdout, errOut := p.cmd.StdoutPipe()
	stdin, errIn := p.cmd.StdinPipe()
	if errOut != nil || errIn != nil {
		t.Fatalf("connect to worker %s: %v %v", name, errOut, errIn)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start worker %s: %v", name, err)
	}
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(stdout).ReadString('\n')
		ready <- strings.TrimSpace(line)
		_, _ = io.Copy(io.Discard, stdout)
		p.err = p.cmd.Wait()
		_ = stdin.Close()
		_ = logFile.Close()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL) // also ends one that is stopped
		<-p.done
		if t.Failed() {
			t.Logf("end of the log of worker %s (pid %d):\n%s", name, p.cmd.Process.Pid, tailOf(p.log, 3000))
		}
	})
	select {
	case p.addr = <-ready: // empty when it died first
	case <-time.After(startLimit):
		t.Fatalf("worker %s does not read after %v:\n%s", name, startLimit, tailOf(p.log, 3000))
	}
	return p
}

func tailOf(path string, most int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// consumer is the beginning of the process's consumer name, which no other process has.
func (p *process) consumer() string { return p.name + "-" + strconv.Itoa(p.cmd.Process.Pid) + "-" }

func (p *process) signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// killed reports whether it has ended by SIGKILL.
func (p *process) killed() bool {
	<-p.done
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// wait reports whether it ended within the limit.
func (p *process) wait(limit time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// get asks the process for a page. Every scrape has a connection of its own, which a stopped process cannot keep.
func (p *process) get(path string) (status int, body []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+path, nil)
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
