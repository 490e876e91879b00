package chaos

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"heatobserver/app/apptest"
)

func TestMain(m *testing.M) {
	apptest.Main(observe)
	redis.SetLogger(quiet{}) // a failed connection is what these tests make; it would be logged each time
	goleak.VerifyTestMain(m)
}

// quiet is go-redis' own log.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// raceEnabled is true in a binary with the race detector.
var raceEnabled bool
