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
	return do(operate.New(client, operate.Setup{
		Plans: cfg.PlanStreams(),
		Groups: []operate.Group{
			{Name: cfg.Groups.Early, Expected: cfg.EarlyEnabled()},
			{Name: cfg.Groups.Late, Expected: cfg.LateEnabled()},
		},
		DeadStream:    cfg.Streams.Dead,
		RedriveStream: cfg.Streams.Redrive,
		KeyPrefix:     cfg.Output.KeyPrefix,

		DecisionStream: cfg.Streams.Decision,
		ObservedStream: cfg.Streams.Observed,
		LookupPrefix:   cfg.HeatLookupPrefix,
		DedupePrefix:   cfg.Output.DedupePrefix,

		CursorKey: func(name, group string) string { return cursorKey(cfg, name, group) },
		MaxWait:   cfg.Late.MaxWait,
		MinIdle:   cfg.Read.ClaimMinIdle,
		DedupeTTL: cfg.Output.DedupeTTL,
	}))
}

// cursorKey is the key of a group's cursor: that on the plan stream has the name of the wire contract, every other
// stream's has the stream in its name.
func cursorKey(cfg config.Config, stream, group string) string {
	key := cfg.Output.KeyPrefix + "cursor:" + group
	if stream == cfg.Streams.Plan {
		return key
	}
	return key + ":" + stream
}
