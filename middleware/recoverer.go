package middleware

import (
	"fmt"
	"runtime/debug"

	"github.com/ThreeDotsLabs/watermill/message"
)

// PanicError is a panic of a handler. It is transient: what panicked once may work the next time, and what does not is
// parked after as many failures as any other.
type PanicError struct {
	Value any
	Stack []byte
}

// Error names the value and the place.
func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v\n%s", e.Value, e.Stack) }

// Recoverer turns a panic into a PanicError, so that it is counted, retried and parked like any failure.
func Recoverer(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) (answers []*message.Message, err error) {
		defer func() {
			if v := recover(); v != nil {
				answers, err = nil, &PanicError{Value: v, Stack: debug.Stack()}
			}
		}()
		return next(msg)
	}
}
