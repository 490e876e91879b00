package heat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/push"
)

// Listener is told of writes; Waiter is one. Both methods are called on the goroutine that reads the
// connection and must return at once.
type Listener interface {
	// Notify is called for each announced write, with what follows the prefix in the key.
	Notify(planID string)
	// Reset is called when announcements begin or end, and when some may have been missed: until the next call
	// writes are announced, or not.
	Reset(announced bool)
}

var _ Listener = (*Waiter)(nil)

// WatcherOptions are the settings of a Watcher. The zero value is good.
type WatcherOptions struct {
	// PongWithin is how long the connection is believed without an answer to a ping; it is pinged three times in
	// that time. Default 2s.
	PongWithin time.Duration
	// RetryRefused is how long a server that does not announce writes is left alone. Default 1m.
	RetryRefused time.Duration
	// MaxBackoff is the longest pause between two attempts to connect. Default 5s.
	MaxBackoff time.Duration
	// Log takes what happens to the connection. Default slog.Default().
	Log *slog.Logger
}

func (o WatcherOptions) withDefaults() WatcherOptions {
	o.PongWithin = cmp.Or(o.PongWithin, 2*time.Second)
	o.RetryRefused = cmp.Or(o.RetryRefused, time.Minute)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, 5*time.Second)
	o.Log = cmp.Or(o.Log, slog.Default())
	return o
}

// Watcher has one Redis server announce the writes below a prefix, on a connection of its own, and keeps that
// connection alive. An announcement says that a key was touched, also by its expiry, and not what it holds now.
// While the connection is down announcements are lost; the Listener is told to look for itself when it is back.
type Watcher struct {
	connect  Connector
	prefix   string
	listener Listener
	opts     WatcherOptions

	begun   time.Time
	pong    atomic.Int64 // when the last ping was answered, since begun; 0 when the connection is down
	told    bool         // what the listener was told last
	refused bool         // a refusal was logged, and nothing has worked since
}

// NewWatcher makes a Watcher; Run has it work.
func NewWatcher(connect Connector, prefix string, listener Listener, opts WatcherOptions) (*Watcher, error) {
	if err := validateWatcher(prefix, opts); err != nil {
		return nil, err
	}
	return newWatcher(connect, prefix, listener, opts), nil
}

func newWatcher(connect Connector, prefix string, listener Listener, opts WatcherOptions) *Watcher {
	return &Watcher{connect: connect, prefix: prefix, listener: listener, opts: opts.withDefaults(), begun: time.Now()}
}

func validateWatcher(prefix string, opts WatcherOptions) error {
	switch {
	case prefix == "":
		return errors.New("create heat watcher: the key prefix is empty")
	case opts.PongWithin < 0 || opts.RetryRefused < 0 || opts.MaxBackoff < 0:
		return errors.New("create heat watcher: durations must not be negative")
	}
	return nil
}

// Healthy reports whether a ping on the very connection of the announcements was answered in the last
// PongWithin.
func (w *Watcher) Healthy() bool {
	pong := w.pong.Load()
	return pong != 0 && time.Since(w.begun)-time.Duration(pong) < w.opts.PongWithin
}

// Run keeps the announcements going until ctx ends, and returns its cause. It must run once at a time.
func (w *Watcher) Run(ctx context.Context) error {
	pauses := &backoff.ExponentialBackOff{
		InitialInterval: min(100*time.Millisecond, w.opts.MaxBackoff), MaxInterval: w.opts.MaxBackoff,
		Multiplier: 2, RandomizationFactor: 0.5,
	}
	pauses.Reset()
	for ctx.Err() == nil {
		err := w.session(ctx)
		lost := w.told
		w.pong.Store(0)
		w.tell(false)
		if ctx.Err() != nil {
			break
		}
		if lost {
			pauses.Reset()
		}
		pause := pauses.NextBackOff()
		if errors.Is(err, errUnsupported) {
			pause = w.opts.RetryRefused
		}
		w.log(ctx, lost, err, pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	return context.Cause(ctx)
}

// log says once that something has changed, and the rest only to who debugs.
func (w *Watcher) log(ctx context.Context, lost bool, err error, pause time.Duration) {
	switch {
	case errors.Is(err, errUnsupported) && !w.refused:
		w.refused = true
		w.opts.Log.WarnContext(ctx, "heat is polled: the server does not announce writes", "err", err, "retry_in", pause)
	case lost:
		w.opts.Log.WarnContext(ctx, "heat is polled: lost the connection that announces writes", "err", err, "retry_in", pause)
	default:
		w.opts.Log.DebugContext(ctx, "cannot have writes of heat announced", "err", err, "retry_in", pause)
	}
}

// tell passes a change on to the listener.
func (w *Watcher) tell(announced bool) {
	if w.told != announced {
		w.told = announced
		w.listener.Reset(announced)
	}
}

// session is one connection from its beginning to its end, which has a reason in any case.
func (w *Watcher) session(ctx context.Context) error {
	var connected atomic.Bool
	client := w.connect(func(ctx context.Context, conn *redis.Conn) error {
		// go-redis replaces a broken connection by itself, and nobody would look for what it missed.
		if connected.Swap(true) {
			return errors.New("the session is over")
		}
		return track(ctx, conn, w.prefix)
	})
	defer func() { _ = client.Close() }() // nothing was written that could be lost
	if err := client.RegisterPushNotificationHandler("invalidate", announcements{w}, false); err != nil {
		return fmt.Errorf("take announcements: %w", err)
	}
	// Without a channel: it is a connection that is read for what Redis sends of its own accord.
	sub := client.Subscribe(ctx)
	defer func() { _ = sub.Close() }()
	// A read under way does not notice the end of ctx.
	stop := context.AfterFunc(ctx, func() { _ = sub.Close() })
	defer stop()

	dial, cancel := context.WithTimeout(ctx, 2*w.opts.PongWithin)
	err := sub.Ping(dial) // connects
	cancel()
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	ctx, cancel = context.WithCancel(ctx)
	pinged := make(chan error, 1)
	go func() { pinged <- w.ping(ctx, sub) }()
	err = w.read(ctx, sub)
	cancel()
	if pingErr := <-pinged; pingErr != nil && !errors.Is(pingErr, context.Canceled) {
		err = cmp.Or(err, pingErr)
	}
	return err
}

// ping asks for a sign of life again and again. The answers come to read.
func (w *Watcher) ping(ctx context.Context, sub *redis.PubSub) error {
	tick := time.NewTicker(w.opts.PongWithin / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if err := sub.Ping(ctx); err != nil {
				return fmt.Errorf("ping: %w", err)
			}
		}
	}
}

// read takes what the connection brings. Announcements go to their handler inside go-redis; what comes out
// here are the answers to the pings, and their absence ends the session, because a read that runs into its
// timeout may have left half of an announcement behind.
func (w *Watcher) read(ctx context.Context, sub *redis.PubSub) error {
	for {
		message, err := sub.ReceiveTimeout(ctx, w.opts.PongWithin)
		if err != nil {
			return fmt.Errorf("read announcements: %w", err)
		}
		if _, ok := message.(*redis.Pong); !ok {
			continue
		}
		w.pong.Store(max(1, int64(time.Since(w.begun))))
		if !w.told {
			w.refused = false
			w.opts.Log.InfoContext(ctx, "writes of heat are announced by the server")
			w.tell(true)
		}
	}
}

// announcements is the handler of go-redis for the pushes of CLIENT TRACKING.
type announcements struct{ w *Watcher }

var _ push.NotificationHandler = announcements{}

// HandlePushNotification takes ["invalidate", [key, ...]], or ["invalidate", nil] after a flush. It never
// fails: an error would only be logged by go-redis.
func (a announcements) HandlePushNotification(_ context.Context, _ push.NotificationHandlerContext, message []any) error {
	var keys []any
	if len(message) > 1 {
		keys, _ = message[1].([]any)
	}
	if keys == nil {
		if a.w.told {
			a.w.listener.Reset(true)
		}
		return nil
	}
	for _, key := range keys {
		if name, ok := key.(string); ok && strings.HasPrefix(name, a.w.prefix) {
			a.w.listener.Notify(name[len(a.w.prefix):])
		}
	}
	return nil
}
