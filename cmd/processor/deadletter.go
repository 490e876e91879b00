package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"heatobserver/config"
	"heatobserver/operate"
)

// deadletterCommand holds the commands about entries that were given up.
type deadletterCommand struct {
	List    deadletterList    `cmd:"" help:"List dead letters, the newest first."`
	Show    deadletterShow    `cmd:"" help:"Show one dead letter with all fields of its entry."`
	Redrive deadletterRedrive `cmd:"" help:"Send dead letters back to the group that gave them up."`
	Purge   deadletterPurge   `cmd:"" help:"Delete dead letters for good."`
}

// Help is the end of `processor deadletter --help`.
func (deadletterCommand) Help() string {
	return `Examples:
  processor deadletter list --reason no_symbol
  processor deadletter redrive --all --reason no_symbol --set symbol=BTCUSDT --dry-run`
}

func newDeadletterCommand() deadletterCommand {
	return deadletterCommand{
		List:    deadletterList{operated: operated{settings: newSettings()}},
		Show:    deadletterShow{operated: operated{settings: newSettings()}},
		Redrive: deadletterRedrive{operated: operated{settings: newSettings()}},
		Purge:   deadletterPurge{operated: operated{settings: newSettings()}},
	}
}

// deadletterFilter selects dead letters.
type deadletterFilter struct {
	Reason string `enum:"no_plan_id,no_symbol,bad_field,bad_envelope,too_large,handler_failed," default:"" placeholder:"REASON" help:"Only those with this reason: no_plan_id, no_symbol, bad_field, bad_envelope, too_large or handler_failed."`
	Group  string `placeholder:"GROUP" help:"Only those of this consumer group."`
	From   string `placeholder:"TIME" help:"Only those parked at or after this time, -24h or 2026-11-24T08:00:00Z."`
	To     string `placeholder:"TIME" help:"Only those parked before this time."`
}

// filter takes times ago from the clock of Redis, by which dead letters are parked.
func (f deadletterFilter) filter(ctx context.Context, o *operate.Operator) (out operate.Filter, err error) {
	out = operate.Filter{Reason: f.Reason, Group: f.Group}
	if f.From == "" && f.To == "" {
		return out, nil
	}
	now, err := o.Now(ctx)
	if err != nil {
		return out, err
	}
	for _, bound := range []struct {
		text string
		time *time.Time
	}{{f.From, &out.From}, {f.To, &out.To}} {
		if bound.text == "" {
			continue
		}
		if *bound.time, err = operate.ParseTime(bound.text, now); err != nil {
			return out, withCode(config.ExitNotCarriedOut, err)
		}
	}
	return out, nil
}

func (f deadletterFilter) given() bool { return f != deadletterFilter{} }

type deadletterList struct {
	operated
	deadletterFilter
	Limit int `default:"50" help:"At most so many; 0 shows all."`
}

// Help is the end of `processor deadletter list --help`.
func (deadletterList) Help() string {
	return `Examples:
  processor deadletter list
  processor deadletter list --reason no_symbol --group p28_late --from -1h
  processor deadletter list --limit 0 --json | jq -r '.dead_letters[].raw.plan_id'

One entry that nobody can handle is a dead letter of each group.`
}

// Run lists.
func (c *deadletterList) Run(ctx context.Context, sys *system) error {
	if c.Limit < 0 {
		return usage("--limit %d must not be negative", c.Limit)
	}
	return c.with(ctx, sys, func(o *operate.Operator) error {
		filter, err := c.filter(ctx, o)
		if err != nil {
			return err
		}
		filter.Limit = c.Limit
		list, total, err := o.List(ctx, filter)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(sys.stdout, map[string]any{"total": total, "dead_letters": list})
		}
		p := newPrinter(sys.stdout)
		var rows []table.Row
		for _, d := range list {
			rows = append(rows, table.Row{d.ID, d.Time.Format(time.DateTime), shown(d.Reason), shown(d.Group), shown(d.EntryID), brief(d.Error, 70)})
		}
		if len(rows) > 0 {
			p.table(table.Row{"id", "parked (UTC)", "reason", "group", "entry", "error"}, rows)
		}
		p.line("%d shown, %d in %s", len(list), total, shown(o.DeadStreams()))
		return p.err
	})
}

type deadletterShow struct {
	operated
	ID string `arg:"" help:"ID of the dead letter, from the list."`
}

// Help is the end of `processor deadletter show --help`.
func (deadletterShow) Help() string {
	return `Examples:
  processor deadletter show 1700000000000-0
  processor deadletter show 1700000000000-0 --json | jq .raw

Characters that do not print are escaped; a value that is not UTF-8 is shown in base64.`
}

// Run shows.
func (c *deadletterShow) Run(ctx context.Context, sys *system) error {
	ids, err := operate.ParseIDs([]string{c.ID})
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	return c.with(ctx, sys, func(o *operate.Operator) error {
		d, err := o.Show(ctx, ids[0], "")
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(sys.stdout, d)
		}
		p := newPrinter(sys.stdout)
		p.line("dead letter  %s, parked %s", d.ID, d.Time.Format(time.RFC3339))
		p.line("entry        %s of %s", shown(d.EntryID), shown(d.Stream))
		p.line("group        %s", shown(d.Group))
		p.line("reason       %s, after %d failures", shown(d.Reason), d.Failures)
		p.line("error        %s", shown(d.Error))
		if d.Refused == "" {
			p.line("redrive      possible")
		} else {
			p.line("redrive      refused: %s", shown(d.Refused))
		}
		p.line("fields")
		decoder := json.NewDecoder(strings.NewReader(string(d.Raw))) // a map would lose order and repetition
		if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
			p.line("  %s", shown(string(d.Raw)))
			return p.err
		}
		for decoder.More() {
			name, err := decoder.Token()
			if err != nil {
				return fmt.Errorf("read the fields of dead letter %s: %w", d.ID, err)
			}
			var value json.RawMessage
			if err := decoder.Decode(&value); err != nil {
				return fmt.Errorf("read the fields of dead letter %s: %w", d.ID, err)
			}
			var plain string
			if json.Unmarshal(value, &plain) != nil {
				plain = string(value)
			}
			p.line("  %s = %s", shown(fmt.Sprint(name)), shown(plain))
		}
		return p.err
	})
}

// deadletterSelection is what a command that changes dead letters is about.
type deadletterSelection struct {
	IDs []string `arg:"" optional:"" name:"id" help:"IDs of dead letters, from the list."`
	All bool     `help:"All that the filters select, in place of IDs."`
	deadletterFilter
}

// check refuses what contradicts itself before Redis is asked for anything.
func (s deadletterSelection) check(orElse bool) error {
	switch {
	case len(s.IDs) > 0 && (s.All || orElse || s.given()):
		return usage("give either IDs or --all with filters")
	case len(s.IDs) == 0 && !s.All && !orElse:
		return usage("say which dead letters: IDs, or --all")
	}
	return nil
}

func (s deadletterSelection) selection(ctx context.Context, o *operate.Operator) (sel operate.Selection, err error) {
	if sel.IDs, err = operate.ParseIDs(s.IDs); err != nil {
		return sel, withCode(config.ExitNotCarriedOut, err)
	}
	sel.Filter, err = s.filter(ctx, o)
	return sel, err
}

type deadletterRedrive struct {
	operated
	deadletterSelection
	Set    []string `sep:"none" placeholder:"FIELD=VALUE" help:"Give a field this value in each entry; may be repeated."`
	DryRun bool     `help:"Only say what would be done."`
	Yes    bool     `help:"With --all: do it; without, it is only planned."`
}

// Help is the end of `processor deadletter redrive --help`.
func (deadletterRedrive) Help() string {
	return `Examples:
  processor deadletter redrive 1700000000000-0
  processor deadletter redrive 1700000000000-0 --set symbol=BTCUSDT
  processor deadletter redrive --all --reason handler_failed --from -1h --dry-run
  processor deadletter redrive --all --reason handler_failed --from -1h --yes

Each goes back to the one group that gave it up, through the redrive stream (P28_REDRIVE_STREAM), and leaves the dead letters. Its publish time stays that of the original entry, so a late observation has only what is left of its allowed wait, as a rule one look. What was observed already is not observed again while the dedupe key lives (P28_DEDUPE_TTL_SEC). What fails again is a dead letter again. One whose fields did not fit is refused and stays.

Ends with 1 when some were refused or gone, and with 2 when --all lacks --yes or --dry-run.`
}

// Run redrives.
func (c *deadletterRedrive) Run(ctx context.Context, sys *system) error {
	if err := c.check(false); err != nil {
		return err
	}
	var set []string
	for _, pair := range c.Set {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return usage("--set %q must be FIELD=VALUE", pair)
		}
		set = append(set, name, value)
	}
	unsure := c.All && !c.Yes && !c.DryRun
	return c.with(ctx, sys, func(o *operate.Operator) error {
		selection, err := c.selection(ctx, o)
		if err != nil {
			return err
		}
		report, err := o.Redrive(ctx, selection, set, !c.DryRun && !unsure)
		if printErr := c.print(sys, report); err == nil {
			err = printErr
		}
		switch n := report.Counts; {
		case err != nil:
			return err
		case unsure && n.WouldRedrive > 0:
			return usage("nothing was redriven: add --yes to redrive %d dead letters", n.WouldRedrive)
		case n.Refused+n.Gone > 0:
			return withCode(config.ExitFailed, fmt.Errorf("%d dead letters were refused, %d are not there", n.Refused, n.Gone))
		}
		return nil
	})
}

func (c *deadletterRedrive) print(sys *system, report operate.RedriveReport) error {
	if c.JSON {
		return printJSON(sys.stdout, report)
	}
	p := newPrinter(sys.stdout)
	var rows []table.Row
	for _, i := range report.Items {
		rows = append(rows, table.Row{i.ID, shown(i.Group), shown(i.EntryID), i.Result, i.RedriveID + brief(i.Why, 80)})
	}
	if len(rows) > 0 {
		p.table(table.Row{"id", "group", "entry", "result", "as, or why not"}, rows)
	}
	n := report.Counts
	if report.Executed {
		p.line("%d redriven, %d refused, %d not there", n.Redriven, n.Refused, n.Gone)
	} else {
		p.line("plan: %d would be redriven, %d refused, %d not there", n.WouldRedrive, n.Refused, n.Gone)
	}
	return p.err
}

type deadletterPurge struct {
	operated
	deadletterSelection
	OlderThan time.Duration `placeholder:"DURATION" help:"All that were parked longer ago, as 24h."`
	Execute   bool          `help:"Do it; without, it is only planned."`
}

// Help is the end of `processor deadletter purge --help`.
func (deadletterPurge) Help() string {
	return `Examples:
  processor deadletter purge --older-than 168h
  processor deadletter purge --older-than 168h --execute
  processor deadletter purge --all --reason no_plan_id --execute

What is purged cannot be had back. Entries in the plan stream are not touched.`
}

// Run purges.
func (c *deadletterPurge) Run(ctx context.Context, sys *system) error {
	if c.OlderThan < 0 {
		return usage("--older-than %v must not be negative", c.OlderThan)
	}
	if c.OlderThan > 0 && c.To != "" {
		return usage("give either --older-than or --to")
	}
	if err := c.check(c.OlderThan > 0); err != nil {
		return err
	}
	return c.with(ctx, sys, func(o *operate.Operator) error {
		r, err := c.purge(ctx, o)
		if err != nil && r.Deleted == 0 {
			return err
		}
		if printErr := c.print(sys, r); err == nil {
			err = printErr
		}
		if err == nil && len(r.Missing) > 0 {
			err = withCode(config.ExitFailed, fmt.Errorf("there are no dead letters %s", strings.Join(r.Missing, ", ")))
		}
		return err
	})
}

func (c *deadletterPurge) purge(ctx context.Context, o *operate.Operator) (operate.PurgeReport, error) {
	s := c.deadletterSelection
	if c.OlderThan > 0 {
		s.To = "-" + c.OlderThan.String()
	}
	selection, err := s.selection(ctx, o)
	if err != nil {
		return operate.PurgeReport{}, err
	}
	return o.Purge(ctx, selection, c.Execute)
}

func (c *deadletterPurge) print(sys *system, r operate.PurgeReport) error {
	if c.JSON {
		return printJSON(sys.stdout, r)
	}
	p := newPrinter(sys.stdout)
	for _, reason := range sortedKeys(r.ByReason) {
		p.line("%7d  %s", r.ByReason[reason], shown(reason))
	}
	if r.Count > 0 {
		p.line("from %s to %s", r.Oldest, r.Newest)
	}
	if r.Executed {
		p.line("deleted %d of %d dead letters", r.Deleted, r.Count)
	} else {
		p.line("plan: %d dead letters would be deleted; --execute does it", r.Count)
	}
	return p.err
}
