package app

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"heatobserver/config"
)

// ConfigError is an error that the operator mends in the configuration; the process exits 78.
type ConfigError struct{ Err error }

// Error is the error of the cause.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap is the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// poolSize bounds the connections to Redis of one process: four blocked readers, the lanes for lookups and commits, the
// loops that look after the groups, and room.
const poolSize = 24

// redisOptions are those of every connection. Retries are off throughout: each caller knows whether its command may be
// sent twice, and counts its failures.
func redisOptions(cfg config.Redis, blocks time.Duration) (*redis.Options, error) {
	tlsConfig, err := cfg.TLSConfig()
	if err != nil {
		return nil, &ConfigError{fmt.Errorf("read the TLS settings: %w", err)}
	}
	server := cfg.Server()
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
		ReadTimeout:              blocks + 3*time.Second, // a blocked read must come to its end first
		WriteTimeout:             3 * time.Second,
		PoolSize:                 poolSize,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}, nil
}

// unsupported refuses settings of the contract that this version does not carry out: to accept them in silence would be
// worse.
func unsupported(cfg config.Config) error {
	var errs []error
	refuse := func(given bool, name, instead string) {
		if given {
			errs = append(errs, fmt.Errorf("%s is not supported by this version; %s", name, instead))
		}
	}
	refuse(len(cfg.Redis.Cluster) > 0, "REDIS_CLUSTER", "give one server")
	refuse(len(cfg.Redis.Sentinels) > 0, "REDIS_SENTINELS", "give one server")
	refuse(cfg.Partitioned(), "P28_PLAN_STREAMS", "give one stream as P28_PLAN_STREAM")
	refuse(cfg.Throttle.FleetPerSec > 0, "P28_THROTTLE_FLEET_PER_SEC", "use P28_THROTTLE_PER_SEC, which holds for each process")
	return errors.Join(errs...)
}

// NewClient connects (lazily) to the Redis of the configuration. The caller closes it.
func NewClient(cfg config.Config) (*redis.Client, error) {
	if err := unsupported(cfg); err != nil {
		return nil, &ConfigError{err}
	}
	quietRedis()
	opts, err := redisOptions(cfg.Redis, cfg.Read.Block)
	if err != nil {
		return nil, err
	}
	return redis.NewClient(opts), nil
}
