package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"

	"heatobserver/app"
	"heatobserver/config"
)

// configCommand shows the configuration that `processor run` would have with the same flags.
type configCommand struct {
	*settings
	Strict bool `help:"Take every warning for an error: for a check before a deployment."`
	JSON   bool `name:"json" help:"Print JSON in place of a table."`
}

// Help is the end of `processor config --help`.
func (configCommand) Help() string {
	return `Examples:
  processor config --env-file /etc/quantum/apply-layer.env
  processor config --strict --late-obs-max-wait-ms 3000
  processor config --json | jq -r '.settings[] | select(.source != "default") | .variable'

Secrets are masked. Exit code 78 when something is wrong; all that is wrong is said at once.`
}

// Run prints the table or the JSON to standard output, and warnings and errors to standard error.
func (c *configCommand) Run(_ context.Context, sys *system) error {
	_, report, err := c.load(sys)
	showLimit(report.Values, app.ContainerLimit())
	problems := problemsOf(err)
	warnings := report.Warnings
	if c.Strict {
		err = withCode(config.ExitConfig, errors.Join(err, report.Strict()))
		problems, warnings = append(problems, warnings...), nil
	}
	write := writeSettings
	if c.JSON {
		write = writeSettingsJSON
	}
	if err := write(sys.stdout, report.Values, warnings, problems); err != nil {
		return fmt.Errorf("print the settings: %w", err)
	}
	for _, w := range warnings {
		sys.complain("warning: %s", w)
	}
	for _, p := range problems {
		sys.complain("error: %s", p)
	}
	if err != nil {
		return &silentError{err}
	}
	return nil
}

// showLimit puts the memory limit that follows the container's where nobody gave another: it is known only in that
// container.
func showLimit(values []config.Value, limit int64) {
	for i := range values {
		v := &values[i]
		if v.Setting.Name == "GOMEMLIMIT" && v.Source == config.SourceDefault && limit > 0 {
			v.Text, v.Source = strconv.FormatInt(limit, 10), "container"
		}
	}
}

// problemsOf takes apart what config.Load joined.
func problemsOf(err error) []*config.Problem {
	var joined interface{ Unwrap() []error }
	var problem *config.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &joined):
		var all []*config.Problem
		for _, e := range joined.Unwrap() {
			all = append(all, problemsOf(e)...)
		}
		return all
	case errors.As(err, &problem):
		return []*config.Problem{problem}
	}
	return []*config.Problem{{Text: err.Error()}}
}

func writeSettings(w io.Writer, values []config.Value, _, _ []*config.Problem) error {
	var rows strings.Builder
	rows.WriteString("VARIABLE\tVALUE\tUNIT\tSOURCE\n")
	for _, v := range values {
		fmt.Fprintf(&rows, "%s\t%s\t%s\t%s\n", v.Setting.Name, orDash(v.Text), orDash(v.Setting.Unit), v.Source)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if _, err := io.WriteString(t, rows.String()); err != nil {
		return err
	}
	return t.Flush()
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

type settingJSON struct {
	Variable string `json:"variable"`
	Flag     string `json:"flag"`
	Value    string `json:"value"` // masked if secret
	Unit     string `json:"unit,omitempty"`
	Source   string `json:"source"`
	Type     string `json:"type"`
	Allowed  string `json:"allowed"`
	Default  string `json:"default"`
	Secret   bool   `json:"secret,omitempty"`
}

type problemJSON struct {
	Variable string `json:"variable,omitempty"`
	Value    string `json:"value,omitempty"`
	Source   string `json:"source,omitempty"`
	Text     string `json:"text"`
}

func writeSettingsJSON(w io.Writer, values []config.Value, warnings, problems []*config.Problem) error {
	out := struct {
		Settings []settingJSON `json:"settings"`
		Warnings []problemJSON `json:"warnings"`
		Errors   []problemJSON `json:"errors"`
	}{Warnings: toJSON(warnings), Errors: toJSON(problems)}
	for _, v := range values {
		s := v.Setting
		out.Settings = append(out.Settings, settingJSON{
			Variable: s.Name, Flag: "--" + s.Flag(), Value: v.Text, Unit: s.Unit, Source: v.Source,
			Type: s.Type(), Allowed: s.Allowed(), Default: s.DefaultText(), Secret: s.Secret,
		})
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

func toJSON(problems []*config.Problem) []problemJSON {
	out := make([]problemJSON, 0, len(problems))
	for _, p := range problems {
		out = append(out, problemJSON{Variable: p.Name, Value: p.Value, Source: p.Source, Text: p.Text})
	}
	return out
}
