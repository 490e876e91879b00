//go:build race

package chaos

// The race detector takes several times the memory.
func init() { raceEnabled = true }
