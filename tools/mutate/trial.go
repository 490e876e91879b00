package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

type verdict string

const (
	killed   verdict = "killed"
	timedOut verdict = "timed out" // noticed as well: the tests do not end
	survived verdict = "survived"
)

// each does something with all of them, some at a time.
func each[T any](ctx context.Context, jobs int, all []T, do func(T) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(jobs)
	for _, one := range all {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return do(one)
		})
	}
	return group.Wait()
}

// rehearse runs every test by itself with nothing broken. One that fails then would "kill" all that it reaches.
func (b *binary) rehearse(ctx context.Context, jobs int) error {
	names, err := b.list(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		b.tests = append(b.tests, &test{name: name})
	}
	return each(ctx, jobs, b.tests, func(t *test) error {
		reached := filepath.Join(b.tmp, "reached-"+t.name)
		if err := os.WriteFile(reached, nil, 0o600); err != nil {
			return err
		}
		begin := time.Now()
		out, err := b.command(ctx, []string{"MUTANT_REACHED=" + reached}, "-test.run", exactly(t)).CombinedOutput()
		t.took = time.Since(begin)
		if err != nil {
			return fmt.Errorf("%s fails with nothing broken: %w\n%s", t.name, err, out)
		}
		text, err := os.ReadFile(reached)
		if err != nil {
			return err
		}
		t.reaches = map[int]bool{}
		for _, field := range strings.Fields(string(text)) {
			id, err := strconv.Atoi(field)
			if err != nil {
				return err
			}
			t.reaches[id] = true
		}
		return nil
	})
}

func exactly(tests ...*test) string {
	names := make([]string, len(tests))
	for i, t := range tests {
		names[i] = t.name
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

func (b *binary) reaching(m *mutant) (tests []*test) {
	for _, t := range b.tests {
		if t.reaches[m.id] {
			tests = append(tests, t)
		}
	}
	return tests
}

// verdict tries a mutant on the quick tests that reach it and, when it survives those, on the others.
func (b *binary) verdict(ctx context.Context, m *mutant) (verdict, error) {
	var quick, slow []*test
	for _, t := range b.reaching(m) {
		if t.took < time.Second {
			quick = append(quick, t)
		} else {
			slow = append(slow, t)
		}
	}
	for _, tests := range [][]*test{quick, slow} {
		if len(tests) == 0 {
			continue
		}
		v, err := b.run(ctx, m, tests)
		if v == killed && err == nil { // a second time, for a busy machine may have failed it
			v, err = b.run(ctx, m, tests)
		}
		if v != survived || err != nil {
			return v, err
		}
	}
	return survived, nil
}

// run is one run of tests with a mutant. The limit is far above what they take: a test that is killed by it shows a
// loop without end, or waits for something that does not come.
func (b *binary) run(ctx context.Context, m *mutant, tests []*test) (verdict, error) {
	limit := 5 * time.Second
	for _, t := range tests {
		limit += 5 * t.took
	}
	// The binary keeps the limit itself, with a stack; what cannot even do that is killed a little later.
	hard, cancel := context.WithTimeout(ctx, limit+5*time.Second)
	defer cancel()
	out, err := b.command(hard, []string{"MUTANT=" + strconv.Itoa(m.id)},
		"-test.failfast", "-test.timeout", limit.String(), "-test.run", exactly(tests...)).CombinedOutput()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err == nil:
		return survived, nil
	case hard.Err() != nil || bytes.Contains(out, []byte("panic: test timed out")):
		return timedOut, nil
	case errors.As(err, &exit):
		return killed, nil
	default:
		return "", fmt.Errorf("run the tests: %w", err)
	}
}
