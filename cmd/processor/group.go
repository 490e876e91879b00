package main

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"heatobserver/config"
	"heatobserver/operate"
)

// groupCommand holds the commands about consumer groups.
type groupCommand struct {
	Show           groupShow           `cmd:"" help:"Show where each group stands and who reads in it."`
	Set            groupSet            `cmd:"" help:"Have a group read on from another place."`
	SkipToNow      groupSkip           `cmd:"" help:"Have a group pass over everything that it has not read."`
	DeleteConsumer groupDeleteConsumer `cmd:"" help:"Remove a consumer that will not come back."`
}

// Help is the end of `processor group --help`.
func (groupCommand) Help() string {
	return `Examples:
  processor group show
  processor group skip-to-now --group late --execute

What changes something shows first what it would do, and does it with --execute.`
}

func newGroupCommand() groupCommand {
	return groupCommand{
		Show:           groupShow{operated: operated{settings: newSettings()}},
		Set:            groupSet{operated: operated{settings: newSettings()}},
		SkipToNow:      groupSkip{operated: operated{settings: newSettings()}},
		DeleteConsumer: groupDeleteConsumer{operated: operated{settings: newSettings()}},
	}
}

type groupShow struct {
	operated
}

// Help is the end of `processor group show --help`.
func (groupShow) Help() string {
	return `Examples:
  processor group show
  processor group show --json | jq '.groups[] | {group, cursor, last_delivered_id}'

The cursor is where a group begins again when it was lost. What is stuck is for processor status to say.`
}

// Run shows.
func (c *groupShow) Run(ctx context.Context, sys *system) error {
	return c.with(ctx, sys, func(o *operate.Operator) error {
		groups, err := o.GroupsNow(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(sys.stdout, map[string]any{"groups": groups})
		}
		p := newPrinter(sys.stdout)
		for _, g := range groups {
			if !g.Exists {
				p.line("%s of %s does not exist\n", g.Group, g.Stream)
				continue
			}
			p.line("%s of %s", g.Group, g.Stream)
			p.line("  last delivered %s, last in the stream %s, cursor %s", g.LastDelivered, g.LastGenerated, orDash(shown(g.Cursor)))
			p.line("  %s unread, %d pending, %d in the stream", lag(g.Lag), g.Pending, g.Length)
			printConsumers(p, []operate.GroupStatus{g})
			p.line("")
		}
		return p.err
	})
}

// printConsumers reports whether there were any.
func printConsumers(p *printer, groups []operate.GroupStatus) bool {
	var rows []table.Row
	for _, g := range groups {
		for _, c := range g.Consumers {
			state := "gone"
			if c.Alive {
				state = "alive"
			}
			rows = append(rows, table.Row{g.Group, shown(g.Stream), shown(c.Name), state, c.Pending, ago(c.Idle)})
		}
	}
	if len(rows) > 0 {
		p.table(table.Row{"group", "stream", "consumer", "state", "pending", "idle"}, rows, 5, 6)
	}
	return len(rows) > 0
}

// groupChoice is the group that a command changes.
type groupChoice struct {
	Group   string `required:"" placeholder:"GROUP" help:"Consumer group: early, late, or a name."`
	Stream  string `placeholder:"STREAM" help:"Stream of the group; the plan stream when there is one."`
	Execute bool   `help:"Do it; without, it is only planned."`
}

// names are group and stream in full.
func (g groupChoice) names(o *operate.Operator) (stream, group string, err error) {
	group = g.Group
	switch group {
	case "early":
		group = o.Groups[0].Name
	case "late":
		group = o.Groups[1].Name
	}
	if stream = g.Stream; stream == "" {
		if len(o.Parts) != 1 {
			return "", "", usage("there are %d plan streams: say which with --stream: %s", len(o.Parts), strings.Join(o.Plans(), ", "))
		}
		stream = o.Parts[0].Plan
	}
	if !slices.ContainsFunc(o.Groups, func(known operate.Group) bool { return known.Name == group }) {
		return "", "", usage("%s is no group of the observer", shown(group))
	}
	if !o.Reads(stream) {
		return "", "", usage("%s is no stream that the observer reads", shown(stream))
	}
	return stream, group, nil
}

type groupSet struct {
	operated
	groupChoice
	Position string `arg:"" help:"Entry ID behind which the group reads on (0: the beginning, $: the end), a time as 2026-11-24T08:00:00Z, or -24h."`
}

// Help is the end of `processor group set --help`.
func (groupSet) Help() string {
	return `Examples:
  processor group set --group late -1h
  processor group set --group late -1h --execute
  processor group set --group early 1700000000000-0
  processor group set --group early 2026-11-24T08:00:00Z

Shows what would be read again and what would be passed over, and changes nothing without --execute. The cursor moves with the group. What is pending stays with its consumers. Plans that were observed longer ago than P28_DEDUPE_TTL_SEC are observed again: their number is shown. Workers may run meanwhile.`
}

var hyphenTime = regexp.MustCompile(`^-[0-9.]+[a-zµ]`)

// hyphenPosition puts the position of `group set -24h` behind a "--", because kong takes an argument (other than the value
// of a flag) that begins with a hyphen for a flag. No flag of group set has such a value.
func hyphenPosition(args []string) []string {
	if len(args) < 3 || args[0] != "group" || args[1] != "set" || slices.Contains(args, "--") {
		return args
	}
	i := slices.IndexFunc(args, hyphenTime.MatchString)
	if i < 0 {
		return args
	}
	return append(slices.Delete(slices.Clone(args), i, i+1), "--", args[i])
}

// Run moves.
func (c *groupSet) Run(ctx context.Context, sys *system) error {
	to, err := operate.ParsePosition(c.Position)
	if err != nil {
		return withCode(config.ExitNotCarriedOut, err)
	}
	return c.move(ctx, sys, c.groupChoice, to)
}

type groupSkip struct {
	operated
	groupChoice
}

// Help is the end of `processor group skip-to-now --help`.
func (groupSkip) Help() string {
	return `Examples:
  processor group skip-to-now --group late
  processor group skip-to-now --group late --execute

The plans that are passed over get no observation of this group, and nothing counts them but this command's answer.`
}

// Run moves to the end.
func (c *groupSkip) Run(ctx context.Context, sys *system) error {
	return c.move(ctx, sys, c.groupChoice, operate.End)
}

func (o operated) move(ctx context.Context, sys *system, choice groupChoice, to operate.Position) error {
	return o.with(ctx, sys, func(op *operate.Operator) error {
		stream, group, err := choice.names(op)
		if err != nil {
			return err
		}
		m, err := op.Move(ctx, stream, group, to, choice.Execute)
		if err != nil && m.Executed {
			return withCode(config.ExitFailed, err) // it was carried out
		}
		if err != nil {
			return err
		}
		if o.JSON {
			return printJSON(sys.stdout, m)
		}
		p := newPrinter(sys.stdout)
		p.line("group %s of %s", shown(m.Group), shown(m.Stream))
		p.line("  from         %s", m.From)
		p.line("  to           %s", m.To)
		p.line("  read again   %s", span(m.Again))
		p.line("  passed over  %s", span(m.Passed))
		p.line("  pending      %d, which stay with their consumers", m.Pending)
		if m.Forgotten.Count > 0 {
			p.alarm("  %d of those read again are older than the dedupe TTL of %v and will be observed a second time", m.Forgotten.Count, op.DedupeTTL)
		}
		if m.Executed {
			p.line("done")
		} else {
			p.line("plan: nothing was changed; --execute does it")
		}
		return p.err
	})
}

func span(r operate.Range) string {
	if r.Count == 0 {
		return "nothing"
	}
	return fmt.Sprintf("%d entries, %s to %s", r.Count, r.First, r.Last)
}

type groupDeleteConsumer struct {
	operated
	groupChoice
	Name    string `arg:"" help:"Consumer, from group show."`
	ClaimTo string `placeholder:"CONSUMER" help:"Consumer of the group that takes over what is pending; any worker may then claim it at once."`
}

// Help is the end of `processor group delete-consumer --help`.
func (groupDeleteConsumer) Help() string {
	return `Examples:
  processor group delete-consumer --group late worker-3-4711-m8x2k1 --execute
  processor group delete-consumer --group late worker-3-4711-m8x2k1 --claim-to worker-4-12-m8x2k9 --execute

Rarely needed: workers claim what a dead consumer left behind, and remove it when it has long been idle with nothing pending. Refused (1) while entries are pending for it and nobody takes them over.`
}

// Run removes.
func (c *groupDeleteConsumer) Run(ctx context.Context, sys *system) error {
	return c.with(ctx, sys, func(o *operate.Operator) error {
		stream, group, err := c.names(o)
		if err != nil {
			return err
		}
		r, err := o.RemoveConsumer(ctx, stream, group, c.Name, c.ClaimTo, c.Execute)
		if err != nil && r.Handed+r.Trimmed == 0 {
			return err
		}
		if printErr := c.print(sys, r); err == nil {
			return printErr
		}
		if r.Executed {
			return withCode(config.ExitFailed, err) // it was carried out
		}
		return err
	})
}

func (c *groupDeleteConsumer) print(sys *system, r operate.Removal) error {
	if c.JSON {
		return printJSON(sys.stdout, r)
	}
	p := newPrinter(sys.stdout)
	p.line("consumer %s of group %s: %d pending, idle for %s", shown(r.Consumer), shown(r.Group), r.Pending, ago(r.Idle))
	switch {
	case r.Executed:
		p.line("removed; %d entries handed over, %d were no longer in the stream", r.Handed, r.Trimmed)
	case c.Execute:
		p.line("not removed; %d entries handed over, %d were no longer in the stream", r.Handed, r.Trimmed)
	default:
		p.line("plan: nothing was changed; --execute removes it")
	}
	return p.err
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
