package redistest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server that belongs to one test.
type Server struct {
	t      T
	set    settings
	binary string
	dir    string
	port   int

	mu     sync.Mutex // held while the process changes
	proc   *process
	paused bool

	clientOnce sync.Once
	client     *redis.Client
}

const (
	readyLimit = 30 * time.Second // to load its data and answer, on a busy machine
	stopLimit  = 10 * time.Second // to obey SIGTERM, before it is killed
)

// Start starts a server without persistence that ends with the test.
func Start(t T, opts ...Option) *Server {
	t.Helper()
	s := &Server{t: t, binary: findServer(t)}
	for _, opt := range opts {
		opt(&s.set)
	}
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		t.Fatalf("redistest: make a directory for the server: %v", err)
	}
	s.dir = dir
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			t.Logf("end of the log of redis-server on %s:\n%s", s.Addr(), tail(s.log(), 2000))
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("redistest: remove the server's directory: %v", err)
		}
	})
	if s.set.tls != nil {
		if err := s.set.tls.write(dir); err != nil {
			t.Fatalf("redistest: %v", err)
		}
	}
	if err := s.copyDump(); err != nil {
		t.Fatalf("redistest: copy the dump: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	const attempts = 10
	for i := 1; ; i++ {
		s.port = reservePort(t)
		s.writeConfig()
		err := s.launch()
		if err == nil {
			return s
		}
		// Between the look at the port and the bind a program without our locks may have taken it.
		if failed := (*startError)(nil); i == attempts || !errors.As(err, &failed) || !failed.portTaken() {
			t.Fatalf("redistest: %v", err)
		}
	}
}

// findServer is the path of the server's binary. Without one it skips the test, or fails it in CI.
func findServer(t T) string {
	t.Helper()
	names := []string{"redis-server", "valkey-server"}
	if name := os.Getenv("REDISTEST_SERVER"); name != "" {
		names = []string{name}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	report := t.Skipf
	if os.Getenv("CI") == "true" {
		report = t.Fatalf
	}
	report("redistest: none of %q is on the PATH: install redis-server (make test does, on Debian and Ubuntu)", names)
	return ""
}

func (s *Server) writeConfig() {
	s.t.Helper()
	if err := os.WriteFile(s.configFile(), []byte(s.set.redisConf(s.port, s.dir)), 0o600); err != nil {
		s.t.Fatalf("redistest: write redis.conf: %v", err)
	}
}

// copyDump puts the data of WithDump where the server looks for them.
func (s *Server) copyDump() error {
	if s.set.dump == "" {
		return nil
	}
	data, err := os.ReadFile(s.set.dump)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, "dump.rdb"), data, 0o600)
}

func (s *Server) configFile() string { return filepath.Join(s.dir, "redis.conf") }

// launch starts a process and waits until it answers. The caller holds mu.
func (s *Server) launch() error {
	proc, err := startProcess(s.binary, s.configFile())
	if err != nil {
		return err
	}
	if err := proc.awaitReady(readyLimit); err != nil {
		return err
	}
	s.proc, s.paused = proc, false
	return s.ping()
}

// Addr is host and port.
func (s *Server) Addr() string { return loopback(s.port) }

// URL is the redis:// URL (rediss:// with TLS) of database 0, with the credentials that Client uses.
func (s *Server) URL() string {
	user, pass := s.set.credentials()
	return s.URLFor(user, pass)
}

// URLFor is the redis:// URL of database 0 for a user, see WithACL. Without a password it has no user part.
func (s *Server) URLFor(user, password string) string {
	u := url.URL{Scheme: "redis", Host: s.Addr(), Path: "/0"}
	if s.set.tls != nil {
		u.Scheme = "rediss"
	}
	if password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String()
}

// Dir is the server's working directory, which holds redis.conf and the data.
func (s *Server) Dir() string { return s.dir }

// log is the end of what the server has written in its present or last life, at most 64 KiB.
func (s *Server) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return ""
	}
	return s.proc.log.String()
}

// Stop ends the server in good order (SIGTERM) and returns when it is gone. A server that is down stays down.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

func (s *Server) stop() {
	if !s.running() {
		return
	}
	s.resume() // a stopped process keeps SIGTERM for later
	if !s.proc.signalAndWait(syscall.SIGTERM, stopLimit) {
		s.kill()
	}
}

// Kill ends the server with SIGKILL and returns when it is gone.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kill()
}

func (s *Server) kill() {
	if s.running() && !s.proc.signalAndWait(syscall.SIGKILL, stopLimit) {
		s.t.Errorf("redistest: redis-server %d did not end within %s of SIGKILL", s.proc.cmd.Process.Pid, stopLimit)
	}
}

// Restart stops the server if it runs, and starts it on the same port and directory, with the configuration
// of Start (what ConfigSet changed is gone).
func (s *Server) Restart() {
	s.t.Helper()
	if err := s.tryRestart(); err != nil {
		s.t.Fatalf("redistest: restart: %v", err)
	}
}

// tryRestart is Restart for other goroutines than the test's own.
func (s *Server) tryRestart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
	deadline := time.Now().Add(readyLimit)
	for {
		err := s.launch()
		failed := (*startError)(nil)
		if err == nil || !errors.As(err, &failed) || !failed.portTaken() || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond) // the port is somebody else's for a moment: an outgoing connection
	}
}

// Pause stops the process as it stands (SIGSTOP): connections stay open and are accepted, and nothing is
// answered. Resume, Stop, Kill, Restart and the end of the test end it.
func (s *Server) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running() {
		_ = s.proc.cmd.Process.Signal(syscall.SIGSTOP)
		s.paused = true
	}
}

// Resume ends Pause.
func (s *Server) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resume()
}

func (s *Server) resume() {
	if s.running() && s.paused {
		_ = s.proc.cmd.Process.Signal(syscall.SIGCONT)
	}
	s.paused = false
}

// PID is the process ID of the running server, or 0 when it is down.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running() {
		return 0
	}
	return s.proc.cmd.Process.Pid
}

func (s *Server) running() bool { return s.proc != nil && s.proc.running() }

func (s *Server) String() string { return fmt.Sprintf("redis-server on %s", s.Addr()) }

// tail is the end of s, at most n bytes.
func tail(s string, n int) string { return s[max(0, len(s)-n):] }
