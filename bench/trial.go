package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"heatobserver/internal/redistest"
)

// trial is one measurement with everything that it started. It stands for the test that redistest asks for.
type trial struct {
	ctx context.Context //nolint:containedctx // a trial is a scope, as a test is

	mu       sync.Mutex
	cleanups []func()
	errs     []error
}

var _ redistest.T = (*trial)(nil)

// fatal is what Fatalf panics with, after it has noted the error.
type fatal struct{}

// try makes a measurement and takes down what it started. Its error is that of Fatalf and of every Errorf.
func try(ctx context.Context, measure func(t *trial)) error {
	ctx, cancel := context.WithCancel(ctx)
	t := &trial{ctx: ctx}
	defer cancel()
	t.guard(func() { measure(t) })
	for len(t.cleanups) > 0 {
		last := t.cleanups[len(t.cleanups)-1]
		t.cleanups = t.cleanups[:len(t.cleanups)-1]
		t.guard(last)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(t.errs...)
}

func (t *trial) guard(f func()) {
	defer func() {
		if cause := recover(); cause != nil {
			if _, ok := cause.(fatal); !ok {
				panic(cause)
			}
		}
	}()
	f()
}

// check ends the trial when err is an error.
func (t *trial) check(doing string, err error) {
	if err != nil {
		t.Fatalf("%s: %w", doing, err)
	}
}

// await waits for something that must come soon.
func (t *trial) await(what string, is func() bool) {
	for end := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(end) || t.ctx.Err() != nil {
			t.Fatalf("waited in vain: %s", what)
		}
		pauseUntil(t.ctx, time.Now().Add(50*time.Millisecond))
	}
}

// Helper is part of redistest.T.
func (t *trial) Helper() {}

// Cleanup has f called when the trial is over, the last one added first.
func (t *trial) Cleanup(f func()) { t.cleanups = append(t.cleanups, f) }

// Failed reports whether there was an error.
func (t *trial) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.errs) > 0
}

// Logf prints to standard error.
func (t *trial) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// Errorf notes an error.
func (t *trial) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.errs = append(t.errs, fmt.Errorf(format, args...))
}

// Fatalf notes an error and ends the trial.
func (t *trial) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	panic(fatal{})
}

// Skipf is for what is missing on this machine, which a benchmark cannot do without.
func (t *trial) Skipf(format string, args ...any) { t.Fatalf(format, args...) }
