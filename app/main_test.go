package app_test

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) {
	// Most of the time these tests wait for deadlines, so more of them run at once than there are cores. The command
	// line still has the last word.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	redistest.VerifyTestMain(m,
		// A Watermill router that could not start leaves this one behind; the process ends then.
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/message.(*Router).watchAllHandlersStopped.func1"))
}
