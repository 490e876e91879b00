package app

import (
	"context"
	"errors"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
)

// routerLog is what the Watermill router logs, with its levels set right: the starts and stops of its goroutines are for
// debugging, and an answer that a drain has left to others is no error.
type routerLog struct{ watermill.LoggerAdapter }

func newRouterLog(log *slog.Logger) watermill.LoggerAdapter {
	return routerLog{watermill.NewSlogLoggerWithLevelMapping(log, map[slog.Level]slog.Level{
		slog.LevelInfo: slog.LevelDebug,
	})}
}

// Error is part of watermill.LoggerAdapter.
func (l routerLog) Error(text string, err error, fields watermill.LogFields) {
	if errors.Is(err, context.Canceled) {
		l.Debug(text, fields.Add(watermill.LogFields{"err": err}))
		return
	}
	l.LoggerAdapter.Error(text, err, fields)
}

// With is part of watermill.LoggerAdapter.
func (l routerLog) With(fields watermill.LogFields) watermill.LoggerAdapter {
	return routerLog{l.LoggerAdapter.With(fields)}
}
