// Command processor observes whether the heat of a plan was there when the plan was published, and whether it
// came within the allowed wait.
//
// Every subcommand is a file of its own. They print results to standard output and everything else to standard
// error, and end with an exit code of the wire contract: 0 done, 1 failed, 2 could not be carried out (wrong
// usage too), 78 configuration. The first SIGINT or SIGTERM cancels the context of a subcommand, which then
// drains; the second one ends the process at once.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"heatobserver/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // gives the second signal its default effect back
	code := run(ctx, os.Args[1:], &system{stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()})
	stop()
	os.Exit(code)
}

// system is what a subcommand sees of the process.
type system struct {
	stdout  io.Writer // results
	stderr  io.Writer // logs, warnings, errors
	environ []string  // NAME=value
}

// complain prints one line to standard error. When that fails nobody is left to be told.
func (s *system) complain(format string, args ...any) {
	_, _ = fmt.Fprintf(s.stderr, format+"\n", args...)
}

// complainOf prints an error to standard error.
func (s *system) complainOf(err error) {
	for line := range strings.Lines(err.Error()) {
		s.complain("processor: %s", strings.TrimSuffix(line, "\n"))
	}
}

// run carries out one command line and returns the exit code. It prints the error with which it ends.
func run(ctx context.Context, args []string, sys *system) int {
	err := execute(ctx, args, sys)
	if err == nil {
		return config.ExitOK
	}
	var silent *silentError
	if !errors.As(err, &silent) {
		sys.complainOf(err)
	}
	return exitCode(err)
}

// exitError gives an error its exit code. Without one it is config.ExitFailed.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// withCode gives err an exit code; nil stays nil.
func withCode(code int, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: code, err: err}
}

// silentError is an error that the subcommand has already shown.
type silentError struct{ err error }

func (e *silentError) Error() string { return e.err.Error() }
func (e *silentError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var coded *exitError
	if errors.As(err, &coded) {
		return coded.code
	}
	return config.ExitFailed
}
