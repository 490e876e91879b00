package main

import (
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"

	"heatobserver/config"
)

// newLogger makes the logger of the process: JSON, one object a line, or text with colours on a terminal.
func newLogger(w io.Writer, log config.Log, terminal bool) *slog.Logger {
	if log.Format == config.LogText || log.Format == config.LogAuto && terminal {
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level:      log.SlogLevel(),
			TimeFormat: time.TimeOnly + ".000",
			NoColor:    !terminal || os.Getenv("NO_COLOR") != "", // https://no-color.org
		}))
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: log.SlogLevel(), ReplaceAttr: readable}))
}

// readable writes durations as "1.5s": as JSON numbers they would be nanoseconds that nobody recognises.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
