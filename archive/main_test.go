package archive

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if followInstead() {
		return
	}
	goleak.VerifyTestMain(m)
}
