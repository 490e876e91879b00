// Command bench measures the observer as it runs in production: a real redis-server, a real `processor run` process, a
// load that keeps its pace whatever the observer does, and a reader of the observed stream beside it. One subcommand, one
// subject; each prints tables and writes JSON and a picture. It knows the observer from outside: no part of it is linked in to be
// measured, except replay, which is measured as a process of its own.
//
// The schemes that are compared run interleaved in one go, because only ratios of one run count on a machine that does
// other things as well. A run whose observations are incomplete or doubled is invalid: it is marked, and the exit code
// is 1. Everything that is started ends with the program.
//
//	go run ./bench late --quick
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type commandLine struct {
	Late       lateCommand       `cmd:"" help:"How soon heat is noticed, what is covered, what a waiting plan costs: us, polling, and the Python-like scheme."`
	Throughput throughputCommand `cmd:"" help:"Plans per second and CPU per plan: us, hand-written loops, and the stock transport."`
	Latency    latencyCommand    `cmd:"" help:"Publish to early observation at 10, 50 and 80 % of what is the most, open loop."`
	Deep       deepCommand       `cmd:"" help:"Ten million entries in the stream against a hundred thousand."`
	Page       pageCommand       `cmd:"" help:"What open status pages cost the observer."`
	Replay     replayCommand     `cmd:"" help:"Plans per second of history, from an archive and from Redis."`
	Python     pythonCommand     `cmd:"" hidden:"" help:"The Python-like scheme, as a process of its own."`
	Peer       peerCommand       `cmd:"" hidden:"" help:"A peer of the throughput measurement, as a process of its own."`
	Replaying  replayingCommand  `cmd:"" hidden:"" help:"A replay, as a process of its own."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	var line commandLine
	command := kong.Parse(&line, kong.Name("bench"), kong.Description("Measures the heat observer."), kong.UsageOnError())
	command.BindTo(ctx, (*context.Context)(nil))
	err := command.Run()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}
