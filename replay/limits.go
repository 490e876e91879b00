package replay

import (
	"fmt"
	"time"
)

// Limits say what a replay with these settings cannot prove, one sentence each.
func Limits(o Options, readDelay time.Duration) []string {
	return []string{
		fmt.Sprintf("when a hash was written: assumed to be %v after its decision", o.BridgeDelay),
		fmt.Sprintf("when a plan was read: assumed to be %v after it was published", readDelay),
		"the order within one millisecond: a hash written in the millisecond of a look counts as seen",
		"hashes that somebody else deleted, changed or lost, and errors of Redis: the streams hold no trace of them",
		"whether a plan was published before the range too: here it counts as new",
	}
}
