package chaos

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"heatobserver/app/apptest"
	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) {
	apptest.Main(observe)
	redis.SetLogger(quiet{}) // a failed connection is what these tests make; it would be logged each time
	redistest.VerifyTestMain(m)
}

// quiet is go-redis' own log.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// raceEnabled is true in a binary with the race detector.
var raceEnabled bool
