package apptest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"heatobserver/app"
	"heatobserver/config"
)

// asWorker is the variable that makes the test binary a worker.
const asWorker = "APPTEST"

// Main is the life of a worker, in a process that Start has made, and does not return there. It does nothing in any
// other. run is app.Run, or calls it with options of its own.
func Main(run func(context.Context, config.Config, app.Options) error) {
	if os.Getenv(asWorker) != "" {
		os.Exit(work(run))
	}
}

func work(run func(context.Context, config.Config, app.Options) error) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { // it does not outlive the test: the other end of its standard input closes with it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	cfg, _, err := config.Load(config.Sources{Environ: os.Environ()})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return config.ExitConfig
	}
	err = run(ctx, cfg, app.Options{
		Logger:  slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.Log.SlogLevel()})),
		Started: func(addr net.Addr) { fmt.Println(addr) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return config.ExitFailed
	}
	return config.ExitOK
}
