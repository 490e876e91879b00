package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/operate"
)

// operated embeds what all commands have that look at a running system or change it.
type operated struct {
	*settings
	JSON bool `name:"json" help:"Print JSON in place of text."`
}

// with connects and calls do. What cannot be carried out ends with 2; what was carried out and is not as it should be is
// for do to say, by an exit code of its own.
func (o operated) with(ctx context.Context, sys *system, do func(*operate.Operator) error) error {
	cfg, _, err := o.start(ctx, usualPrefix(sys)) // no heat is looked up here
	if err != nil {
		return err
	}
	return operateError(app.Operate(ctx, cfg, do))
}

func operateError(err error) error {
	var coded *exitError
	var wrong *app.ConfigError
	switch {
	case err == nil, errors.As(err, &coded):
		return err
	case errors.As(err, &wrong):
		return withCode(config.ExitConfig, err)
	case errors.Is(err, operate.ErrNotFound), errors.Is(err, operate.ErrPending):
		return withCode(config.ExitFailed, err)
	}
	return withCode(config.ExitNotCarriedOut, err)
}

// usage is an error about the command line.
func usage(format string, args ...any) error {
	return withCode(config.ExitNotCarriedOut, fmt.Errorf(format, args...))
}

// printJSON prints a value. Characters that do not print, which a terminal might obey, are escaped.
func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	var out strings.Builder
	for _, r := range b.String() { // outside of strings it is ASCII
		switch {
		case r == '\n' || unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// shown is text from Redis as it may be printed: what does not print is escaped as in Go, so that no entry can give the
// terminal orders.
func shown(s string) string {
	quoted := strconv.Quote(s)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}

// brief is shown, cut to n characters.
func brief(s string, n int) string {
	r := []rune(shown(s))
	if len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return string(r)
}

// printer writes text for people. It keeps the first error.
type printer struct {
	w       io.Writer
	colours bool
	err     error
}

func newPrinter(w io.Writer) *printer {
	return &printer{w: w, colours: isTerminal(w) && os.Getenv("NO_COLOR") == ""} // https://no-color.org
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

// alarm is a line that should be seen.
func (p *printer) alarm(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if p.colours {
		line = "\x1b[31m" + line + "\x1b[0m"
	}
	p.line("%s", line)
}

// table prints rows; columns whose number is in right are numbers.
func (p *printer) table(header table.Row, rows []table.Row, right ...int) {
	t := table.NewWriter()
	style := table.StyleLight
	style.Options = table.Options{SeparateColumns: true}
	style.Box.MiddleVertical, style.Box.PaddingLeft, style.Box.PaddingRight = " ", "", " "
	style.Format.Header = text.FormatUpper
	if p.colours {
		style.Color.Header = text.Colors{text.Bold}
	}
	t.SetStyle(style)
	t.AppendHeader(header)
	t.AppendRows(rows)
	var columns []table.ColumnConfig
	for _, n := range right {
		columns = append(columns, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	for line := range strings.Lines(t.Render() + "\n") {
		p.line("%s", strings.TrimRight(line, " \n"))
	}
}
