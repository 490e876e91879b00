package redistest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// process is one life of a redis-server. A goroutine of its own starts it and waits for its end.
type process struct {
	cmd  *exec.Cmd
	log  *serverLog
	done chan struct{} // closed when the process has ended and all it wrote is in log
}

// startProcess starts the binary and returns without waiting for it to be ready.
func startProcess(binary, configFile string, more ...string) (*process, error) {
	log := &serverLog{ready: make(chan struct{})}
	p := &process{cmd: exec.Command(binary, append([]string{configFile}, more...)...), log: log, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	started := make(chan error, 1)
	go func() {
		defer close(p.done)
		// Linux ends the child when the thread that started it ends (bindLifetime), so this thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		release, err := bindLifetime(p.cmd)
		started <- err
		if err != nil {
			return
		}
		_ = p.cmd.Wait() // how it ended is of interest only to awaitReady, which shows the log
		release()
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	return p, nil
}

// awaitReady returns nil once the server says that it accepts connections, which it does after it has bound
// its port and loaded its data. A PING alone could be answered by a stranger on the same port.
func (p *process) awaitReady(limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.log.ready:
		return nil
	case <-p.done:
		return fmt.Errorf("redis-server ended at once: %w", &startError{log: p.log.String()})
	case <-timer.C:
		p.signalAndWait(os.Kill, limit)
		return fmt.Errorf("redis-server was not ready within %s: %w", limit, &startError{log: p.log.String()})
	}
}

// signalAndWait sends a signal and reports whether the process ended within the limit.
func (p *process) signalAndWait(sig os.Signal, limit time.Duration) bool {
	_ = p.cmd.Process.Signal(sig) // fails only when it has ended already
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// startError carries what a server wrote that did not come up.
type startError struct{ log string }

func (e *startError) Error() string { return "its log says:\n" + e.log }

// portTaken reports whether the server found its port in use.
func (e *startError) portTaken() bool {
	return bytes.Contains([]byte(e.log), []byte("Address already in use"))
}

// serverLog keeps the last part of what the server writes.
type serverLog struct {
	ready chan struct{} // closed when the server says that it is ready

	mu      sync.Mutex
	text    []byte
	isReady bool
}

// maxServerLog bounds a serverLog, in bytes.
const maxServerLog = 64 << 10

func (l *serverLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	// A sentinel accepts connections before it says whom it monitors.
	if !l.isReady && (bytes.Contains(l.text, []byte("Ready to accept connections")) || bytes.Contains(l.text, []byte("+monitor master"))) {
		l.isReady = true
		close(l.ready)
	}
	if over := len(l.text) - maxServerLog; over > 0 {
		l.text = append(l.text[:0], l.text[over:]...)
	}
	return len(b), nil
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
