package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"heatobserver/config"
	"heatobserver/event"
	"heatobserver/replay"
)

type replayAudit struct {
	historyFlags
	Grace     time.Duration `default:"60s" help:"How long after its deadline an observation may still have been written: a drain, a crash, a backlog."`
	Tolerance time.Duration `placeholder:"DURATION" help:"By how much a look and a write may miss one another. Default: the poll interval."`
	List      int           `default:"50" help:"How many findings are listed; all are counted."`
}

// Help is the end of `processor replay audit --help`.
func (replayAudit) Help() string {
	return `Examples:
  processor replay audit --from -1h
  processor replay audit --archive history --json | jq '.findings[] | select(.kind == "missing")'
  processor replay audit --archive history --from 2026-11-24T08:00:00Z --list 1000

Each recorded observation is judged at the moment of its own look (source_id and wait_ms of debug_json). What the streams cannot show is counted apart and never called wrong: plans whose decisions are trimmed, whose recording is trimmed, redis_error, observations of other observers.

Ends with 0, with 1 when an observation is missing or doubled or the history could not be read to its end, 2 when it could not be carried out. A disagreement alone leaves 0: a reader may have been slow.`
}

// Run audits.
func (c *replayAudit) Run(ctx context.Context, sys *system) error {
	if c.Grace < 0 || c.Tolerance < 0 || c.List < 0 {
		return usage("--grace, --tolerance and --list must not be negative")
	}
	return c.history(ctx, sys, "", func(p *past) error {
		tolerance := c.Tolerance
		if tolerance == 0 {
			tolerance = p.cfg.Late.Poll
		}
		s := replay.AuditSettings{
			MaxWait: p.cfg.Late.MaxWait, DedupeTTL: p.cfg.Output.DedupeTTL, Tolerance: tolerance, Grace: c.Grace, List: c.List,
		}
		audit, err := replay.RunAudit(ctx, p.source, p.span, p.options, s)
		p.done()
		if audit == nil {
			return replayError(err, true)
		}
		if printErr := c.print(sys, p, s, audit, err != nil); printErr != nil {
			return errors.Join(err, printErr)
		}
		if err == nil && audit.Bad() {
			err = withCode(config.ExitFailed, fmt.Errorf("%d observations are missing and %d doubled", audit.Missing, audit.Doubled))
		}
		return err
	})
}

// auditJSON is what --json prints.
type auditJSON struct {
	From          string `json:"from"`
	To            string `json:"to"`
	MaxWaitMs     int64  `json:"max_wait_ms"`
	DedupeTTLSec  int64  `json:"dedupe_ttl_sec"`
	ToleranceMs   int64  `json:"tolerance_ms"`
	BridgeDelayMs int64  `json:"bridge_delay_ms"`
	Incomplete    bool   `json:"incomplete"`
	replay.AuditReport
}

func (c *replayAudit) print(sys *system, p *past, s replay.AuditSettings, audit *replay.Audit, incomplete bool) error {
	report := audit.Report()
	if c.JSON {
		from, to := position(p.span)
		return printJSON(sys.stdout, auditJSON{
			From: from, To: to, MaxWaitMs: s.MaxWait.Milliseconds(), DedupeTTLSec: int64(s.DedupeTTL.Seconds()),
			ToleranceMs: s.Tolerance.Milliseconds(), BridgeDelayMs: p.options.BridgeDelay.Milliseconds(),
			Incomplete: incomplete, AuditReport: report,
		})
	}
	out := newPrinter(sys.stdout)
	if incomplete {
		out.alarm("the history could not be read to its end: this is what was good before")
	}
	printAudit(out, report, s)
	return out.err
}

func printAudit(out *printer, r replay.AuditReport, s replay.AuditSettings) {
	var rows []table.Row
	for _, row := range []struct {
		n    int64
		what string
	}{
		{r.Plans, "plans"},
		{r.Malformed, "malformed plans, of which no observation is expected"},
		{r.Recorded, "observations of these plans"},
		{r.Agree, "agree with the decisions"},
		{r.Within, fmt.Sprintf("disagree by at most %v", s.Tolerance)},
		{r.Disagree, "disagree by more"},
		{r.Unprovable, "cannot be judged: redis_error, recorded since the audit began, or decisions gone"},
		{r.Missing, "are missing"},
		{r.Doubled, "are doubled"},
		{r.Held, "not expected: the plan had been observed within the dedupe TTL"},
		{r.Undecided, "not expected yet: too near to the end of the history"},
		{r.Unjudged, "not expected: published before the recording that is left"},
		{r.Foreign, "of other observers, without source_id"},
		{r.Overdue, fmt.Sprintf("recorded more than %v after the deadline, so that they may be among the missing: see --grace", s.Grace)},
		{r.Unmatched, "of plans that are trimmed"},
		{r.BadRecords, "malformed"},
	} {
		rows = append(rows, table.Row{row.n, row.what})
	}
	out.table(table.Row{"count", "observations, one per plan and observation point"}, rows, 1)
	printMatrix(out, r.Matrix)
	if len(r.Findings) > 0 {
		out.line("")
		var rows []table.Row
		for _, f := range r.Findings {
			kind := string(f.Kind)
			if f.Within {
				kind += " (tolerated)"
			}
			rows = append(rows, table.Row{kind, f.Point, brief(f.PlanID, 40), f.Plan, text.WrapSoft(strings.Join(append(f.Recorded, f.Why), " "), 90)})
		}
		out.table(table.Row{"finding", "obs_point", "plan", "its entry", "observations, and why"}, rows)
	}
	if r.NotListed > 0 {
		out.line("and %d findings more: see --list", r.NotListed)
	}
	out.line("")
	if r.Missing+r.Doubled > 0 {
		out.alarm("MISSING %d DOUBLED %d", r.Missing, r.Doubled)
		return
	}
	out.line("nothing is missing and nothing is doubled")
}

// printMatrix shows what was recorded (rows) against what history expects (columns).
func printMatrix(out *printer, matrix []replay.MatrixRow) {
	reasons := []event.Reason{event.OK, event.Missing, event.Timeout, event.ParseError}
	counts := map[replay.MatrixRow]int64{}
	seen := map[[2]string]bool{}
	var order [][2]string
	header := table.Row{"obs_point", `recorded \ expected`}
	for _, reason := range reasons {
		header = append(header, string(reason))
	}
	for _, m := range matrix {
		key := [2]string{m.Point, m.Recorded}
		if !seen[key] {
			seen[key] = true
			order = append(order, key)
		}
		counts[replay.MatrixRow{Point: m.Point, Recorded: m.Recorded, Expected: m.Expected}] = m.Count
	}
	if len(order) == 0 {
		return
	}
	var rows []table.Row
	for _, key := range order {
		row := table.Row{key[0], key[1]}
		for _, reason := range reasons {
			row = append(row, counts[replay.MatrixRow{Point: key[0], Recorded: key[1], Expected: string(reason)}])
		}
		rows = append(rows, row)
	}
	out.line("")
	out.table(header, rows, 3, 4, 5, 6)
}
