package chaos

import (
	"context"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// asWorker is the variable that makes the test binary a worker.
const asWorker = "CHAOS_WORKER"

func TestMain(m *testing.M) {
	if os.Getenv(asWorker) != "" {
		os.Exit(work())
	}
	redis.SetLogger(quiet{}) // a failed connection is what these tests make; it would be logged each time
	goleak.VerifyTestMain(m)
}

// quiet is go-redis' own log.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// raceEnabled is true in a binary with the race detector.
var raceEnabled bool
