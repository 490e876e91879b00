package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// commandLimit bounds each command that the package itself sends, and each run of redis-cli.
const commandLimit = 30 * time.Second

// Client is the test's own client, always the same one. It repeats nothing (a command is sent once) and is
// closed when the test ends.
func (s *Server) Client() *redis.Client {
	s.clientOnce.Do(func() { s.client = s.NewClient(nil) })
	return s.client
}

// NewClient is a new client that is closed when the test ends. It begins with the settings of Client, which
// change may change; nil changes nothing.
func (s *Server) NewClient(change func(*redis.Options)) *redis.Client {
	s.t.Helper()
	opts := s.clientOptions()
	if change != nil {
		change(opts)
	}
	c := redis.NewClient(opts)
	s.t.Cleanup(func() {
		if err := c.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
			s.t.Errorf("redistest: close a client of %s: %v", s, err)
		}
	})
	return c
}

func (s *Server) clientOptions() *redis.Options {
	user, pass := s.set.credentials()
	return &redis.Options{
		Addr:                     s.Addr(),
		Username:                 user,
		Password:                 pass,
		TLSConfig:                s.set.tls.config(),
		MaxRetries:               -1,
		DialerRetries:            1,
		ContextTimeoutEnabled:    true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (s *Server) ping() error {
	c := redis.NewClient(s.clientOptions())
	defer func() { _ = c.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if err := c.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping %s: %w", s, err)
	}
	return nil
}

// ConfigSet changes a setting of the running server.
func (s *Server) ConfigSet(key, value string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if err := s.Client().ConfigSet(ctx, key, value).Err(); err != nil {
		s.t.Fatalf("redistest: CONFIG SET %s %q: %v", key, value, err)
	}
}

// Replica makes s a replica of another server and returns when it has its data. Promote ends it.
func (s *Server) Replica(of *Server) {
	s.t.Helper()
	user, pass := of.set.credentials()
	if pass != "" {
		s.ConfigSet("masterauth", pass)
	}
	if user != "" {
		s.ConfigSet("masteruser", user)
	}
	s.ConfigSet("repl-diskless-sync-delay", "0")
	of.ConfigSet("repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(of.Addr())
	s.replicaOf(host, port)
	deadline := time.Now().Add(readyLimit)
	for !strings.Contains(s.replicationInfo(), "master_link_status:up") {
		if time.Now().After(deadline) {
			s.t.Fatalf("redistest: %s did not become a replica of %s within %s:\n%s", s, of, readyLimit, s.replicationInfo())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Promote makes a replica a primary.
func (s *Server) Promote() {
	s.t.Helper()
	s.replicaOf("NO", "ONE")
}

func (s *Server) replicaOf(host, port string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	if err := s.Client().ReplicaOf(ctx, host, port).Err(); err != nil {
		s.t.Fatalf("redistest: REPLICAOF %s %s: %v", host, port, err)
	}
}

func (s *Server) replicationInfo() string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	info, err := s.Client().Info(ctx, "replication").Result()
	if err != nil {
		s.t.Fatalf("redistest: INFO replication: %v", err)
	}
	return info
}

// CLI runs the real redis-cli against the server and returns what it prints. An error reply fails the test.
func (s *Server) CLI(args ...string) string {
	s.t.Helper()
	return s.run(s.cliPath(), append(s.cliFlags(), args...)...)
}

// Shell runs a script with sh, in which redis-cli without further arguments is connected to the server: an
// operator's one-liner can be given as it stands. A script that fails, fails the test.
func (s *Server) Shell(script string) string {
	s.t.Helper()
	wrapper := "#!/bin/sh\nexec " + s.cliPath() + " " + strings.Join(s.cliFlags(), " ") + ` "$@"` + "\n"
	bin := filepath.Join(s.dir, "bin")
	if err := errors.Join(
		os.MkdirAll(bin, 0o700),
		os.WriteFile(filepath.Join(bin, "redis-cli"), []byte(wrapper), 0o700),
	); err != nil {
		s.t.Fatalf("redistest: write the wrapper of redis-cli: %v", err)
	}
	return s.run("/bin/sh", "-c", script)
}

// cliPath is the client that belongs to the server's binary. Without one the test fails: redis-server comes
// with it everywhere.
func (s *Server) cliPath() string {
	s.t.Helper()
	names := []string{"redis-cli", "valkey-cli"}
	if strings.Contains(filepath.Base(s.binary), "valkey") {
		names = []string{"valkey-cli", "redis-cli"}
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	s.t.Fatalf("redistest: none of %q is on the PATH", names)
	return ""
}

// cliFlags connect redis-cli to the server; -e makes an error reply a failure. The password goes through the
// environment, see run.
func (s *Server) cliFlags() []string {
	flags := []string{"-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-e"}
	if user, _ := s.set.credentials(); user != "" {
		flags = append(flags, "--user", user)
	}
	if s.set.tls != nil {
		ca, cert, key := s.TLSFiles()
		flags = append(flags, "--tls", "--cacert", ca, "--cert", cert, "--key", key)
	}
	return flags
}

func (s *Server) run(path string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = time.Second // for grandchildren that hold the pipes
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	if _, pass := s.set.credentials(); pass != "" {
		cmd.Env = append(cmd.Env, "REDISCLI_AUTH="+pass)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("redistest: run %q: %v\nstdout: %s\nstderr: %s", cmd.Args, err, stdout.String(), stderr.String())
	}
	return stdout.String()
}
