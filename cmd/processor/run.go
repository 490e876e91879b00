package main

import (
	"context"
	"errors"
	"os"

	"github.com/coreos/go-systemd/v22/daemon"

	"heatobserver/app"
	"heatobserver/config"
)

// runCommand observes until it is told to stop.
type runCommand struct {
	*settings
}

// Help is the end of `processor run --help`.
func (runCommand) Help() string {
	return `Examples:
  P28_HEAT_LOOKUP_PREFIX=quantum:harvest:heat:by_plan: processor run
  processor run --env-file /etc/quantum/apply-layer.env --late-obs-max-inflight 5000
  curl -s http://localhost:8043/metrics | grep p28_heat_reason_total

SIGTERM or SIGINT drains: nothing more is read, what is in hand is finished or handed to the other workers, within P28_DRAIN_TIMEOUT_SEC. A second signal ends the process at once; nothing is lost, others claim what it held.

Ends with 0 when drained, 1 when something ended that should not have (the cause is the last line), 78 when the configuration is wrong. Redis being away is no reason to end.`
}

// Run observes.
func (c *runCommand) Run(ctx context.Context, sys *system) error {
	cfg, log, err := c.start(ctx, sys)
	if err != nil {
		return err
	}
	return withConfigCode(app.Run(ctx, cfg, app.Options{Logger: log, Supervisor: systemd()}))
}

// systemd is the service manager that started this process, nil when there is none that wants to be told.
func systemd() *app.Supervisor {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return nil
	}
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		watchdog = 0 // it is not set, or it is meant for another process
	}
	return &app.Supervisor{
		Watchdog: watchdog,
		Notify: func(states string) error {
			_, err := daemon.SdNotify(false, states)
			return err
		},
	}
}

// withConfigCode gives an error that the operator mends in the configuration its exit code.
func withConfigCode(err error) error {
	var wrong *app.ConfigError
	if errors.As(err, &wrong) {
		return withCode(config.ExitConfig, err)
	}
	return err
}
