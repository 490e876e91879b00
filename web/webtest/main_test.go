package webtest

import (
	"testing"

	"go.uber.org/goleak"

	"heatobserver/app"
	"heatobserver/app/apptest"
)

func TestMain(m *testing.M) {
	apptest.Main(app.Run)
	goleak.VerifyTestMain(m)
}
