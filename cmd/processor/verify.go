package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/verify"
)

// verifyCommand proves a deployment good or refuses it.
type verifyCommand struct {
	*settings
	JSON        bool          `name:"json" help:"Print JSON in place of a table."`
	JUnit       string        `name:"junit" placeholder:"FILE" help:"Write the result as JUnit XML too."`
	Strict      bool          `help:"Warnings are failures."`
	Canary      bool          `help:"Send a plan that nobody can act on, and wait for both observations. The only thing that writes."`
	YesLive     bool          `help:"Send the canary even to a stream that others use as well."`
	HeatGateEnv string        `placeholder:"FILE" help:"The heat gate's env file, which must say HEAT_STREAM_IN as our P28_PLAN_STREAM."`
	ACLUser     string        `name:"acl-user" placeholder:"USER" help:"Redis user whose rights are looked at. Default: the one that is connected."`
	GateGroup   string        `default:"heat_gate" help:"Consumer group of the heat gate."`
	BridgeGroup string        `default:"heat_bridge" help:"Consumer group of the heat bridge."`
	ApplyAddr   string        `default:"127.0.0.1:8043" help:"Where the apply layer (or we) serve metrics."`
	GateAddr    []string      `default:"127.0.0.1:8068,127.0.0.1:8069" help:"Where the heat gate does."`
	BridgeAddr  []string      `default:"127.0.0.1:8070,127.0.0.1:8071" help:"Where the heat bridge does."`
	Outage      time.Duration `default:"60s" help:"An outage of the observer that the streams should bridge."`
	Wait        time.Duration `default:"10s" help:"How long to wait for what has only just been published, 1s to 15s."`
}

// Help is the end of `processor verify --help`.
func (verifyCommand) Help() string {
	return `Examples:
  processor verify --env-file /etc/heat-observer/heat-observer.env
  processor verify --heat-gate-env /etc/quantum/heat-gate.env --strict
  processor verify --json | jq '.checks[] | select(.verdict == "fail")'
  processor verify --junit verify.xml
  processor verify --canary
  REDIS_USERNAME=heat-operator processor verify --acl-user heat-worker

With P28_PLAN_STREAMS each check is about all partitions and shows the worst of them. Only reads, except for --canary, whose plan is blocked, empty and deleted when every group has passed it. docs/verify.md says of each check what it looks at, how it fails and what to do.

Ends with 0 when no check failed, 1 when one did, 2 when Redis cannot be asked or the canary is refused.`
}

// Run verifies.
func (c *verifyCommand) Run(ctx context.Context, sys *system) error {
	if c.Wait < time.Second || c.Wait > 15*time.Second || c.Outage < 0 {
		return usage("--wait must be 1s to 15s and --outage not negative")
	}
	cfg, _, err := c.start(ctx, sys)
	if err != nil {
		return err
	}
	setup := verify.Setup{
		GateGroup: c.GateGroup, BridgeGroup: c.BridgeGroup,
		OurAddr: reachable(cfg.HTTP.Addr), ApplyAddr: c.ApplyAddr, GateAddrs: c.GateAddr, BridgeAddrs: c.BridgeAddr,
		ACLUser: c.ACLUser, Outage: c.Outage, Wait: c.Wait, Strict: c.Strict, Canary: c.Canary,
	}
	if c.HeatGateEnv != "" {
		if setup.GateEnv, err = readGateEnv(c.HeatGateEnv); err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
	}
	if isTerminal(sys.stderr) {
		sys.complain("verifying, up to %s…", c.Wait+5*time.Second)
	}
	report, err := app.Verify(ctx, cfg, setup, c.YesLive)
	var wrong *app.ConfigError
	switch {
	case errors.As(err, &wrong):
		return withCode(config.ExitConfig, err)
	case err != nil:
		return withCode(config.ExitNotCarriedOut, err)
	case ctx.Err() != nil:
		return withCode(config.ExitNotCarriedOut, errors.New("interrupted"))
	}
	return c.show(sys, report)
}

// readGateEnv reads the one variable of the heat gate that matters; its file may hold secrets.
func readGateEnv(path string) (*verify.GateEnv, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the heat gate's env file: %w", err)
	}
	file, err := config.ParseEnvFile(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	env := &verify.GateEnv{Path: path}
	for _, a := range file.Assignments {
		if a.Name == "HEAT_STREAM_IN" { // the last one counts
			env.StreamIn, env.Set = a.Value, true
		}
	}
	return env, nil
}

func (c *verifyCommand) show(sys *system, report verify.Report) error {
	if c.JUnit != "" {
		if err := writeJUnit(c.JUnit, report); err != nil {
			return withCode(config.ExitNotCarriedOut, err)
		}
	}
	if c.JSON {
		if err := printJSON(sys.stdout, report); err != nil {
			return err
		}
	} else if err := printReport(newPrinter(sys.stdout), report); err != nil {
		return err
	}
	if !report.OK {
		return &silentError{withCode(config.ExitFailed, errors.New("a check failed"))}
	}
	return nil
}

func writeJUnit(path string, report verify.Report) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write JUnit: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return report.WriteJUnit(f)
}

func printReport(p *printer, report verify.Report) error {
	const width = 96
	counts := map[verify.Verdict]int{}
	var rows []table.Row
	for _, check := range report.Checks {
		counts[check.Verdict]++
		said := text.WrapSoft(shown(check.Seen), width)
		if check.Hint != "" {
			said += "\n" + text.WrapSoft("→ "+shown(check.Hint), width)
		}
		rows = append(rows, table.Row{p.verdict(check.Verdict), check.Name, said})
	}
	p.table(table.Row{"verdict", "check", "seen, and what to do"}, rows)
	p.line("")
	p.line("%d passed, %d warnings, %d failed, %d skipped", counts[verify.Pass], counts[verify.Warn], counts[verify.Fail], counts[verify.Skip])
	return p.err
}

func (p *printer) verdict(v verify.Verdict) string {
	if !p.colours {
		return string(v)
	}
	colour := map[verify.Verdict]text.Color{verify.Pass: text.FgGreen, verify.Warn: text.FgYellow, verify.Fail: text.FgRed, verify.Skip: text.FgHiBlack}
	return colour[v].Sprint(string(v))
}
