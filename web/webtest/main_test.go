package webtest

import (
	"testing"

	"heatobserver/app"
	"heatobserver/app/apptest"
	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) {
	apptest.Main(app.Run)
	redistest.VerifyTestMain(m)
}
