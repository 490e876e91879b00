package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"time"

	"github.com/redis/go-redis/v9"

	"heatobserver/app"
	"heatobserver/archive"
	"heatobserver/replay"
)

// replayingCommand replays one history as a process of its own, so that its CPU and memory are measured by themselves.
type replayingCommand struct {
	Archive string `help:"Directory of the archive."`
	Redis   string `help:"URL of the server, where there is no archive."`
	To      string `required:"" help:"The last entry ID of the plans."`
	Plans   int64  `help:"How many there are, for the bar."`
	Profile string `help:"Also write a CPU profile to this file."`
}

// replayed is what the process says of itself.
type replayed struct {
	Plans     int64   `json:"plans"`
	Decisions int64   `json:"decisions"`
	Seconds   float64 `json:"seconds"`
	CPU       float64 `json:"cpu_seconds"`
	PeakMB    float64 `json:"peak_mb"`
	Late      float64 `json:"late_coverage"`
	// Digest is that of the report: whatever the source, the same history must give the same.
	Digest string `json:"digest"`
}

// Run replays and prints a replayed.
func (c *replayingCommand) Run(ctx context.Context) (err error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(app.HistoryRoom)
	}
	source, end, err := c.source()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if c.Profile != "" {
		f, err := os.Create(c.Profile)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	r, err := replay.ParseRange("-", c.To, time.Now())
	if err != nil {
		return err
	}
	before, err := usageOf(os.Getpid())
	if err != nil {
		return err
	}
	shown := newBar("replaying", 2*c.Plans)
	result, err := replay.Run(ctx, source, r, replay.Options{
		Payload:  app.PlanPayload,
		Progress: func(entries int64, _ time.Time) { shown.set(entries) },
	}, replay.Settings{MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond, Notify: true, DedupeTTL: 600 * time.Second}, nil)
	shown.end()
	if err != nil {
		return err
	}
	after, err := usageOf(os.Getpid())
	if err != nil {
		return err
	}
	m, err := memoryOf(os.Getpid())
	if err != nil {
		return err
	}
	out := replayed{
		Plans: result.Plans, Decisions: result.Decisions, Seconds: after.at.Sub(before.at).Seconds(),
		CPU: (after.cpu - before.cpu).Seconds(), PeakMB: m.peak,
	}
	out.Late, _ = result.Points[1].Coverage()
	if out.Digest, err = digest(result); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

func (c *replayingCommand) source() (source replay.Source, end func() error, err error) {
	if c.Archive != "" {
		a, err := archive.Open(c.Archive)
		return a, func() error { return nil }, err
	}
	opts, err := redis.ParseURL(c.Redis)
	if err != nil {
		return nil, nil, fmt.Errorf("read the URL of the server: %w", err)
	}
	h := app.NewHistory(redis.NewClient(opts), historyStreams)
	return h, h.Close, nil
}

func digest(result *replay.Result) (string, error) {
	text, err := json.Marshal(result.Report())
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}
