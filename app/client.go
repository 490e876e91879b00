package app

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"heatobserver/config"
	"heatobserver/heat"
)

// ConfigError is an error that the operator mends in the configuration; the process exits 78.
type ConfigError struct{ err error }

// Error is the error of the cause.
func (e *ConfigError) Error() string { return e.err.Error() }

// Unwrap is the cause.
func (e *ConfigError) Unwrap() error { return e.err }

// poolSize bounds the connections of one process to Redis, and to each node of a Cluster: four blocked readers for each
// partition, the lanes for lookups and commits, the loops that look after the groups, and room.
func poolSize(partitions int) int { return 20 + 4*partitions }

// redisOptions are those of every connection. Retries are off throughout: each caller knows whether its command may be
// sent twice, and counts its failures.
func redisOptions(cfg config.Config) (*redis.Options, error) {
	tlsConfig, err := cfg.Redis.TLSConfig()
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("read the TLS settings: %w", err)}
	}
	server := cfg.Redis.Server()
	if tlsConfig != nil {
		host, _, err := net.SplitHostPort(server.Addr)
		if err != nil {
			return nil, &ConfigError{fmt.Errorf("read the address of Redis: %w", err)}
		}
		tlsConfig.ServerName = host
	}
	return &redis.Options{
		Addr:                     server.Addr,
		DB:                       server.DB,
		Username:                 server.Username,
		Password:                 server.Password,
		TLSConfig:                tlsConfig,
		ClientName:               "heat-observer",
		DisableIdentity:          true, // CLIENT SETINFO: unknown to Redis 7.0, so that an ACL file for it cannot name it
		MaxRetries:               -1,
		DialerRetries:            1,
		DialTimeout:              2 * time.Second,
		ReadTimeout:              cfg.Read.Block + 3*time.Second, // a blocked read must come to its end first
		WriteTimeout:             3 * time.Second,
		PoolSize:                 poolSize(len(cfg.PlanStreams())),
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}, nil
}

// oneSlot reports the names that do not share their slot with the plan stream on a Cluster: a commit touches all of them
// in one script. Names none of which has a hash tag are no mistake (see config.Config.AtLeastOnce), and partitions have one
// each.
func oneSlot(cfg config.Config) error {
	if len(cfg.Redis.Cluster) == 0 || cfg.Partitioned() || cfg.AtLeastOnce() {
		return nil
	}
	tag := cmp.Or(config.HashTag(cfg.Streams.Plan), cfg.Streams.Plan)
	var errs []error
	for _, name := range []struct{ setting, value string }{
		{"P28_HEAT_OBS_STREAM", cfg.Streams.Observed},
		{"P28_DEAD_STREAM", cfg.Streams.Dead},
		{"P28_REDRIVE_STREAM", cfg.Streams.Redrive},
		{"P28_DEDUPE_PREFIX", cfg.Output.DedupePrefix},
		{"P28_KEY_PREFIX", cfg.Output.KeyPrefix},
	} {
		if config.HashTag(name.value) != tag {
			errs = append(errs, fmt.Errorf("%s=%s has not the hash tag {%s} of P28_PLAN_STREAM=%s: on a Redis Cluster they have to share a slot",
				name.setting, name.value, tag, cfg.Streams.Plan))
		}
	}
	return errors.Join(errs...)
}

// Client speaks to Redis, to one server, by sentinels or to a Cluster. Subcommands pass it on and send nothing themselves.
type Client = redis.UniversalClient

// NewClient connects (lazily) to the Redis of the configuration: one server, the primary that sentinels name, or a
// cluster. The caller closes it.
func NewClient(cfg config.Config) (redis.UniversalClient, error) {
	return connect(cfg, func(*redis.Options) {})
}

// connect is NewClient with options that are set otherwise.
func connect(cfg config.Config, adjust func(*redis.Options)) (redis.UniversalClient, error) {
	if err := oneSlot(cfg); err != nil {
		return nil, &ConfigError{err}
	}
	quietRedis()
	opts, err := redisOptions(cfg)
	if err != nil {
		return nil, err
	}
	adjust(opts)
	switch {
	case len(cfg.Redis.Sentinels) > 0:
		return redis.NewFailoverClient(failoverOptions(cfg.Redis, opts)), nil
	case len(cfg.Redis.Cluster) > 0:
		return redis.NewClusterClient(clusterOptions(cfg.Redis, opts)), nil
	}
	return redis.NewClient(opts), nil
}

// failoverOptions are opts for the primary that the sentinels name at the moment. Every new connection asks them, and
// when they announce another primary the connections to the old one are closed.
func failoverOptions(cfg config.Redis, opts *redis.Options) *redis.FailoverOptions {
	return &redis.FailoverOptions{
		MasterName: cfg.MasterName, SentinelAddrs: cfg.Sentinels,
		DB: opts.DB, Username: opts.Username, Password: opts.Password, TLSConfig: anyName(opts.TLSConfig),
		ClientName: opts.ClientName, DisableIdentity: true,
		Protocol: opts.Protocol, OnConnect: opts.OnConnect, PushNotificationProcessor: opts.PushNotificationProcessor,
		MaxRetries: -1, DialerRetries: 1,
		DialTimeout: opts.DialTimeout, ReadTimeout: opts.ReadTimeout, WriteTimeout: opts.WriteTimeout, PoolSize: opts.PoolSize,
		ContextTimeoutEnabled: opts.ContextTimeoutEnabled,
	}
}

// clusterOptions are opts for every node. A command is sent again where a node says that its slot has moved; what must
// not be sent twice is raw (see stream), which go-redis never repeats.
func clusterOptions(cfg config.Redis, opts *redis.Options) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs: cfg.Cluster, Username: opts.Username, Password: opts.Password, TLSConfig: anyName(opts.TLSConfig),
		ClientName: opts.ClientName, DisableIdentity: true, MaxRetries: -1, DialerRetries: 1,
		DialTimeout: opts.DialTimeout, ReadTimeout: opts.ReadTimeout, WriteTimeout: opts.WriteTimeout, PoolSize: opts.PoolSize,
		ContextTimeoutEnabled:      opts.ContextTimeoutEnabled,
		ClusterStateReloadInterval: time.Second, // a raw reply hides from go-redis that a slot has moved
		MaintNotificationsConfig:   opts.MaintNotificationsConfig,
	}
}

// anyName takes out the name of the one server, so that each connection checks that of its own.
func anyName(c *tls.Config) *tls.Config {
	if c != nil {
		c = c.Clone()
		c.ServerName = ""
	}
	return c
}

// tracking is the Connector of what announces writes of heat. With sentinels each session asks for the primary anew.
func tracking(cfg config.Redis, opts *redis.Options) heat.Connector {
	if len(cfg.Sentinels) == 0 {
		return heat.Tracking(opts)
	}
	return heat.TrackingThrough(opts, func(own *redis.Options) *redis.Client {
		return redis.NewFailoverClient(failoverOptions(cfg, own))
	})
}
