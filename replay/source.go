package replay

import (
	"context"
	"fmt"
	"time"

	"heatobserver/entry"
)

// Kind is one of the three streams of a history.
type Kind uint8

// The streams of a history.
const (
	Plans Kind = iota
	Decisions
	Observations
)

// Kinds are all streams of a history.
var Kinds = [...]Kind{Plans, Decisions, Observations}

var kindNames = [...]string{"plans", "decisions", "observations"}

// String is the word for the stream: plans, decisions, observations.
func (k Kind) String() string { return kindNames[k] }

// Entry is one entry of a history as it stands in its stream, envelopes included.
type Entry struct {
	ID     entry.ID
	Fields entry.Fields
}

// Source is where a history is kept: a live Redis or an archive. It is safe for one reader of each kind at a time.
type Source interface {
	// Open begins to read the entries of one stream whose IDs lie within r. Nothing there is no error: the Reader ends
	// at once. The context holds for the Reader too. The caller closes the Reader.
	Open(ctx context.Context, kind Kind, r Range) (Reader, error)

	// Extent says what there is of one stream. It is asked before Open, and a Source that is still written to may hold
	// more by then.
	Extent(ctx context.Context, kind Kind) (Extent, error)

	// End is the moment up to which the history is known, whatever is read of it: now, by the clock of the server, for
	// a live Redis, and the time of the last entry of any stream for an archive. A plan whose window passes it is
	// undecided.
	End(ctx context.Context) (time.Time, error)
}

// Extent is what a Source holds of one stream.
type Extent struct {
	First entry.ID // zero when there is nothing
	Last  entry.ID
	// Trimmed reports that entries before First existed and are gone, or that this cannot be told. What lies before
	// First is then unknown, not absent.
	Trimmed bool
}

// Empty reports whether the stream holds nothing.
func (e Extent) Empty() bool { return e.Last == entry.ID{} }

// GapError means that entries between two others may be missing: the stream had been trimmed past the place up to which
// it had been read.
type GapError struct {
	Kind   Kind
	After  entry.ID // the last entry before the gap
	Before entry.ID // the first behind it; zero where there is none yet
	Err    error    // where this is known from
}

// Error names both ends, and what can be replayed.
func (e *GapError) Error() string {
	if e.Before == zeroID {
		return fmt.Sprintf("%s behind %s may be missing: %v", e.Kind, e.After, e.Err)
	}
	return fmt.Sprintf("%s between %s and %s may be missing (each side can be replayed by itself, from the other and up to the one, "+
		"less the longest wait, and with an audit the grace): %v", e.Kind, e.After, e.Before, e.Err)
}

// Unwrap is the cause.
func (e *GapError) Unwrap() error { return e.Err }

// Reader reads the entries of one stream, each ID larger than the one before, or of several (see MergeReaders), where some
// may have the same; in constant memory.
type Reader interface {
	// Next returns some of the following entries, at least one without an error, and io.EOF behind the last. Entries
	// that are returned beside an error are good: they were read before it. After an error Next is not called again,
	// but for a *GapError: what is behind a gap may be read on.
	//
	// The slice and the bytes of its Fields are the Reader's and hold until the following call.
	//
	// Errors about the content of a file wrap a cause that names it and its line.
	Next() ([]Entry, error)

	// Close releases what the Reader holds. It may be called at any time, once.
	Close() error
}
