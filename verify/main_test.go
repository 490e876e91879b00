package verify_test

import (
	"testing"

	"go.uber.org/goleak"

	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) {
	redistest.VerifyTestMain(m,
		// A Watermill router that could not start leaves this one behind; the process ends then.
		goleak.IgnoreAnyFunction("github.com/ThreeDotsLabs/watermill/message.(*Router).watchAllHandlersStopped.func1"))
}
