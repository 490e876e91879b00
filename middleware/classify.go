package middleware

import (
	"context"
	"errors"
	"fmt"

	"heatobserver/stream"
)

// Class says what is to become of a message whose handling ended with an error.
type Class int

// The classes.
const (
	// Transient: trying again may help.
	Transient Class = iota
	// Permanent: trying again cannot help; the entry becomes a dead letter.
	Permanent
	// Cancelled: nobody failed; the process drains. The entry stays pending and no failure is counted.
	Cancelled
)

// Unprocessable is implemented by errors of handlers for which trying again is no use.
type Unprocessable interface {
	error
	// DeadLetterReason is one of a closed set.
	DeadLetterReason() string
}

// ReasonFailed is the reason of a dead letter whose handler failed too often.
const ReasonFailed = "handler_failed"

// ExhaustedError is the error of a handler that failed as often as Retry allows.
type ExhaustedError struct {
	Failures int
	Err      error // of the last failure
}

// Error tells how often and why.
func (e *ExhaustedError) Error() string {
	return fmt.Sprintf("handler failed %d times: %v", e.Failures, e.Err)
}

// Unwrap is the last failure.
func (e *ExhaustedError) Unwrap() error { return e.Err }

// DeadLetterReason makes it Unprocessable.
func (e *ExhaustedError) DeadLetterReason() string { return ReasonFailed }

var _ Unprocessable = (*ExhaustedError)(nil)

// Classify is the one place where the class of an error is decided.
func Classify(err error) Class {
	var no Unprocessable
	switch {
	case errors.As(err, &no):
		return Permanent
	case errors.Is(err, context.Canceled), errors.Is(err, stream.ErrDraining):
		return Cancelled
	}
	return Transient
}
