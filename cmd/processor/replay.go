package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"heatobserver/app"
	"heatobserver/event"
	"heatobserver/replay"
)

// replayCommand holds the commands that compute from history.
type replayCommand struct {
	Report replayReport `cmd:"" default:"withargs" help:"Rebuild from plans and decisions what the observer should have seen."`
	Audit  replayAudit  `cmd:"" help:"Compare what was recorded with what should have been: missing, doubled, and why they disagree."`
	WhatIf replayWhatIf `cmd:"" name:"what-if" help:"Say what other settings would have given."`
}

func newReplayCommand() replayCommand {
	flags := func() historyFlags { return historyFlags{settings: newSettings()} }
	return replayCommand{
		Report: replayReport{historyFlags: flags()},
		Audit:  replayAudit{historyFlags: flags()},
		WhatIf: replayWhatIf{historyFlags: flags()},
	}
}

type replayReport struct {
	historyFlags
	ReadDelay    time.Duration `default:"0s" help:"Time from the publishing of a plan to the first look."`
	Observations string        `placeholder:"FILE" help:"Write every observation to this file, one JSON object a line."`
	ToStream     string        `placeholder:"STREAM" help:"Write every observation into this stream too. Live names are refused."`
	HTML         string        `name:"html" placeholder:"FILE" help:"Write the report as one page with pictures too."`
	Speed        replaySpeed   `default:"instant" help:"Pace of what is written: instant, original, or a factor as 10x."`
}

// Help is the end of `processor replay --help`.
func (replayReport) Help() string {
	return `Examples:
  processor replay --from -24h
  processor replay --archive history --from 2026-11-24T08:00:00Z --to 2026-11-24T09:00:00Z --json
  processor replay --archive history --observations observed.jsonl
  processor replay --from -24h --html report.html
  processor replay --from -1h --to-stream lab:observed --speed 10x

Max wait, poll interval, dedupe TTL and the names of the streams are those of the settings. Plans that wait at once are not limited: processor replay what-if looks at that. The decisions that a range needs are read beyond its ends. What lies too near to the end of the history, or before the decisions that are left, is undecided and left out of what is written.

In --to-stream the ID of an observation has the time at which it would have been made, so that the stream can be audited: processor replay audit --heat-obs-stream lab:observed.

Only reads, unless --to-stream names a stream. Ends with 0, with 1 when the history could not be read to its end (what was good before is shown), 2 when it could not be carried out.`
}

// Run replays.
func (c *replayReport) Run(ctx context.Context, sys *system) error {
	if c.ReadDelay < 0 {
		return usage("--read-delay must not be negative")
	}
	return c.history(ctx, sys, c.ToStream, func(p *past) error {
		out, err := c.openOutput(ctx, p)
		if err != nil {
			return err
		}
		s := p.settings(c.ReadDelay)
		result, err := replay.Run(ctx, p.source, p.span, p.options, s, out.observation)
		p.done()
		err = errors.Join(err, out.close(ctx))
		if result == nil || errors.Is(err, app.ErrTarget) {
			return replayError(err, true)
		}
		return errors.Join(c.writePage(p, s, result), c.print(sys, p, s, result), err)
	})
}

// writePage writes the page where --html names one.
func (c *replayReport) writePage(p *past, s replay.Settings, result *replay.Result) (err error) {
	if c.HTML == "" {
		return nil
	}
	f, err := os.Create(c.HTML)
	if err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	from, to := position(p.span)
	return replay.WritePage(f, result, from, to, s.MaxWait, replay.Limits(p.options, s.ReadDelay))
}

// replayJSON is what --json prints.
type replayJSON struct {
	From     string         `json:"from"`
	To       string         `json:"to"`
	Settings replaySettings `json:"settings"`
	replay.Report
	NotProven []string `json:"not_proven"`
}

// replaySettings are replay.Settings in the units of their names.
type replaySettings struct {
	MaxWaitMs     int64 `json:"max_wait_ms"`
	PollMs        int64 `json:"poll_ms"`
	Notify        bool  `json:"notify"`
	DedupeTTLSec  int64 `json:"dedupe_ttl_sec"`
	BridgeDelayMs int64 `json:"bridge_delay_ms"`
	ReadDelayMs   int64 `json:"read_delay_ms"`
}

func shownSettings(p *past, s replay.Settings) replaySettings {
	return replaySettings{
		MaxWaitMs: s.MaxWait.Milliseconds(), PollMs: s.Poll.Milliseconds(), Notify: s.Notify, DedupeTTLSec: int64(s.DedupeTTL.Seconds()),
		BridgeDelayMs: p.options.BridgeDelay.Milliseconds(), ReadDelayMs: s.ReadDelay.Milliseconds(),
	}
}

func (c *replayReport) print(sys *system, p *past, s replay.Settings, result *replay.Result) error {
	report := result.Report()
	limits := replay.Limits(p.options, s.ReadDelay)
	if c.JSON {
		from, to := position(p.span)
		return printJSON(sys.stdout, replayJSON{From: from, To: to, Settings: shownSettings(p, s), Report: report, NotProven: limits})
	}
	out := newPrinter(sys.stdout)
	out.line("%d plans (%d more malformed), %d decisions (%d of them malformed), max wait %v", report.Plans, report.Malformed,
		report.Decisions, report.BadDecisions, s.MaxWait)
	if report.Incomplete {
		out.alarm("the history could not be read to its end: this is what was good before")
	}
	if report.TooEarly > 0 {
		out.alarm("%d plans are undecided because the decisions before %s are gone", report.TooEarly, utc(result.Begin))
	}
	out.line("")
	printPoints(out, report.Points)
	printSymbols(out, report.Symbols)
	printWindows(out, report)
	printLimits(out, limits)
	return out.err
}

func printPoints(out *printer, points []replay.PointReport) {
	var rows []table.Row
	for _, p := range points {
		rows = append(rows, table.Row{
			p.Name, p.Observations, p.Found, percent(p.Coverage), p.AfterDeadline, p.Reasons[event.Missing], p.Reasons[event.Timeout],
			p.Reasons[event.ParseError], p.Duplicates, p.Undecided, milliseconds(p.P50Ms), milliseconds(p.P90Ms),
			milliseconds(p.P99Ms), milliseconds(p.MaxMs),
		})
	}
	out.table(table.Row{
		"obs_point", "observed", "found", "coverage", "after deadline", "missing", "timeout", "parse_error", "duplicate", "undecided",
		"wait p50 ms", "p90", "p99", "max",
	}, rows, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
}

func printSymbols(out *printer, symbols []replay.TallyReport) {
	const most = 20
	first, more := least(symbols, most, byObservations)
	var rows []table.Row
	for _, s := range first {
		rows = append(rows, table.Row{brief(s.Name, 40), s.Observations, s.Found, percent(s.Coverage), s.AfterDeadline})
	}
	if len(rows) == 0 {
		return
	}
	out.line("")
	out.table(table.Row{"symbol (late)", "observed", "found", "coverage", "after deadline"}, rows, 2, 3, 4, 5)
	if more > 0 {
		out.line("and %d symbols with fewer observations: see --json", more)
	}
}

func printWindows(out *printer, report replay.Report) {
	if len(report.Windows) == 0 {
		return
	}
	var rows []table.Row
	for _, w := range report.Windows {
		rows = append(rows, table.Row{
			utc(w.StartMs), w.Early.Observations, percent(w.Early.Coverage), w.Late.Observations, percent(w.Late.Coverage), w.Late.AfterDeadline,
		})
	}
	out.line("")
	out.line("by the time of publishing, %v each, UTC", time.Duration(report.WindowMs)*time.Millisecond)
	out.table(table.Row{"from", "early", "coverage", "late", "coverage", "after deadline"}, rows, 2, 3, 4, 5, 6)
}

func printLimits(out *printer, limits []string) {
	out.line("")
	out.line("what history cannot prove:")
	for _, l := range limits {
		out.line("  %s", l)
	}
}
