package event

import "fmt"

// DeadReason says why an entry became a dead letter, a closed set.
type DeadReason string

// The reasons of the wire contract.
const (
	NoPlanID      DeadReason = "no_plan_id"
	NoSymbol      DeadReason = "no_symbol"
	BadField      DeadReason = "bad_field"
	BadEnvelope   DeadReason = "bad_envelope"
	TooLarge      DeadReason = "too_large"
	HandlerFailed DeadReason = "handler_failed"
)

// DeadReasons are all reasons, in the order of the contract.
var DeadReasons = [...]DeadReason{NoPlanID, NoSymbol, BadField, BadEnvelope, TooLarge, HandlerFailed}

// MalformedError says why an entry can never be observed.
type MalformedError struct {
	Reason DeadReason
	Field  string // the field at fault, "" when it is the entry as a whole
	Err    error  // what is wrong and how to mend it; values are quoted and cut
}

func (e *MalformedError) Error() string { return e.Err.Error() }

func (e *MalformedError) Unwrap() error { return e.Err }

// DeadLetterReason is the reason under which the entry is parked. The transport asks any error in the chain
// for it, and so needs to know nothing about plans.
func (e *MalformedError) DeadLetterReason() string { return string(e.Reason) }

// malformed is a *MalformedError with a formatted cause.
func malformed(reason DeadReason, field, format string, args ...any) error {
	return &MalformedError{Reason: reason, Field: field, Err: fmt.Errorf(format, args...)}
}
