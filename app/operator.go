package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"heatobserver/config"
	"heatobserver/operate"
)

// UnreachableError means that a one-off command could not be carried out because Redis does not answer.
type UnreachableError struct {
	Where string // the address, without secrets
	Err   error
}

// Error names the address.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("reach Redis at %s (REDIS_URL, REDIS_HOST, REDIS_PORT): %v", e.Where, e.Err)
}

// Unwrap is the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Operate connects as the workers of this configuration do and hands do an Operator, which ends with it. It does not try
// for ever, as a run does: a Redis that does not answer within 5 s is an *UnreachableError.
func Operate(ctx context.Context, cfg config.Config, do func(*operate.Operator) error) (err error) {
	client, err := NewClient(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	reach, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := client.Ping(reach).Err(); err != nil {
		return &UnreachableError{Where: cfg.Redis.Where(), Err: err}
	}
	return do(operate.New(client, operateSetup(cfg)))
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
