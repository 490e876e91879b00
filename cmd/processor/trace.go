package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"heatobserver/config"
	"heatobserver/operate"
)

// traceCommand shows the life of one plan.
type traceCommand struct {
	operated
	PlanID string `arg:"" name:"plan-id" help:"The plan."`
	Since  string `default:"-24h" placeholder:"TIME" help:"Look back to this time, -24h or 2026-11-24T08:00:00Z."`
}

// Help is the end of `processor trace --help`.
func (traceCommand) Help() string {
	return `Examples:
  processor trace a4f3b8c2d1e5f6a7
  processor trace a4f3b8c2d1e5f6a7 --since -1h --json | jq '.events[] | {what, after_ms}'

It shows what streams, groups and keys still know. A time with ~ follows from a TTL or an idle time; when an entry was acknowledged is kept nowhere. Streams are read from the newest entry, at most 200000 entries of each.

Ends with 0 when something was found, 1 when nothing was, 2 when Redis could not be asked.`
}

// Run traces.
func (c *traceCommand) Run(ctx context.Context, sys *system) error {
	if c.PlanID == "" {
		return usage("the plan ID is empty")
	}
	since, err := operate.ParseTime(c.Since, time.Now())
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	return c.with(ctx, sys, func(o *operate.Operator) error {
		found, err := o.Trace(ctx, c.PlanID, since)
		if err != nil {
			return err
		}
		if c.JSON {
			err = printJSON(sys.stdout, found)
		} else {
			err = printTrace(newPrinter(sys.stdout), found)
		}
		if err == nil && !found.Found {
			err = withCode(config.ExitFailed, errors.New("nothing is known of plan "+shown(c.PlanID)))
		}
		return err
	})
}

func printTrace(p *printer, t operate.Trace) error {
	var rows []table.Row
	for _, e := range t.Events {
		at := e.Time.Format("15:04:05.000")
		switch {
		case e.Unknown:
			at = "-"
		case e.Estimated:
			at = "~" + at
		}
		var details []string
		for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
			details = append(details, name+"="+brief(e.Detail[name], 80))
		}
		rows = append(rows, table.Row{at, milliseconds(e.AfterMS), milliseconds(e.StepMS), e.What, shown(e.Where), orDash(e.EntryID), strings.Join(details, " ")})
	}
	if len(rows) > 0 {
		p.line("plan %s, first seen %s", shown(t.PlanID), t.Events[0].Time.Format(time.RFC3339))
		p.table(table.Row{"time (UTC)", "after ms", "step ms", "what", "where", "entry", "details"}, rows, 2, 3)
	}
	for _, note := range t.Notes {
		p.line("note: %s", shown(note))
	}
	return p.err
}

func milliseconds(ms *int64) string {
	if ms == nil {
		return "-"
	}
	return strconv.FormatInt(*ms, 10)
}
