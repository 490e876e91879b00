package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/event"
	"heatobserver/replay"
)

// replaySpeed is the pace of what is written: 0 as fast as it goes, 1 that of the history, 10 ten times that.
type replaySpeed float64

// UnmarshalText reads instant, original or a factor as 10x.
func (s *replaySpeed) UnmarshalText(text []byte) error {
	switch word := string(text); word {
	case "instant":
		*s = 0
	case "original":
		*s = 1
	default:
		number, isFactor := strings.CutSuffix(word, "x")
		n, err := strconv.ParseFloat(number, 64)
		if !isFactor || err != nil || !(n > 0 && n <= 1e6) {
			return fmt.Errorf("%.20q is none of instant, original and a factor as 10x", word)
		}
		*s = replaySpeed(n)
	}
	return nil
}

// output is where the observations of a replay go: a file, a stream, both, or nowhere.
type output struct {
	ctx   context.Context
	speed replaySpeed
	began time.Time
	first int64

	file   *os.File
	text   *bufio.Writer
	line   func(*event.Observation) error
	stream *app.ObservationWriter
}

// openOutput makes the file and looks at the stream before anything is read.
func (c *replayReport) openOutput(ctx context.Context, p *past) (*output, error) {
	out := &output{ctx: ctx, speed: c.Speed}
	if c.ToStream != "" {
		w, err := app.NewObservationWriter(ctx, p.client, c.ToStream, p.cfg.Output.MaxDebugChars)
		if err != nil {
			return nil, withCode(config.ExitNotCarriedOut, err)
		}
		out.stream = w
	}
	if c.Observations != "" {
		f, err := os.Create(c.Observations)
		if err != nil {
			return nil, withCode(config.ExitNotCarriedOut, fmt.Errorf("write the observations: %w", err))
		}
		out.file, out.text = f, bufio.NewWriterSize(f, 1<<16)
		out.line = replay.JSONLines(out.text, p.cfg.Output.MaxDebugChars)
	}
	return out, nil
}

// refuseLive refuses names that somebody reads or that are keys of the observer or of the heat bridge.
func refuseLive(cfg config.Config, name string) error {
	for _, live := range liveNames(cfg) {
		if name == live {
			return usage("--to-stream: %s is a live stream; take another name", shown(name))
		}
	}
	for _, prefix := range []string{cfg.Output.KeyPrefix, cfg.Output.DedupePrefix, cfg.HeatLookupPrefix} {
		if prefix != "" && strings.HasPrefix(name, prefix) {
			return usage("--to-stream: keys that begin with %s are live; take another name", prefix)
		}
	}
	return nil
}

// observation takes one observation, when its time has come.
func (o *output) observation(obs *event.Observation) error {
	if o.file == nil && o.stream == nil {
		return nil
	}
	if err := o.pace(int64(obs.SourceID.Ms) + obs.WaitMs); err != nil {
		return err
	}
	if o.line != nil {
		if err := o.line(obs); err != nil {
			return err
		}
	}
	if o.stream != nil {
		return o.stream.Add(o.ctx, obs)
	}
	return nil
}

// pace waits until at, a millisecond of the history, has come. What was written before can be read meanwhile.
func (o *output) pace(at int64) error {
	if o.speed == 0 {
		return nil
	}
	if o.began.IsZero() {
		o.began, o.first = time.Now(), at
	}
	due := o.began.Add(time.Duration(float64(at-o.first) / float64(o.speed) * float64(time.Millisecond)))
	wait := time.Until(due)
	if wait <= 0 {
		return nil
	}
	if err := o.flush(o.ctx); err != nil {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-o.ctx.Done():
		return fmt.Errorf("write the observations: %w", o.ctx.Err())
	case <-timer.C:
		return nil
	}
}

func (o *output) flush(ctx context.Context) error {
	if o.text != nil {
		if err := o.text.Flush(); err != nil {
			return fmt.Errorf("write the observations: %w", err)
		}
	}
	if o.stream != nil {
		return o.stream.Flush(ctx)
	}
	return nil
}

// close writes what is left, also when the replay was interrupted.
func (o *output) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	err := o.flush(ctx)
	if o.file != nil {
		err = errors.Join(err, o.file.Close())
	}
	return err
}
