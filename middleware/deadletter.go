package middleware

import (
	"errors"
	"log/slog"

	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"golang.org/x/time/rate"

	"heatobserver/stream"
)

// DeadLetter parks the entry of a message whose error is permanent, with its acknowledgement, and then reports success:
// the entry is done with. An entry that could not be parked (the process drains) keeps its error and stays pending.
func DeadLetter(log *slog.Logger) message.HandlerMiddleware {
	// A producer that has gone wrong parks thousands a second; the metrics count them, the log shows one now and then.
	often := rate.Sometimes{First: 3, Interval: 10 * time.Second}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			answers, err := next(msg)
			if Classify(err) != Permanent { // none is as good as a transient one
				return answers, err
			}
			ctx := msg.Context()
			d := stream.DeliveryFrom(ctx)
			if d == nil {
				return nil, err
			}
			reason, failures := ReasonFailed, 1
			var no Unprocessable
			if errors.As(err, &no) {
				reason = no.DeadLetterReason()
			}
			var exhausted *ExhaustedError
			if errors.As(err, &exhausted) {
				failures = exhausted.Failures
			}
			if parkErr := d.DeadLetter(ctx, reason, err, failures); parkErr != nil {
				return nil, errors.Join(err, parkErr)
			}
			// What a producer got wrong is for the dead-letter stream to show; what a handler got wrong needs us.
			level := slog.LevelWarn
			if reason == ReasonFailed {
				level = slog.LevelError
			}
			often.Do(func() {
				log.Log(ctx, level, "parked an entry as a dead letter", "reason", reason, "stream", d.Entry().Stream,
					"group", d.Group(), "entry_id", d.Entry().ID.String(), "err", err)
			})
			return nil, nil
		}
	}
}
