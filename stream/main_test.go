package stream_test

import (
	"fmt"
	"net/http"
	"os"
	"testing"

	"heatobserver/internal/redistest"
)

// restartVar makes the test binary a command that restarts the server of a test, for Watermill's reconnect test.
const restartVar = "STREAM_TEST_RESTART_URL"

func TestMain(m *testing.M) {
	if url := os.Getenv(restartVar); url != "" {
		r, err := http.Post(url, "", nil)
		if err == nil {
			err = r.Body.Close()
		}
		if err != nil || r.StatusCode != http.StatusOK {
			fmt.Fprintln(os.Stderr, "restart failed:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	redistest.VerifyTestMain(m)
}
