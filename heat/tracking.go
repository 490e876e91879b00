package heat

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// errUnsupported is wrapped by the errors of a server that does not announce writes: it does not know the
// command, denies it, or speaks no RESP3.
var errUnsupported = errors.New("the server does not announce writes")

// Connector makes the client of one Watcher connection, which is closed with it. Every connection of that client
// must speak RESP3 and run setup in its OnConnect hook. Each node of a Cluster needs a Connector of its
// own.
type Connector func(setup func(ctx context.Context, conn *redis.Conn) error) *redis.Client

// Tracking is the Connector of one server. What opts say about address, credentials and TLS is kept.
func Tracking(opts *redis.Options) Connector { return TrackingThrough(opts, redis.NewClient) }

// TrackingThrough is Tracking with a client of another make, such as one that asks sentinels for the primary. It has to
// keep all that the options it is handed say but the address.
func TrackingThrough(opts *redis.Options, newClient func(*redis.Options) *redis.Client) Connector {
	return func(setup func(context.Context, *redis.Conn) error) *redis.Client {
		own := *opts
		own.Protocol = 3
		own.MaxRetries = -1
		own.DialerRetries = 1 // the Watcher has a backoff of its own
		own.PoolSize = 1
		own.MinIdleConns = 0
		// The options of a client hold the processor of that client.
		own.PushNotificationProcessor = redis.NewPushNotificationProcessor()
		own.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		own.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
			if opts.OnConnect != nil {
				if err := opts.OnConnect(ctx, conn); err != nil {
					return err
				}
			}
			return setup(ctx, conn)
		}
		return newClient(&own)
	}
}

// track has Redis announce on this connection every write to a key that begins with prefix.
func track(ctx context.Context, conn *redis.Conn, prefix string) error {
	if err := conn.Do(ctx, "client", "tracking", "on", "bcast", "prefix", prefix).Err(); err != nil {
		return refused("CLIENT TRACKING", err)
	}
	// go-redis goes on in RESP2 where HELLO 3 is refused; Redis then takes the command and announces nothing.
	hello, err := conn.Do(ctx, "hello").Result()
	if err != nil {
		return refused("HELLO", err)
	}
	if facts, ok := hello.(map[any]any); !ok || facts["proto"] != int64(3) {
		return fmt.Errorf("%w: the connection does not speak RESP3", errUnsupported)
	}
	return nil
}

// refused tells a server that will refuse the command again from one that is only not ready.
func refused(command string, err error) error {
	text := err.Error()
	if isReply(err) && (strings.HasPrefix(text, "ERR") || strings.HasPrefix(text, "NOPERM") || strings.HasPrefix(text, "NOPROTO")) {
		return fmt.Errorf("%w: %s: %w", errUnsupported, command, err)
	}
	return fmt.Errorf("%s: %w", command, err)
}
