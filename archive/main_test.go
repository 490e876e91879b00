package archive

import (
	"testing"

	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) {
	if followInstead() {
		return
	}
	redistest.VerifyTestMain(m)
}
