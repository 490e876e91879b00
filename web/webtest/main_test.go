package webtest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"heatobserver/app"
	"heatobserver/config"
)

// asWorker makes the test binary a worker.
const asWorker = "WEBTEST_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(work())
	}
	goleak.VerifyTestMain(m)
}

// work is the life of a worker: `processor run`.
func work() int {
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
	err = app.Run(ctx, cfg, app.Options{
		Logger:  slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: cfg.Log.SlogLevel()})),
		Started: func(addr net.Addr) { fmt.Println(addr) },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return config.ExitFailed
	}
	return config.ExitOK
}
