package redistest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// through starts a server and a proxy, and a client that goes through it.
func through(t *testing.T, change func(*redis.Options)) (*Server, *Proxy, *redis.Client) {
	t.Helper()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	c := s.NewClient(func(o *redis.Options) {
		o.Addr = p.Addr()
		if change != nil {
			change(o)
		}
	})
	return s, p, c
}

func TestProxyPassesEverythingOn(t *testing.T) {
	_, p, c := through(t, nil)
	big := strings.Repeat("\r\n*3\x00", 300<<10)
	if err := c.Set(t.Context(), "big", big, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Get(t.Context(), "big").Result(); err != nil || got != big {
		t.Errorf("GET = %d bytes, %v, want %d", len(got), err, len(big))
	}
	pipe := c.Pipeline()
	for range 5000 {
		pipe.Incr(t.Context(), "n")
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := c.Get(t.Context(), "n").Val(); got != "5000" {
		t.Errorf("n = %s", got)
	}
	if p.Connections() < 1 || p.Dropped() != 0 {
		t.Errorf("connections = %d, dropped = %d", p.Connections(), p.Dropped())
	}
}

func TestCutEndsWhatIsUnderWay(t *testing.T) {
	s, p, c := through(t, nil)
	answer := make(chan error, 1)
	go func() { answer <- c.BLPop(context.Background(), 20*time.Second, "list").Err() }()
	eventually(t, "the blocked client", func() bool {
		return strings.Contains(s.Client().Info(t.Context(), "clients").Val(), "blocked_clients:1")
	})
	p.Cut()
	select {
	case err := <-answer:
		if err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("BLPOP = %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("BLPOP outlives its connection")
	}
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING on a new connection: %v", err)
	}
}

func TestRefuseConcernsNewConnections(t *testing.T) {
	_, p, c := through(t, func(o *redis.Options) { o.PoolSize = 1 })
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	p.Refuse(true)
	p.Refuse(true)
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING on the existing connection: %v", err)
	}
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial = %v", err)
	}
	p.Refuse(false)
	p.Cut()
	eventually(t, "a connection after Refuse(false)", func() bool { return c.Ping(t.Context()).Err() == nil })
}

// TestNothingSurvivesAnOutage finds no connection alive that was on its way when the port closed.
func TestNothingSurvivesAnOutage(t *testing.T) {
	s := Start(t)
	for range 200 {
		p := NewProxy(t, s.Addr())
		dialled := make(chan net.Conn, 100)
		go func() {
			defer close(dialled)
			for range cap(dialled) {
				conn, err := net.Dial("tcp", p.Addr())
				if err != nil {
					return
				}
				dialled <- conn
			}
		}()
		(<-dialled).Close()
		p.Refuse(true)
		p.Cut()
		for conn := range dialled {
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, "*") // what the kernel has forgotten in silence answers this with a reset
			if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("a connection is still there, of %d", p.Connections())
			}
			_ = conn.Close()
		}
		p.close()
	}
}

func TestBlackholeHoldsBytesBack(t *testing.T) {
	s, p, c := through(t, func(o *redis.Options) { o.ReadTimeout = 20 * time.Second })
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	p.Blackhole(true)
	p.Blackhole(true)
	answer := make(chan error, 1)
	go func() { answer <- c.Set(context.Background(), "k", "v", 0).Err() }()
	fresh, err := net.Dial("tcp", p.Addr()) // accepted, not answered
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fresh.Close() }()
	if _, err := fresh.Write([]byte("PING\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = fresh.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := fresh.Read(make([]byte, 10)); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("read = %d, %v", n, err)
	}
	if n := s.Client().Exists(t.Context(), "k").Val(); n != 0 {
		t.Error("the command reached the server")
	}
	p.Blackhole(false)
	select {
	case err := <-answer:
		if err != nil {
			t.Errorf("SET after the outage: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nothing passes after the outage")
	}
	_ = fresh.SetReadDeadline(time.Now().Add(10 * time.Second))
	if line, err := bufio.NewReader(fresh).ReadString('\n'); line != "+PONG\r\n" {
		t.Errorf("PING of the other connection = %q, %v", line, err)
	}
}

func TestDropRepliesExecutesAndLosesTheReply(t *testing.T) {
	s, p, c := through(t, nil)
	ctx := t.Context()
	p.DropReplies(2, "INCRBY")
	for i := range 3 {
		err := c.IncrBy(ctx, "n", 1).Err()
		if lost := i < 2; (err != nil) != lost {
			t.Errorf("INCRBY %d: %v", i, err)
		}
		if err := c.Ping(ctx).Err(); err != nil {
			t.Errorf("PING is not to be lost: %v", err)
		}
	}
	if got := s.Client().Get(ctx, "n").Val(); got != "3" || p.Dropped() != 2 {
		t.Errorf("n = %s, dropped = %d", got, p.Dropped())
	}

	// When the client sees its connection end, the server has executed the command, however long it is.
	big := strings.Repeat("x", 8<<20)
	p.DropReplies(1)
	if err := c.Set(ctx, "big", big, 0).Err(); err == nil {
		t.Error("the reply to SET arrived")
	}
	if n := s.Client().StrLen(ctx, "big").Val(); n != int64(len(big)) {
		t.Errorf("STRLEN = %d", n)
	}

	// Of a pipeline nothing is executed after the command whose reply is lost.
	p.DropReplies(1, "decr")
	pipe := c.Pipeline()
	pipe.Set(ctx, "before", 1, 0)
	pipe.Decr(ctx, "n")
	pipe.Set(ctx, "after", 1, 0)
	if _, err := pipe.Exec(ctx); err == nil {
		t.Error("the pipeline was answered")
	}
	if got := s.Client().MGet(ctx, "before", "n", "after").Val(); got[0] != "1" || got[1] != "2" || got[2] != nil {
		t.Errorf("before, n, after = %v", got)
	}

	p.DropReplies(-1)
	for range 3 {
		if err := c.Ping(ctx).Err(); err == nil {
			t.Error("PING was answered")
		}
	}
	p.DropReplies(0)
	if err := c.Ping(ctx).Err(); err != nil {
		t.Error(err)
	}
	eventually(t, "the end of the cut connections", func() bool { return p.Connections() <= 1 })
}

func TestLatencyDelaysWithoutLimitingThroughput(t *testing.T) {
	_, p, c := through(t, nil)
	ctx := t.Context()
	if err := c.Set(ctx, "big", strings.Repeat("x", 16<<20), 0).Err(); err != nil {
		t.Fatal(err)
	}
	const delay = 100 * time.Millisecond
	p.Latency(delay)
	start := time.Now()
	if err := c.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < delay {
		t.Errorf("PING took %s", took)
	}
	start = time.Now()
	if n := len(c.Get(ctx, "big").Val()); n != 16<<20 {
		t.Errorf("GET = %d bytes", n)
	}
	// Delayed piece by piece (32 KiB at most) it would take 51 s.
	if took := time.Since(start); took < delay || took > 10*time.Second {
		t.Errorf("GET of 16 MiB took %s", took)
	}
}

func TestTargetMovesConnections(t *testing.T) {
	_, p, c := through(t, nil)
	other := Start(t)
	if err := other.Client().Set(t.Context(), "here", "yes", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := c.Get(t.Context(), "here").Val(); got != "" {
		t.Errorf("before = %q", got)
	}
	p.Target(other.Addr())
	p.Cut()
	eventually(t, "the other server", func() bool { return c.Get(t.Context(), "here").Val() == "yes" })
}

func TestServerDownIsSeenThroughTheProxy(t *testing.T) {
	s, _, c := through(t, nil)
	s.Kill()
	if err := c.Ping(t.Context()).Err(); err == nil {
		t.Error("PING was answered")
	}
	s.Restart()
	eventually(t, "the restarted server", func() bool { return c.Ping(t.Context()).Err() == nil })
}

func TestPassCommand(t *testing.T) {
	tests := []struct {
		name, in, command string
		fails             bool
	}{
		{name: "array", in: "*2\r\n$4\r\nXAdd\r\n$0\r\n\r\n", command: "xadd"},
		{name: "inline", in: "PING hello\r\n", command: "ping"},
		{name: "empty line", in: "\r\n"},
		{name: "empty array", in: "*0\r\n"},
		{name: "binary argument", in: "*2\r\n$1\r\nA\r\n$4\r\n\r\n*1\r\n", command: "a"},
		{name: "cut short", in: "*2\r\n$4\r\nXADD\r\n$9\r\nab", fails: true},
		{name: "no length", in: "*x\r\n", fails: true},
		{name: "no argument length", in: "*1\r\n$?\r\n", fails: true},
		{name: "negative length", in: "*2\r\n$1\r\nA\r\n$-1\r\n", fails: true},
		{name: "end", in: "", fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			const next = "*1\r\n$4\r\nNEXT\r\n"
			in := tt.in
			if !tt.fails {
				in += next
			}
			r := bufio.NewReader(strings.NewReader(in))
			var out bytes.Buffer
			command := ""
			err := passCommand(&out, r, func(name string) { command = name })
			if (err != nil) != tt.fails {
				t.Fatalf("err = %v", err)
			}
			if tt.fails {
				return
			}
			if command != tt.command || out.String() != tt.in {
				t.Errorf("command %q, copied %q", command, out.String())
			}
			if rest, _ := io.ReadAll(r); string(rest) != next {
				t.Errorf("left %q", rest)
			}
		})
	}
}

// FuzzPassCommand: whatever a client sends, what is copied and what is left are what was sent.
func FuzzPassCommand(f *testing.F) {
	f.Add([]byte("*2\r\n$4\r\nXADD\r\n$0\r\n\r\nrest"))
	f.Add([]byte("PING\r\n"))
	f.Add([]byte("*1\r\n$" + strconv.Itoa(-1) + "\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bufio.NewReader(bytes.NewReader(in))
		var out bytes.Buffer
		if err := passCommand(&out, r, func(string) {}); err != nil {
			return
		}
		rest, _ := io.ReadAll(r)
		if got := append(out.Bytes(), rest...); !bytes.Equal(got, in) {
			t.Errorf("copied and left %q of %q", got, in)
		}
	})
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// eventually waits for a condition, ten seconds at most.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within ten seconds", what)
		}
	}
}
