// Package apptest runs workers in processes of their own, so that a test can kill, stop and drain them: the test binary
// started again, as `processor run`.
//
//	func TestMain(m *testing.M) {
//		apptest.Main(app.Run)
//		goleak.VerifyTestMain(m)
//	}
package apptest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// StartLimit is how long a worker may take to read, on a busy machine.
const StartLimit = 30 * time.Second

// Process is one life of a worker.
type Process struct {
	Name string // first part of its consumer name
	Addr string // of its metrics and page; "" when it ended before it read

	cmd  *exec.Cmd
	log  string        // path of what it wrote
	done chan struct{} // closed when it has ended
	err  error         // how, once done
}

// Start starts a worker with these variables and no others, and returns when it reads, or has ended. It ends with the
// test, and with the test process. The end of its log is shown when the test fails.
func Start(t *testing.T, name string, env ...string) *Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatalf("find the test binary: %v", err)
	}
	p := &Process{Name: name, cmd: exec.Command(self), log: filepath.Join(t.TempDir(), name+".log"), done: make(chan struct{})}
	logFile, err := os.Create(p.log)
	if err != nil {
		t.Fatalf("keep the log of worker %s: %v", name, err)
	}
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
		p.Kill()
		if t.Failed() {
			t.Logf("end of the log of worker %s (pid %d):\n%s", name, p.cmd.Process.Pid, p.Log(3000))
		}
	})
	select {
	case p.Addr = <-ready:
	case <-time.After(StartLimit):
		t.Fatalf("worker %s does not read after %v", name, StartLimit)
	}
	return p
}

// Consumer is the beginning of its consumer name, which no other process has.
func (p *Process) Consumer() string { return p.Name + "-" + strconv.Itoa(p.cmd.Process.Pid) + "-" }

// Log is the end of what it wrote, at most so many bytes.
func (p *Process) Log(most int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-most):])
}

// Signal does nothing to a process that has ended.
func (p *Process) Signal(sig syscall.Signal) { _ = p.cmd.Process.Signal(sig) }

// Kill ends it by SIGKILL, also one that is stopped, and returns when it has ended.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Wait reports whether it ended within the limit.
func (p *Process) Wait(limit time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// Err is nil as long as it runs, and when it has ended well.
func (p *Process) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Killed waits for its end and reports whether it was by SIGKILL.
func (p *Process) Killed() bool {
	<-p.done
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}
