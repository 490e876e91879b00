// Command mutate is mutation testing: it breaks a package in many small ways, one at a time, and counts the breaks that
// the package's own short tests notice. Those that survive are read by a person; docs/testing.md has what was found.
//
// All mutants of a package are compiled into one test binary, each behind a switch, with an overlay over the sources, so
// that nothing is copied and nothing is compiled twice. A first run of each test by itself tells which mutants it reaches
// and how long it takes; a mutant is then tried on the tests that reach it. A test must pass before anything is
// broken, and a failure counts when it happens twice: a verdict is not left to a busy machine.
//
// Of the packages that it breaks it knows their files and their tests, nothing else.
//
//	go run ./tools/mutate --sample 60 --seed 1 ./event
package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"

	"github.com/alecthomas/kong"
)

type commandLine struct {
	Packages []string `arg:"" optional:"" help:"Packages to break; the six that hold the promise by default."`
	Sample   int      `help:"How many mutants of each package to try; 0 is all." default:"40"`
	Seed     uint64   `help:"Which ones." default:"1"`
	Jobs     int      `help:"How many at a time." default:"4"`
	At       []string `help:"Only those whose file:line contains one of these, as 'queue.go:62'." placeholder:"TEXT"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var line commandLine
	kong.Parse(&line, kong.Name("mutate"), kong.Description("Breaks packages and counts what their tests notice."), kong.UsageOnError())
	err := line.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "mutate: %v\n", err)
		os.Exit(1)
	}
}

func (c *commandLine) run(ctx context.Context) error {
	if len(c.Packages) == 0 {
		c.Packages = []string{"./event", "./heat", "./handlers", "./middleware", "./stream", "./replay"}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "package\tmutants\tnot reached\ttried\tkilled\ttimed out\tsurvived\tscore\t")
	for _, pkg := range c.Packages {
		r, err := c.try(ctx, pkg)
		if err != nil {
			return fmt.Errorf("mutate %s: %w", pkg, err)
		}
		found := r.count[killed] + r.count[timedOut]
		score := "-"
		if r.tried > 0 {
			score = fmt.Sprintf("%d %%", 100*found/r.tried)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\t\n", strings.TrimPrefix(pkg, "./"),
			r.mutants, r.unreached, r.tried, r.count[killed], r.count[timedOut], r.count[survived], score)
	}
	return table.Flush()
}

type result struct {
	mutants, unreached, tried int
	count                     map[verdict]int
}

// try breaks one package. What survives is printed as it is found.
func (c *commandLine) try(ctx context.Context, pkg string) (*result, error) {
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	b, err := build(ctx, pkg, dir)
	if err != nil {
		return nil, err
	}
	if err := b.rehearse(ctx, c.Jobs); err != nil {
		return nil, err
	}
	var chosen []*mutant
	r := &result{count: map[verdict]int{}}
	for _, m := range b.mutants {
		r.mutants++
		if len(c.At) > 0 && !slices.ContainsFunc(c.At, func(text string) bool { return strings.Contains(m.place(), text) }) {
			continue
		}
		if len(b.reaching(m)) == 0 {
			r.unreached++
			fmt.Fprintf(os.Stdout, "not reached  %s\n", m)
			continue
		}
		chosen = append(chosen, m)
	}
	rand.New(rand.NewPCG(c.Seed, 0)).Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	if c.Sample > 0 && len(chosen) > c.Sample {
		chosen = chosen[:c.Sample]
	}
	slices.SortFunc(chosen, func(a, b *mutant) int { return a.id - b.id })

	var mu sync.Mutex
	err = each(ctx, c.Jobs, chosen, func(m *mutant) error {
		v, err := b.verdict(ctx, m)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		r.tried++
		r.count[v]++
		fmt.Fprintf(os.Stdout, "%-12s %s\n", v, m)
		return nil
	})
	return r, err
}
