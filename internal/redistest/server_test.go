package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// childEnv makes the test binary a helper process that starts a server and waits to be killed.
const childEnv = "REDISTEST_CHILD"

func TestMain(m *testing.M) { VerifyTestMain(m) }

func TestServerAnswersAndEndsWithTheTest(t *testing.T) {
	var addr, dir string
	t.Run("lives", func(t *testing.T) {
		s := Start(t)
		addr, dir = s.Addr(), s.Dir()
		if got, err := s.Client().Set(t.Context(), "k", "v", 0).Result(); err != nil || got != "OK" {
			t.Fatalf("SET = %q, %v", got, err)
		}
		if first := s.Client(); first != s.Client() {
			t.Error("Client is not the same at every call")
		}
		if got := strings.TrimSpace(s.CLI("GET", "k")); got != "v" {
			t.Errorf("redis-cli GET = %q", got)
		}
		if got := s.Shell("redis-cli GET k | tr v w"); got != "w\n" {
			t.Errorf("shell = %q", got)
		}
		if !strings.Contains(s.log(), "Ready to accept connections") {
			t.Errorf("log = %q", s.log())
		}
	})
	if c, err := net.Dial("tcp", addr); err == nil {
		_ = c.Close()
		t.Errorf("%s still answers after its test", addr)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("directory after the test: %v", err)
	}
}

func TestParallelServersHavePortsOfTheirOwn(t *testing.T) {
	ports := make(chan string, 8)
	t.Run("all", func(t *testing.T) {
		for i := range cap(ports) {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				s := Start(t)
				s.Stop() // a port stays reserved while its server is down
				s.Restart()
				ports <- s.Addr()
			})
		}
	})
	close(ports)
	seen := map[string]bool{}
	for p := range ports {
		seen[p] = true
	}
	if len(seen) != cap(ports) {
		t.Errorf("%d servers had %d ports", cap(ports), len(seen))
	}
}

func TestRestart(t *testing.T) {
	tests := []struct {
		name string
		opts []Option
		end  func(*Server)
		want string
	}{
		{name: "stopped, no persistence", end: (*Server).Stop, want: ""},
		{name: "stopped, append-only file", opts: []Option{WithAOF("everysec")}, end: (*Server).Stop, want: "v"},
		{name: "killed, append-only file", opts: []Option{WithAOF("always")}, end: (*Server).Kill, want: "v"},
		{name: "paused", opts: []Option{WithAOF("always")}, end: (*Server).Pause, want: "v"},
		{name: "running", opts: []Option{WithAOF("always")}, end: func(*Server) {}, want: "v"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := Start(t, tt.opts...)
			if err := s.Client().Set(t.Context(), "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			addr, pid := s.Addr(), s.PID()
			tt.end(s)
			s.Restart()
			if s.Addr() != addr || s.PID() == pid {
				t.Errorf("restarted on %s as process %d, was on %s as %d", s.Addr(), s.PID(), addr, pid)
			}
			if got, err := s.NewClient(nil).Get(t.Context(), "k").Result(); err != nil && !errors.Is(err, redis.Nil) || got != tt.want {
				t.Errorf("GET = %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestStopAndKillLeaveNothingListening(t *testing.T) {
	for name, end := range map[string]func(*Server){"stop": (*Server).Stop, "kill": (*Server).Kill} {
		t.Run(name, func(t *testing.T) {
			s := Start(t)
			end(s)
			end(s) // twice is harmless
			if c, err := net.Dial("tcp", s.Addr()); err == nil {
				_ = c.Close()
				t.Error("the port still answers")
			}
			if s.PID() != 0 {
				t.Errorf("PID = %d", s.PID())
			}
		})
	}
}

func TestPauseHoldsAnswersBackAndResumeGivesThem(t *testing.T) {
	s := Start(t)
	s.Pause()
	answer := make(chan error, 1)
	c := s.NewClient(func(o *redis.Options) { o.ReadTimeout = 20 * time.Second })
	go func() { answer <- c.Ping(context.Background()).Err() }()
	select {
	case err := <-answer:
		t.Fatalf("a paused server answered: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	s.Resume()
	select {
	case err := <-answer:
		if err != nil {
			t.Errorf("PING after Resume: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("no answer after Resume")
	}
}

func TestSettings(t *testing.T) {
	s := Start(t, WithPassword("p/ss:w@rd"), WithConfig("maxmemory", "64mb"))
	if got := s.Client().ConfigGet(t.Context(), "maxmemory").Val()["maxmemory"]; got != "67108864" {
		t.Errorf("maxmemory = %q", got)
	}
	s.ConfigSet("maxmemory", "1mb")
	if got := s.CLI("CONFIG", "GET", "maxmemory"); !strings.Contains(got, "1048576") {
		t.Errorf("maxmemory after ConfigSet = %q", got)
	}
	opts, err := redis.ParseURL(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.NewClient(func(o *redis.Options) { o.Password = opts.Password }).Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING with the password of %s: %v", s.URL(), err)
	}
	err = s.NewClient(func(o *redis.Options) { o.Password = "" }).Ping(t.Context()).Err()
	if err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("PING without the password: %v", err)
	}
}

func TestACLUsers(t *testing.T) {
	s := Start(t,
		WithACL("default", "off"),
		WithACL("reader", "on", ">secret", "~*", "+@read", "+@connection"),
	)
	if got := strings.TrimSpace(s.CLI("SET", "k", "v")); got != "OK" {
		t.Errorf("SET as the administrator = %q", got)
	}
	opts, err := redis.ParseURL(s.URLFor("reader", "secret"))
	if err != nil {
		t.Fatal(err)
	}
	reader := s.NewClient(func(o *redis.Options) { o.Username, o.Password = opts.Username, opts.Password })
	if got, err := reader.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("GET as reader = %q, %v", got, err)
	}
	if err := reader.Set(t.Context(), "k", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
		t.Errorf("SET as reader: %v", err)
	}
}

func TestReplicaFollowsAndIsPromoted(t *testing.T) {
	primary := Start(t, WithPassword("secret"))
	if err := primary.Client().Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	replica := Start(t)
	replica.Replica(primary)
	if got, err := replica.Client().Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("GET on the replica = %q, %v", got, err)
	}
	if err := replica.Client().Set(t.Context(), "k", "w", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "READONLY") {
		t.Errorf("SET on the replica: %v", err)
	}
	replica.Promote()
	if err := replica.Client().Set(t.Context(), "k", "w", 0).Err(); err != nil {
		t.Errorf("SET after Promote: %v", err)
	}
}

// TestServerDiesWithTheProcess starts a server in a process of its own and kills that with SIGKILL.
func TestServerDiesWithTheProcess(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		s := Start(t)
		fmt.Printf("addr=%s\n", s.Addr())
		<-t.Context().Done() // never within the patience of the parent
		return
	}
	findServer(t) // skips where the child would
	child := exec.Command(os.Args[0], "-test.run=^TestServerDiesWithTheProcess$", "-test.v")
	child.Env = append(os.Environ(), childEnv+"=1", "TMPDIR="+t.TempDir())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Wait() }()
	defer func() { _ = child.Process.Kill() }()
	var addr string
	for lines := bufio.NewScanner(out); addr == "" && lines.Scan(); {
		_, addr, _ = strings.Cut(lines.Text(), "addr=")
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatalf("dial the child's server: %v", err)
	}
	defer func() { _ = c.Close() }()
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the server outlives the process that started it: read = %v", err)
	}
}

func TestWithoutABinaryATestIsSkippedOrFailsInCI(t *testing.T) {
	t.Setenv("REDISTEST_SERVER", "no-such-redis-server")
	for ci, want := range map[string]string{"": "skipped", "true": "failed"} {
		t.Setenv("CI", ci)
		rec := &recorder{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			findServer(rec)
		}()
		<-done
		if rec.outcome != want {
			t.Errorf("CI=%q: test was %q, want %q", ci, rec.outcome, want)
		}
	}
}

// recorder is a test whose end is only noted.
type recorder struct {
	testing.TB
	outcome string
}

func (r *recorder) Skipf(string, ...any)  { r.outcome = "skipped" }
func (r *recorder) Fatalf(string, ...any) { r.outcome = "failed" }

func TestDump(t *testing.T) {
	first := Start(t)
	first.Client().Set(t.Context(), "k", "v", 0)
	if err := first.Client().Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	second := Start(t, WithDump(first.Dir()+"/dump.rdb"))
	if got := second.Client().Get(t.Context(), "k").Val(); got != "v" {
		t.Errorf("the copy has k = %q", got)
	}
}
