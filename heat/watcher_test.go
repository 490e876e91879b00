package heat

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
)

// recorder is a Listener that keeps what it is told, and a place for the log.
type recorder struct {
	mu       sync.Mutex
	notified []string
	resets   []bool
	logged   bytes.Buffer
}

func (r *recorder) Notify(planID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notified = append(r.notified, planID)
}

func (r *recorder) Reset(announced bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resets = append(r.resets, announced)
}

func (r *recorder) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logged.Write(line)
}

func (r *recorder) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (r *recorder) warnings() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Count(r.logged.String(), "level=WARN")
}

// eventually waits until the condition holds over what was recorded.
func (r *recorder) eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("notified %d, resets %v, log:\n%s", len(r.notified), r.resets, r.logged.String())
		}
	}()
	eventually(t, what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return holds()
	})
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// watch runs a Watcher until the test ends.
func watch(t testing.TB, opts *redis.Options, listener Listener, set WatcherOptions) *Watcher {
	t.Helper()
	if set.PongWithin == 0 {
		set.PongWithin = 2 * time.Second // a loaded machine must not look like a silent server
	}
	if set.MaxBackoff == 0 {
		set.MaxBackoff = 100 * time.Millisecond
	}
	w, err := NewWatcher(Tracking(opts), prefix, listener, set)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v", err)
			}
		case <-time.After(time.Minute):
			t.Error("Run does not end with its context")
		}
	})
	return w
}

func TestWatcherAnnouncesWrites(t *testing.T) {
	server := redistest.Start(t, redistest.WithPassword("s3cret"))
	client, r := server.Client(), &recorder{}
	opts := *client.Options()
	opts.Protocol = 2 // whatever the client speaks, announcements come in RESP3
	w := watch(t, &opts, r, WatcherOptions{Log: r.log()})
	r.eventually(t, "announced", func() bool { return slices.Equal(r.resets, []bool{true}) })
	if !w.Healthy() {
		t.Error("not healthy")
	}
	writeHash(t, client, "a")
	client.Set(t.Context(), "quantum:other:b", "x", 0)
	client.Set(t.Context(), prefix+"schlüssel mit raum", "x", 0)
	pipe := client.Pipeline()
	for i := range 100 {
		pipe.HSet(t.Context(), prefix+planName(i), "heat_level", "hot")
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.eventually(t, "all writes", func() bool {
		for i := range 100 {
			if !slices.Contains(r.notified, planName(i)) {
				return false
			}
		}
		return slices.Contains(r.notified, "a") && slices.Contains(r.notified, "schlüssel mit raum")
	})
	if len(r.notified) > 104 {
		t.Errorf("%d announcements for 102 writes", len(r.notified))
	}
	client.FlushAll(t.Context())
	r.eventually(t, "a flush looks at everything", func() bool { return slices.Equal(r.resets, []bool{true, true}) })
	if strings.Contains(r.logged.String(), "s3cret") || r.warnings() != 0 {
		t.Errorf("log:\n%s", r.logged.String())
	}
}

// Whatever ends the connection, announcements begin again and the listener learns both.
func TestWatcherComesBack(t *testing.T) {
	for _, test := range []struct {
		name string
		harm func(s *redistest.Server)
	}{
		{"killed by type", func(s *redistest.Server) { s.CLI("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes") }},
		{"restarted", func(s *redistest.Server) { s.Kill(); s.Restart() }},
		{"stopped", func(s *redistest.Server) { s.Stop(); s.Restart() }},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, r := redistest.Start(t), &recorder{}
			watch(t, server.Client().Options(), r, WatcherOptions{Log: r.log()})
			for round := 1; round <= 3; round++ {
				r.eventually(t, "announced", func() bool { return len(r.resets) == 2*round-1 && r.resets[2*round-2] })
				test.harm(server)
				r.eventually(t, "lost", func() bool { return len(r.resets) >= 2*round && !r.resets[2*round-1] })
			}
			r.eventually(t, "announced", func() bool { return len(r.resets) == 7 && r.resets[6] })
			writeHash(t, server.NewClient(nil), "a")
			r.eventually(t, "a write", func() bool { return slices.Contains(r.notified, "a") })
		})
	}
}

// A server that accepts and never answers is as good as a lost connection.
func TestWatcherNoticesSilence(t *testing.T) {
	server, r := redistest.Start(t), &recorder{}
	w := watch(t, server.Client().Options(), r, WatcherOptions{Log: r.log()})
	r.eventually(t, "announced", func() bool { return slices.Equal(r.resets, []bool{true}) })
	server.Pause()
	r.eventually(t, "lost", func() bool { return slices.Equal(r.resets, []bool{true, false}) })
	if w.Healthy() {
		t.Error("healthy without an answer")
	}
	server.Resume()
	r.eventually(t, "announced", func() bool { return slices.Equal(r.resets, []bool{true, false, true}) })
	eventually(t, "the silent connection is let go of", func() bool {
		return strings.Count(server.Client().ClientList(t.Context()).Val(), "flags=t") == 1
	})
}

// An answer is good for so long, also when nothing else shows that the connection is gone.
func TestHealthyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(nil, prefix, &recorder{}, WatcherOptions{})
		if w.Healthy() {
			t.Error("healthy before the first answer")
		}
		w.pong.Store(1)
		time.Sleep(2 * time.Second)
		if !w.Healthy() {
			t.Error("not healthy, with an answer of the last two seconds")
		}
		time.Sleep(time.Nanosecond)
		if w.Healthy() {
			t.Error("healthy for the sake of an old answer")
		}
	})
}

// What a server will refuse again is told from one that is only not ready, and from what comes from the way to it.
func TestRefused(t *testing.T) {
	for text, want := range map[string]bool{
		"ERR unknown subcommand 'tracking'": true, "NOPERM no permissions": true, "NOPROTO unsupported protocol version": true,
		"LOADING Redis is loading the dataset in memory": false,
	} {
		if err := refused("HELLO", replyError(text)); errors.Is(err, errUnsupported) != want || !strings.Contains(err.Error(), "HELLO: "+text) {
			t.Errorf("%s: refused for good %v, want %v: %v", text, !want, want, err)
		}
		if errors.Is(refused("HELLO", errors.New(text)), errUnsupported) {
			t.Errorf("%s, not of Redis: refused for good", text)
		}
	}
}

// A connection without RESP3 takes CLIENT TRACKING and is told of nothing.
func TestTrackingNeedsRESP3(t *testing.T) {
	conn := redistest.Start(t).NewClient(func(o *redis.Options) { o.Protocol = 2 }).Conn()
	defer conn.Close()
	if err := track(t.Context(), conn, prefix); !errors.Is(err, errUnsupported) || !strings.Contains(err.Error(), "RESP3") {
		t.Errorf("tracking in RESP2: %v", err)
	}
}

// A stream of announcements longer than any timeout is no silence.
func TestWatcherUnderLoad(t *testing.T) {
	server, r := redistest.Start(t), &recorder{}
	client := server.Client()
	watch(t, client.Options(), r, WatcherOptions{Log: r.log(), PongWithin: time.Second})
	r.eventually(t, "announced", func() bool { return slices.Equal(r.resets, []bool{true}) })
	n := 0
	for start := time.Now(); time.Since(start) < 2500*time.Millisecond; n += 100 {
		pipe := client.Pipeline()
		for i := range 100 {
			pipe.HSet(t.Context(), prefix+planName(i), "heat_level", n)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r.eventually(t, "all writes", func() bool { return len(r.notified) == n })
	if !slices.Equal(r.resets, []bool{true}) {
		t.Errorf("resets %v, log:\n%s", r.resets, r.logged.String())
	}
}

// Servers that announce nothing are left alone and asked again later; the log says so once.
func TestWatcherRefused(t *testing.T) {
	server, mini := redistest.Start(t), miniredis.RunT(t)
	deny := func(user string, rules ...any) {
		args := append([]any{"ACL", "SETUSER", user, "on", ">s3cret", "~*", "&*", "+@all"}, rules...)
		if err := server.Client().Do(t.Context(), args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	deny("no-tracking", "-client|tracking")
	for _, test := range []struct {
		name   string
		opts   *redis.Options
		allow  func()
		forbid func()
	}{
		{"miniredis", &redis.Options{Addr: mini.Addr()}, nil, nil},
		{"CLIENT TRACKING denied", &redis.Options{Addr: server.Addr(), Username: "no-tracking", Password: "s3cret"},
			func() { deny("no-tracking") },
			func() {
				deny("no-tracking", "-client|tracking")
				if err := server.Client().Do(t.Context(), "CLIENT", "KILL", "USER", "no-tracking").Err(); err != nil {
					t.Error(err)
				}
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, attempts := &recorder{}, make(chan struct{}, 1000)
			opts := *test.opts
			opts.OnConnect = func(context.Context, *redis.Conn) error { attempts <- struct{}{}; return nil }
			w := watch(t, &opts, r, WatcherOptions{Log: r.log(), RetryRefused: 20 * time.Millisecond})
			eventually(t, "three attempts", func() bool { return len(attempts) >= 3 })
			if n := r.warnings(); n != 1 {
				t.Errorf("%d warnings, want one", n)
			}
			healthy := w.Healthy()
			r.mu.Lock()
			if !strings.Contains(r.logged.String(), "retry_in=20ms") {
				t.Errorf("no attempt is followed by the pause for a refusal:\n%s", r.logged.String())
			}
			if healthy || len(r.resets) != 0 {
				t.Errorf("healthy %v, resets %v", healthy, r.resets)
			}
			if strings.Contains(r.logged.String(), "s3cret") {
				t.Errorf("log:\n%s", r.logged.String())
			}
			r.mu.Unlock()
			if test.allow != nil {
				test.allow()
				r.eventually(t, "announced once allowed", func() bool { return slices.Equal(r.resets, []bool{true}) })
				test.forbid()
				eventually(t, "two warnings more: of the connection, and of the refusal", func() bool { return r.warnings() == 3 })
			}
		})
	}
}

// A server that is not there is asked again with growing pauses.
func TestWatcherAbsentServer(t *testing.T) {
	r := &recorder{}
	server := redistest.Start(t)
	opts := server.Client().Options()
	server.Stop()
	w := watch(t, opts, r, WatcherOptions{Log: r.log(), PongWithin: 3 * time.Second})
	server.Restart()
	r.eventually(t, "announced", func() bool { return slices.Equal(r.resets, []bool{true}) })
	server.Stop()
	r.eventually(t, "lost", func() bool { return slices.Equal(r.resets, []bool{true, false}) })
	if w.Healthy() {
		t.Error("healthy for the sake of an old answer")
	}
}

// The defaults are what production runs with.
func TestDefaults(t *testing.T) {
	watcher := WatcherOptions{}.withDefaults()
	if watcher.Log == nil {
		t.Error("no log")
	}
	watcher.Log = nil
	if want := (WatcherOptions{PongWithin: 2 * time.Second, RetryRefused: time.Minute, MaxBackoff: 5 * time.Second}); watcher != want {
		t.Errorf("watcher: %+v", watcher)
	}
	reader := ReaderOptions{}.withDefaults()
	if reader.Lanes != 2 || reader.Batch != 128 || reader.Queue != 4096 || reader.Timeout != time.Second || reader.Now == nil {
		t.Errorf("reader: %+v", reader)
	}
}

func TestNewWatcherRefuses(t *testing.T) {
	connect := Tracking(&redis.Options{})
	if _, err := NewWatcher(connect, "", &recorder{}, WatcherOptions{}); err == nil {
		t.Error("empty prefix: accepted")
	}
	for _, opts := range []WatcherOptions{{PongWithin: -1}, {RetryRefused: -1}, {MaxBackoff: -1}} {
		if _, err := NewWatcher(connect, prefix, &recorder{}, opts); err == nil {
			t.Errorf("a negative duration is accepted: %+v", opts)
		}
	}
	if _, err := NewWatcher(connect, prefix, &recorder{}, WatcherOptions{}); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
