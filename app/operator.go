package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/config"
	"heatobserver/operate"
)

// Operate connects as the workers of this configuration do and hands do an Operator, which ends with it. It does not try
// for ever, as a run does.
func Operate(ctx context.Context, cfg config.Config, do func(*operate.Operator) error) (err error) {
	client, err := NewClient(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if err := Reach(ctx, client, cfg); err != nil {
		return err
	}
	return do(operate.New(client, operateSetup(cfg)))
}

// Reach fails when Redis does not answer within 5 s: a one-off command does not wait for it.
func Reach(ctx context.Context, client redis.UniversalClient, cfg config.Config) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("reach Redis at %s (REDIS_URL, REDIS_HOST, REDIS_PORT): %w%s", cfg.Redis.Where(), err, advice(cfg.Redis, err)) // without secrets
	}
	return nil
}

// advice is what to look at when Redis closed the connection before it had answered. One that wants a client certificate
// says so only behind the handshake, where the client may be writing already and then sees nothing but a reset.
func advice(r config.Redis, err error) string {
	closed := errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	settings, _ := r.TLSConfig() // bad ones were refused with the configuration
	switch {
	case closed && settings == nil:
		return "; should it speak TLS only, give REDIS_TLS_CA or a rediss:// URL"
	case settings != nil && len(settings.Certificates) == 0 && (closed || strings.Contains(err.Error(), "certificate required")):
		return "; should it want a client certificate, give REDIS_TLS_CERT and REDIS_TLS_KEY"
	}
	return ""
}

// operateSetup is what the workers of this configuration run with.
func operateSetup(cfg config.Config) operate.Setup {
	return operate.Setup{
		Parts: cfg.Names(),
		Groups: []operate.Group{
			{Name: cfg.Groups.Early, Expected: cfg.EarlyEnabled()},
			{Name: cfg.Groups.Late, Expected: cfg.LateEnabled()},
		},
		NudgeChannel: cfg.Output.KeyPrefix + "nudge",
		WorkerPrefix: cfg.Output.KeyPrefix + "worker:",

		DecisionStream: cfg.Streams.Decision,
		LookupPrefix:   cfg.HeatLookupPrefix,

		MaxWait:   cfg.Late.MaxWait,
		MinIdle:   cfg.Read.ClaimMinIdle,
		DedupeTTL: cfg.Output.DedupeTTL,
	}
}

// cursorKey is the key of a group's cursor on a stream that is read.
func cursorKey(cfg config.Config, stream, group string) string {
	all := cfg.Names()
	for _, names := range all {
		if stream == names.Plan || stream == names.Redrive {
			return names.Cursor(stream, group)
		}
	}
	return all[0].Cursor(stream, group)
}
