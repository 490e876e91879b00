package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"

	"heatobserver/config"
	"heatobserver/operate"
)

// statusCommand says how the observer is, from what Redis holds: it needs no worker to answer.
type statusCommand struct {
	operated
	Watch     bool          `help:"Look again and again until interrupted."`
	Every     time.Duration `default:"2s" help:"With --watch: how often."`
	MaxBehind time.Duration `default:"60s" help:"A group is stuck when the oldest plan that it was not given is older."`
	MaxOldest time.Duration `placeholder:"DURATION" help:"A group is stuck when a plan is pending for longer, beyond what the group is behind. Default: max wait, twice min idle and 5 s."`
}

// Help is the end of `processor status --help`.
func (statusCommand) Help() string {
	return `Examples:
  processor status
  processor status --watch
  processor status --json | jq '.stuck'
  processor status --max-behind 5m || page-somebody

Stuck is a group that does not exist, one without a live consumer while something is unread or pending, one that is too far behind, and one in which an entry stays pending for too long. What Redis does not know is shown as "unknown".

Ends with 1 when something is stuck, which it says; 2 when Redis cannot be asked.`
}

// Run looks once, or until it is told to stop.
func (c *statusCommand) Run(ctx context.Context, sys *system) error {
	if c.Every <= 0 || c.MaxBehind <= 0 || c.MaxOldest < 0 {
		return usage("--every, --max-behind and --max-oldest must be positive")
	}
	limits := operate.Limits{MaxBehind: c.MaxBehind, MaxPending: c.MaxOldest}
	return c.with(ctx, sys, func(o *operate.Operator) error {
		if !c.Watch {
			return c.once(ctx, sys, o, limits)
		}
		tick := time.NewTicker(c.Every)
		defer tick.Stop()
		var last error
		for {
			if isTerminal(sys.stdout) && !c.JSON {
				if _, err := fmt.Fprint(sys.stdout, "\x1b[H\x1b[2J"); err != nil {
					return fmt.Errorf("print the status: %w", err)
				}
			}
			err := c.once(ctx, sys, o, limits)
			if ctx.Err() == nil {
				last = shownAtOnce(sys, err)
			}
			select {
			case <-ctx.Done():
				return last
			case <-tick.C:
			}
		}
	})
}

// shownAtOnce prints an error that has not been shown: whoever watches goes on, and must not see an empty screen.
func shownAtOnce(sys *system, err error) error {
	var silent *silentError
	if err == nil || errors.As(err, &silent) {
		return err
	}
	sys.complainOf(err)
	return &silentError{err}
}

func (c *statusCommand) once(ctx context.Context, sys *system, o *operate.Operator, limits operate.Limits) error {
	s, err := o.Status(ctx, limits)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(sys.stdout, s)
	} else {
		p := newPrinter(sys.stdout)
		printStatus(p, s)
		err = p.err
	}
	if err == nil && len(s.Stuck) > 0 {
		err = &silentError{withCode(config.ExitFailed, fmt.Errorf("%d things are stuck", len(s.Stuck)))}
	}
	return err
}

func printStatus(p *printer, s operate.Status) {
	var rows, totals []table.Row
	for _, g := range s.Groups {
		if !g.Exists {
			rows = append(rows, table.Row{g.Group, g.Stream, "missing"})
			continue
		}
		oldest, behind := "-", "-"
		if g.Pending > 0 {
			oldest = ago(g.OldestPending)
		}
		if g.Lag == nil || *g.Lag > 0 {
			behind = ago(g.Behind)
		}
		rows = append(rows, table.Row{g.Group, g.Stream, lag(g.Lag), behind, g.Pending, g.InHand, oldest, len(g.Consumers)})
	}
	p.table(table.Row{"group", "stream", "lag", "behind", "pending", "in flight", "oldest", "consumers"}, rows, 3, 4, 5, 6, 7, 8)
	p.line("")
	if printConsumers(p, s.Groups) {
		p.line("")
	}
	for _, group := range sortedKeys(s.Totals) {
		t := s.Totals[group]
		totals = append(totals, table.Row{group, t.Dropped, t.Duplicate, t.Dead, t.Redriven, t.Trimmed, t.Rescued})
	}
	p.table(table.Row{"group", "dropped", "duplicate", "dead", "redriven", "trimmed", "rescued"}, totals, 2, 3, 4, 5, 6, 7)
	p.line("")
	p.line("%d dead letters, at %s", s.DeadLetters, s.Time.Format(time.RFC3339))
	for _, text := range s.Stuck {
		p.alarm("STUCK: %s", shown(text))
	}
	if len(s.Stuck) == 0 {
		p.line("nothing is stuck")
	}
}

func lag(n *int64) string {
	if n == nil {
		return "unknown"
	}
	return strconv.FormatInt(*n, 10)
}

// ago is a time in seconds as people read it.
func ago(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
