package middleware

import (
	"context"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"heatobserver/stream"
)

// BundleHandler answers the messages of a bundle; nil is no answer. park is stream.Bundle.Park.
type BundleHandler func(ctx context.Context, msgs []*message.Message, park func(i int) (resume func(key, value any) (send func()))) []*message.Message

// Bundled answers a bundle at once and hands every other message on. What the bundle's handler leaves open comes back as
// a message of its own, and so passes all that stands behind: throttle, retry, dead letter. What it parks comes in a bundle
// again when its time has come. A handler that panics leaves everything open, so that the one message to blame is found
// and parked.
//
// It has to be the outermost. tell is called for each answer as Metrics calls it.
func Bundled(handle BundleHandler, tell Handled, log *slog.Logger) message.HandlerMiddleware {
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			bundle := stream.BundleFrom(msg.Context())
			if bundle == nil {
				return next(msg)
			}
			start := time.Now()
			answers := attempt(msg.Context(), handle, bundle, log)
			took := time.Since(start)
			for _, answer := range answers {
				if answer != nil {
					tell("answered", took)
				}
			}
			return bundle.Answer(answers), nil
		}
	}
}

func attempt(ctx context.Context, handle BundleHandler, bundle *stream.Bundle, log *slog.Logger) []*message.Message {
	defer func() {
		if v := recover(); v != nil {
			bundle.Unpark()
			log.WarnContext(ctx, "the handler of a bundle panicked; its entries are handled one by one",
				"entries", len(bundle.Messages()), "err", &PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	return handle(ctx, bundle.Messages(), bundle.Park)
}
