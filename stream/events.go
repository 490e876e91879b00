package stream

import (
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// CommitResult is what became of an answer.
type CommitResult string

// The results of a commit. See lua/commit.lua.
const (
	Written   CommitResult = "written"
	Duplicate CommitResult = "duplicate" // it had been answered before; acknowledged and counted
	Fenced    CommitResult = "fenced"    // the entry is another consumer's now; nothing was done
	Trimmed   CommitResult = "trimmed"   // written, though the entry was trimmed away while it was in hand
	Unknown   CommitResult = "unknown"   // a reply was lost and the repetition found it done, by us or another
)

// CommitResults are all results.
var CommitResults = [...]CommitResult{Written, Duplicate, Fenced, Trimmed, Unknown}

// Events is told what happens in subscribers and publishers. Its methods are called on the hot path and from several
// goroutines; they must return at once. Embed NoEvents to implement some of them.
type Events interface {
	// Read: n entries of a stream came, after the read took took. fresh is false for claimed and recovered entries.
	Read(stream, group string, n int, fresh bool, took time.Duration)
	// Healed: a group that was missing has been created again.
	Healed(stream, group string)
	// Lost: n entries were trimmed away before they were read or while they were pending.
	Lost(stream, group string, n int64)
	// Failed: an operation ("read", "claim", "commit", …) failed and will be tried again.
	Failed(op string)
	// Committed: an answer met this result.
	Committed(answer *message.Message, result CommitResult)
	// CommitBatch: n answers went to Redis in one script, which took took.
	CommitBatch(n int, took time.Duration)
	// DeadLettered: an entry was parked.
	DeadLettered(stream, group, reason string)
	// Dropped: an entry was acknowledged without an answer, by decision.
	Dropped(stream, group string)
	// Redelivered: a nacked message is delivered again.
	Redelivered(stream, group string)
	// HandedBack: n entries were given to other consumers when the subscription ended.
	HandedBack(stream, group string, n int)
}

// NoEvents ignores everything.
type NoEvents struct{}

var _ Events = NoEvents{}

func (NoEvents) Read(string, string, int, bool, time.Duration) {}
func (NoEvents) Healed(string, string)                         {}
func (NoEvents) Lost(string, string, int64)                    {}
func (NoEvents) Failed(string)                                 {}
func (NoEvents) Committed(*message.Message, CommitResult)      {}
func (NoEvents) CommitBatch(int, time.Duration)                {}
func (NoEvents) DeadLettered(string, string, string)           {}
func (NoEvents) Dropped(string, string)                        {}
func (NoEvents) Redelivered(string, string)                    {}
func (NoEvents) HandedBack(string, string, int)                {}
