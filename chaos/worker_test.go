package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/redis/go-redis/v9"

	"heatobserver/app"
	"heatobserver/config"
)

// What a worker is told beside its settings.
const (
	crashAt    = "CHAOS_CRASH"       // a crashPoint
	crashGroup = "CHAOS_CRASH_GROUP" // the consumer group at whose command it dies, "" for any
	breakFence = "CHAOS_BREAK"       // "fence": commit without fence and dedupe key
)

// observe is app.Run with the hook on its client that a worker is told to have.
func observe(ctx context.Context, cfg config.Config, opts app.Options) error {
	switch {
	case os.Getenv(crashAt) != "":
		opts.RedisHook = &crasher{point: crashPoint(os.Getenv(crashAt)), group: os.Getenv(crashGroup), cfg: cfg}
	case os.Getenv(breakFence) != "":
		opts.RedisHook = &breaker{cfg: cfg}
	}
	return app.Run(ctx, cfg, opts)
}

// crashPoint is a moment in the life of a plan.
type crashPoint string

const (
	afterRead    crashPoint = "after-read"
	afterLookup  crashPoint = "after-lookup"
	beforeCommit crashPoint = "before-commit"
	afterCommit  crashPoint = "after-commit" // Redis has answered; the message is not acknowledged yet
)

// crasher kills its own process when a plan of the group has come to the point.
type crasher struct {
	point crashPoint
	group string
	cfg   config.Config
}

var _ redis.Hook = (*crasher)(nil)

// DialHook watches the connections for lookups: go-redis shares them, and not the other hooks, with the client of its
// own timeout through which heat is looked up.
func (c *crasher) DialHook(next redis.DialHook) redis.DialHook {
	if c.point != afterLookup {
		return next
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &lookupConn{Conn: conn, crasher: c}, nil
	}
}

// lookupConn dies when the answer to a lookup is there.
type lookupConn struct {
	net.Conn
	crasher *crasher
	asked   atomic.Bool
}

func (l *lookupConn) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(l.crasher.cfg.HeatLookupPrefix)) && bytes.Contains(bytes.ToLower(b), []byte("hgetall")) {
		l.asked.Store(true)
	}
	return l.Conn.Write(b)
}

func (l *lookupConn) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if n > 0 && l.asked.Load() {
		l.crasher.die()
	}
	return n, err
}

func (c *crasher) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		commits := isCommit(cmd, c.cfg) && c.wanted(groupOfScript(cmd))
		if commits && c.point == beforeCommit {
			c.die()
		}
		err := next(ctx, cmd)
		if err != nil {
			return err
		}
		switch {
		case commits && c.point == afterCommit,
			c.point == afterRead && cmd.Name() == "xreadgroup" && c.wanted(fmt.Sprint(cmd.Args()[2])):
			c.die()
		}
		return nil
	}
}

func (c *crasher) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c *crasher) wanted(group string) bool { return c.group == "" || c.group == group }

// die ends the process as kill -9 does: nothing deferred runs, nothing is flushed.
func (c *crasher) die() {
	fmt.Fprintln(os.Stderr, "crashing", c.point)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// isCommit recognises the commit script by its second key, the observed stream.
func isCommit(cmd redis.Cmder, cfg config.Config) bool {
	args := cmd.Args()
	return (cmd.Name() == "evalsha" || cmd.Name() == "eval") && len(args) > 5 && args[4] == cfg.Streams.Observed
}

// groupOfScript is the first argument behind the keys.
func groupOfScript(cmd redis.Cmder) string {
	args := cmd.Args()
	keys, ok := args[2].(int)
	if !ok || len(args) <= 3+keys {
		return ""
	}
	return fmt.Sprint(args[3+keys])
}

// breaker takes fence and dedupe key out of the commit script.
type breaker struct{ cfg config.Config }

var _ redis.Hook = (*breaker)(nil)

// noScript makes go-redis send the text of a script in place of its hash.
type noScript struct{}

func (noScript) Error() string { return "NOSCRIPT the text is wanted" }
func (noScript) RedisError()   {}

// The lines that are the fence and the dedupe check, and what is put in their place.
const (
	fenceLine   = "if p[1] then owner = p[1][2] end"
	noFence     = "owner = me"
	dedupeLine  = "if fresh then done = written[dedupe] else done = redis.call('EXISTS', dedupe) == 1 end"
	noDedupe    = "done = false"
	notFoundErr = "the commit script has changed: teach this test its fence again"
)

func (b *breaker) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *breaker) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !isCommit(cmd, b.cfg) {
			return next(ctx, cmd)
		}
		if cmd.Name() == "evalsha" {
			cmd.SetErr(noScript{})
			return noScript{}
		}
		args := cmd.Args() // the command's own, so that what is changed is sent
		text, ok := args[1].(string)
		if !ok || !strings.Contains(text, fenceLine) || !strings.Contains(text, dedupeLine) {
			panic(errors.New(notFoundErr))
		}
		args[1] = strings.NewReplacer(fenceLine, noFence, dedupeLine, noDedupe).Replace(text)
		return next(ctx, cmd)
	}
}

func (b *breaker) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
