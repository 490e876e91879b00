package main

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"heatobserver/config"
)

// settings gives a subcommand that embeds it --env-file and one flag for every setting.
type settings struct {
	EnvFile string `name:"env-file" placeholder:"FILE" help:"File of settings in the syntax of systemd's EnvironmentFile. It may be shared: what is not ours is ignored."`
	kong.Plugins

	flags     reflect.Value // struct behind the generated flags: a pointer for each of variables
	variables []string
}

// newSettings makes the flags from config.Settings, so that no setting is ever without one. Those of the hidden variables
// are not shown by --help.
func newSettings(hidden ...string) *settings {
	s := &settings{}
	var fields []reflect.StructField
	add := func(variable string, typ reflect.Type, group, placeholder, help string) {
		s.variables = append(s.variables, variable)
		tag := fmt.Sprintf("name:%q group:%q placeholder:%q help:%q", config.FlagName(variable), group, placeholder, help)
		if slices.Contains(hidden, variable) {
			tag += ` hidden:""`
		}
		fields = append(fields, reflect.StructField{
			Name: "F" + strconv.Itoa(len(fields)),
			Type: typ,
			Tag:  reflect.StructTag(tag),
		})
	}
	for _, setting := range config.Settings() {
		typ, allowed := reflect.TypeFor[*string](), setting.Allowed()
		if setting.Type() == "boolean" { // the only type whose flag shows no default of its own
			typ, allowed = reflect.TypeFor[*switchText](), allowed+"; default "+setting.Default
		}
		placeholder := setting.Default
		if placeholder == "" {
			placeholder = strings.ToUpper(setting.Type())
		}
		add(setting.Name, typ, setting.Group, placeholder, fmt.Sprintf("%s [%s]", setting.Help, allowed))
		if name := setting.FileName(); name != "" {
			add(name, reflect.TypeFor[*string](), setting.Group, "FILE", "File that holds the value of --"+setting.Flag()+".")
		}
	}
	flags := reflect.New(reflect.StructOf(fields))
	s.flags = flags.Elem()
	s.Plugins = kong.Plugins{flags.Interface()}
	return s
}

// settingFlags are the flags of all settings, without their dashes.
func settingFlags() []string {
	var names []string
	for _, variable := range newSettings().variables {
		names = append(names, config.FlagName(variable))
	}
	return names
}

// given are the flags that stand on the command line, by variable.
func (s *settings) given() map[string]string {
	values := make(map[string]string)
	for i, variable := range s.variables {
		if field := s.flags.Field(i); !field.IsNil() {
			values[variable] = field.Elem().String()
		}
	}
	return values
}

// load reads the configuration. Its error has the exit code of a wrong configuration; the report is complete
// all the same.
func (s *settings) load(sys *system) (config.Config, config.Report, error) {
	cfg, report, err := config.Load(config.Sources{
		EnvFile: s.EnvFile,
		Environ: sys.environ,
		Flags:   s.given(),
	})
	return cfg, report, withCode(config.ExitConfig, err)
}

// start reads the configuration for a subcommand that logs: it makes the logger and logs the warnings.
func (s *settings) start(ctx context.Context, sys *system) (config.Config, *slog.Logger, error) {
	cfg, report, err := s.load(sys)
	if err != nil {
		for _, w := range report.Warnings { // a misspelt name may well be the reason
			fmt.Fprintf(sys.stderr, "warning: %s\n", w)
		}
		return config.Config{}, nil, err
	}
	log := newLogger(sys.stderr, cfg.Log, isTerminal(sys.stderr))
	for _, w := range report.Warnings {
		log.WarnContext(ctx, "a setting should be looked at", "variable", w.Name, "value", w.Value, "source", w.Source, "err", w.Text)
	}
	return cfg, log, nil
}

// switchText is the value of a boolean setting. Without a value the flag means true.
type switchText string

type switchMapper struct{}

var _ kong.BoolMapper = switchMapper{}

// IsBool tells kong that the flag needs no value.
func (switchMapper) IsBool() bool { return true }

// Decode takes the value after the equals sign as it stands; config says what it means.
func (switchMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if ctx.Scan.Peek().Type != kong.FlagValueToken {
		target.SetString("true")
		return nil
	}
	target.SetString(ctx.Scan.Pop().String())
	return nil
}
