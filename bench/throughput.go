package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// throughputCommand measures how fast plans are observed beside hand-written loops and the stock transport.
type throughputCommand struct {
	Quick  bool     `help:"One short round: does everything work?"`
	Rounds int      `default:"3" help:"How often every variant runs, interleaved."`
	Plans  int      `default:"100000" help:"Plans of a run; slow variants are given fewer."`
	Only   []string `placeholder:"KEY" help:"Variants to run, by their keys (a1, a4, u4, b4, c1, c16, d, e, f, ag, g, h2, h4). Default: all."`
	output
}

// throughputFigures are all that was measured.
type throughputFigures struct {
	Machine machine  `json:"machine"`
	Quick   bool     `json:"quick,omitempty"`
	Rounds  int      `json:"rounds"`
	Results []result `json:"results"`
	Ratios  []ratio  `json:"ratios"`
	// Invalid says why the run as a whole proves nothing, "" when it does.
	Invalid string `json:"invalid,omitempty"`
}

// Run measures, prints and writes.
func (c *throughputCommand) Run(ctx context.Context) error {
	if c.Quick {
		c.Rounds, c.Plans = 1, min(c.Plans, 20_000)
	}
	binary, end, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	defer end()
	f := throughputFigures{Machine: describeMachine(ctx), Quick: c.Quick, Rounds: c.Rounds}
	var failed int
	err = try(ctx, func(t *trial) { failed = c.measure(t, binary, &f) })
	if err != nil {
		return err
	}
	f.compare()
	f.print(os.Stdout)
	if err := writeJSON(c.file("throughput.json"), f); err != nil {
		return err
	}
	if err := f.draw(c.file("throughput.svg"), c.file("throughput.png")); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d measurements failed or are invalid", failed)
	}
	if f.Invalid != "" {
		return errors.New(f.Invalid)
	}
	return ctx.Err()
}

// measure runs the variants interleaved and returns how many runs are no good.
func (c *throughputCommand) measure(t *trial, binary string, f *throughputFigures) (failed int) {
	data := map[int]*dataset{}
	for round := range c.Rounds {
		for _, v := range variants {
			if len(c.Only) > 0 && !slices.Contains(c.Only, v.Key) || t.ctx.Err() != nil {
				continue
			}
			plans := int(float64(c.Plans) * v.share)
			if data[plans] == nil {
				data[plans] = newDataset(t, plans)
			}
			start := time.Now()
			var r result
			err := try(t.ctx, func(t *trial) { r = v.run(t, binary, data[plans]) })
			if err != nil {
				r.Variant, r.Plans = v.Key, plans
				r.Invalid = append(r.Invalid, err.Error())
			}
			r.Round = round + 1
			f.Results = append(f.Results, r)
			state := "ok"
			if len(r.Invalid) > 0 {
				failed++
				state = "INVALID: " + strings.Join(r.Invalid, "; ")
			}
			fmt.Fprintf(os.Stderr, "%s  round %d  %-44s %7.0f plans/s  %5.1f s  %s\n",
				start.Format(time.TimeOnly), round+1, v.Name, r.PerSecond, time.Since(start).Seconds(), state)
		}
	}
	return failed
}
