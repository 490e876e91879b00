package main

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// TestServiceManagerIsTold listens where systemd would. Redis comes only after a while: ready is said then, and signs of
// life from the beginning.
func TestServiceManagerIsTold(t *testing.T) {
	server := redistest.Start(t, redistest.WithAOF("always"))
	server.Stop()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	require.NoError(t, err)
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", strconv.FormatInt((2*time.Second).Microseconds(), 10))
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))

	var told []string
	until := func(want string) {
		t.Helper()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
		for buf := make([]byte, 4096); ; {
			n, err := conn.Read(buf)
			require.NoError(t, err, "waiting for %q, told %q", want, told)
			told = append(told, string(buf[:n]))
			if told[len(told)-1] == want {
				return
			}
		}
	}
	observer := launch(t, append([]string{"REDIS_URL=" + server.URL(), "P28_HTTP_ADDR=127.0.0.1:0", "P28_BLOCK_MS=50"}, usual...), "run")
	until("WATCHDOG=1")
	until("WATCHDOG=1")
	require.NotContains(t, told, "READY=1\nSTATUS=observing")
	server.Restart()
	until("READY=1\nSTATUS=observing")
	until("WATCHDOG=1")
	observer.stop()
	until("STOPPING=1\nSTATUS=draining")
	observer.end()
}
