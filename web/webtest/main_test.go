package webtest

import (
	"testing"

	"go.uber.org/goleak"

	"heatobserver/app"
	"heatobserver/internal/workertest"
)

func TestMain(m *testing.M) {
	workertest.Main(app.Run)
	goleak.VerifyTestMain(m)
}
