package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"heatobserver/config"
)

// cli is the command line. Each subcommand is a struct with a method
//
//	Run(ctx context.Context, sys *system) error
//
// and embeds *settings when it takes the settings as flags.
type cli struct {
	Run        runCommand        `cmd:"" help:"Observe plans until told to stop."`
	Demo       demoCommand       `cmd:"" help:"Show the whole pipeline at work; needs nothing else."`
	Standin    standinCommand    `cmd:"" help:"Run a stand-in for one of the services around the observer."`
	Load       loadCommand       `cmd:"" help:"Write plans at a rate, with bursts, and say how it went."`
	Status     statusCommand     `cmd:"" help:"Say how the groups are, and what is stuck."`
	Deadletter deadletterCommand `cmd:"" help:"List, show, redrive and purge entries that were given up."`
	Group      groupCommand      `cmd:"" help:"Show and move consumer groups."`
	Verify     verifyCommand     `cmd:"" help:"Prove a deployment good, or say what is wrong with it."`
	Trace      traceCommand      `cmd:"" help:"Show what happened to one plan, and when."`
	Archive    archiveCommand    `cmd:"" help:"Keep the history of the streams in files."`
	Advise     adviseCommand     `cmd:"" help:"Say from the live streams which max wait is enough."`
	Replay     replayCommand     `cmd:"" help:"Rebuild from history what should have been seen; audit it; try other settings."`

	Healthcheck healthcheckCommand `cmd:"" help:"Ask a running processor how it is."`

	Config     configCommand     `cmd:"" help:"Show every setting, its value and where it came from."`
	Completion completionCommand `cmd:"" help:"Print a script that completes this command line in a shell."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"What the scripts of completion call."`
	Version    versionCommand    `cmd:"" help:"Show the version."`

	ShowVersion versionFlag `name:"version" short:"V" help:"Show the version and exit."`
}

// newCLI makes the command line; every subcommand that embeds settings gets its own.
func newCLI() *cli {
	return &cli{
		Run:  runCommand{settings: newSettings()},
		Demo: demoCommand{settings: newSettings(whereRedisIs...)},
		Standin: standinCommand{
			Planner: standinPlanner{settings: newSettings()},
			Gate:    standinGate{settings: newSettings()},
			Bridge:  standinBridge{settings: newSettings()},
		},
		Load:        loadCommand{settings: newSettings()},
		Status:      statusCommand{operated: operated{settings: newSettings()}},
		Deadletter:  newDeadletterCommand(),
		Group:       newGroupCommand(),
		Verify:      verifyCommand{settings: newSettings()},
		Trace:       traceCommand{operated: operated{settings: newSettings()}},
		Archive:     newArchiveCommand(),
		Advise:      adviseCommand{historyFlags: historyFlags{settings: newSettings()}},
		Replay:      newReplayCommand(),
		Healthcheck: healthcheckCommand{settings: newSettings()},
		Config:      configCommand{settings: newSettings()},
	}
}

const description = `Observes whether the heat decision of a plan was there when the plan was published, and whether it came in time.

Settings come from an env file, then the environment, then flags; the later wins. P28_LATE_OBS_POLL_MS is --late-obs-poll-ms.

Exit codes:
`

// exitCodes is a line for each exit code.
func exitCodes() string {
	var lines strings.Builder
	for _, e := range config.ExitCodes {
		fmt.Fprintf(&lines, "  %-2d  %s\n", e.Code, e.Meaning)
	}
	return strings.TrimSuffix(lines.String(), "\n")
}

// newParser makes the parser of the command line. exited is called when --help or --version have done their work.
func newParser(ctx context.Context, sys *system, exited func()) (*kong.Kong, error) {
	parser, err := kong.New(newCLI(),
		kong.Name("processor"),
		kong.Description(description+exitCodes()),
		kong.Writers(sys.stdout, sys.stderr),
		kong.Exit(func(int) { exited() }),
		kong.ConfigureHelp(kong.HelpOptions{NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.WithHyphenPrefixedParameters(true), // or "-24h" would be taken for a flag
		kong.TypeMapper(reflect.TypeFor[switchText](), switchMapper{}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(sys),
	)
	if err != nil {
		return nil, fmt.Errorf("build the command line: %w", err)
	}
	return parser, nil
}

// execute parses the command line and runs the subcommand.
func execute(ctx context.Context, args []string, sys *system) error {
	exited := false
	parser, err := newParser(ctx, sys, func() { exited = true })
	if err != nil {
		return err
	}
	command, err := parser.Parse(hyphenPosition(args))
	switch {
	case exited:
		return nil
	case err != nil:
		return usageError(err)
	}
	return command.Run(parser)
}

var unknownFlag = regexp.MustCompile(`^unknown flag --([^\s,=]+)`)

// usageError gives a command line that cannot be parsed its exit code. A flag that looks like a setting is a
// mistake in the configuration, as the same name in the environment would be.
func usageError(err error) error {
	var parse *kong.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	if match := unknownFlag.FindStringSubmatch(err.Error()); match != nil {
		switch near := config.Nearest(match[1], settingFlags()); near {
		case "":
		case match[1]:
			return withCode(config.ExitNotCarriedOut, fmt.Errorf("--%s is a setting; it belongs behind a command that takes settings, see processor --help", near))
		default:
			return withCode(config.ExitConfig, fmt.Errorf("--%s is no setting; did you mean --%s?", match[1], near))
		}
	}
	command := strings.TrimSpace("processor " + parse.Context.Command())
	return withCode(config.ExitNotCarriedOut, fmt.Errorf("%w\nsee %s --help", err, command))
}
