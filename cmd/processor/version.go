package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"
)

// versionCommand prints the version.
type versionCommand struct{}

// Help is the end of `processor version --help`.
func (versionCommand) Help() string {
	return `Examples:
  processor version
  processor --version

Names the version, the commit and its time, whether files were changed, Go and the platform. go version -m $(which processor) lists the modules too.`
}

// Run prints one line.
func (versionCommand) Run(_ context.Context, sys *system) error {
	_, err := fmt.Fprintln(sys.stdout, version())
	return err
}

// versionFlag is the same as a flag, which works beside any subcommand.
type versionFlag bool

// BeforeReset prints the version in place of everything else that the command line asks for.
func (versionFlag) BeforeReset(app *kong.Kong, sys *system) error {
	if _, err := fmt.Fprintln(sys.stdout, version()); err != nil {
		return err
	}
	app.Exit(0)
	return nil
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return describeBuild(info)
}

// describeBuild says what was built from what: "processor v1.2.0 (commit 1a2b3c4d5e6f, modified) go1.26 linux/amd64".
func describeBuild(info *debug.BuildInfo) string {
	var source []string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			source = append(source, "commit "+s.Value[:min(12, len(s.Value))])
		case s.Key == "vcs.time":
			source = append(source, s.Value)
		case s.Key == "vcs.modified" && s.Value == "true":
			source = append(source, "modified")
		}
	}
	text := "processor " + cmp.Or(info.Main.Version, "(devel)")
	if len(source) > 0 {
		text += " (" + strings.Join(source, ", ") + ")"
	}
	return fmt.Sprintf("%s %s %s/%s", text, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
