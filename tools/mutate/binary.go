package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// binary is the test binary of a package with all its mutants.
type binary struct {
	path, dir, tmp string
	files          []*file
	mutants        []*mutant
	tests          []*test
}

type test struct {
	name    string
	took    time.Duration
	reaches map[int]bool
}

// switches is compiled into the package: which mutant is on, and in the rehearsal, which are reached.
const switches = `package %s

import (
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
)

var (
	mutantOn, _      = strconv.Atoi(os.Getenv("MUTANT"))
	mutantReached, _ = os.OpenFile(os.Getenv("MUTANT_REACHED"), os.O_APPEND|os.O_WRONLY, 0)
	mutantSeen       [%d]atomic.Bool
)

func mutant(n int) bool {
	if mutantReached != nil && !mutantSeen[n].Swap(true) {
		fmt.Fprintln(mutantReached, n)
	}
	return n == mutantOn
}

type mutantNumber interface {
	~int | ~int8 | ~int16 | ~int32 | ~int64 | ~uint | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

func mutantAdd[T mutantNumber](n int, a, b T) T { if mutant(n) { return a - b }; return a + b }
func mutantSub[T mutantNumber](n int, a, b T) T { if mutant(n) { return a + b }; return a - b }
func mutantMul[T mutantNumber](n int, a, b T) T { if mutant(n) { return a / b }; return a * b }
func mutantDiv[T mutantNumber](n int, a, b T) T { if mutant(n) { return a * b }; return a / b }
`

// build compiles a package's tests with all mutants of it. Those that do not compile are dropped, and count for nothing.
func build(ctx context.Context, pkg, tmp string) (*binary, error) {
	list := exec.CommandContext(ctx, "go", "list", "-json=Dir,Name,GoFiles", pkg)
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	var found struct {
		Dir, Name string
		GoFiles   []string
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	b := &binary{path: filepath.Join(tmp, "test"), dir: found.Dir, tmp: tmp}
	for _, name := range found.GoFiles {
		name = filepath.Join(found.Dir, name)
		src, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		f, err := read(name, src, &b.mutants)
		if err != nil {
			return nil, err
		}
		b.files = append(b.files, f)
	}
	for {
		err := b.compile(ctx, pkg, found.Name)
		var bad *compileError
		if !errors.As(err, &bad) {
			b.keep()
			return b, err
		}
		if !b.drop(bad.output) {
			return nil, fmt.Errorf("compile: %s", bad.output)
		}
	}
}

type compileError struct{ output string }

func (e *compileError) Error() string { return e.output }

func (b *binary) compile(ctx context.Context, pkg, name string) error {
	replace := map[string]string{}
	write := func(over, text string) error {
		replace[over] = filepath.Join(b.tmp, filepath.Base(over))
		return os.WriteFile(replace[over], []byte(text), 0o600)
	}
	for _, f := range b.files {
		if err := write(f.name, f.render()); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(b.dir, "zz_mutants.go"), fmt.Sprintf(switches, name, len(b.mutants)+1)); err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	overlay := filepath.Join(b.tmp, "overlay.json")
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-gcflags=-e", "-overlay", overlay, "-o", b.path, pkg).CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return &compileError{string(out)}
	}
	return nil
}

var errorLine = regexp.MustCompile(`(?m)^(?:.*/)?([^/\s:]+\.go):(\d+):`)

// drop takes out what the compiler complains about: arithmetic on that line first, which takes numbers only, then all
// that begins on it, then all of the function.
func (b *binary) drop(output string) (dropped bool) {
	for _, at := range errorLine.FindAllStringSubmatch(output, -1) {
		line, err := strconv.Atoi(at[2])
		if err != nil {
			continue
		}
		here := func(m *mutant) bool { return m.at.Line == line }
		for _, suspects := range []func(f *file, m *mutant) bool{
			func(_ *file, m *mutant) bool { return here(m) && m.kind == operator },
			func(_ *file, m *mutant) bool { return here(m) },
			func(f *file, m *mutant) bool { return f.line(m.fn.Pos()) <= line && line <= f.line(m.fn.End()) },
		} {
			if b.dropThose(at[1], suspects) {
				dropped = true
				break
			}
		}
	}
	return dropped
}

func (b *binary) dropThose(name string, suspect func(*file, *mutant) bool) (dropped bool) {
	for _, f := range b.files {
		if filepath.Base(f.name) != name {
			continue
		}
		for _, m := range b.mutants {
			if m.at.Filename == f.name && !m.dropped && suspect(f, m) {
				m.dropped, dropped = true, true
			}
		}
	}
	return dropped
}

// keep forgets those that do not compile.
func (b *binary) keep() {
	kept := b.mutants[:0]
	for _, m := range b.mutants {
		if !m.dropped {
			kept = append(kept, m)
		}
	}
	b.mutants = kept
}

func (b *binary) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.path, append([]string{"-test.short"}, args...)...)
	cmd.Dir = b.dir
	cmd.Env = append(append(os.Environ(), "CI=true"), env...)
	return cmd
}

// list is the names of the tests, examples and fuzz targets (which run their corpus).
func (b *binary) list(ctx context.Context) ([]string, error) {
	out, err := b.command(ctx, nil, "-test.list", "^(Test|Example|Fuzz)").Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests: %w", err)
	}
	return strings.Fields(string(out)), nil
}
