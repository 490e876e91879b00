package middleware_test

import (
	"testing"

	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) {
	redistest.VerifyTestMain(m)
}
