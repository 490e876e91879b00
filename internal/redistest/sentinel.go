package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// StartSentinels starts n sentinels that watch a primary under a name, and gives their addresses. A primary that is down
// for a second is failed over when the majority says so. They end with the test.
func StartSentinels(t T, n int, primary *Server, name string) []string {
	t.Helper()
	var addrs []string
	for range n {
		port, dir := reservePort(t), tempDir(t)
		conf := strings.Join([]string{
			"bind 127.0.0.1",
			fmt.Sprintf("port %d", port),
			fmt.Sprintf("dir %q", dir),
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d %d", name, primary.port, n/2+1),
			"sentinel down-after-milliseconds " + name + " 1000",
			"sentinel failover-timeout " + name + " 6000",
			"sentinel parallel-syncs " + name + " 2",
		}, "\n") + "\n"
		file := filepath.Join(dir, "sentinel.conf") // which the sentinel rewrites
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatalf("redistest: write sentinel.conf: %v", err)
		}
		proc, err := startProcess(primary.binary, file, "--sentinel")
		if err == nil {
			err = proc.awaitReady(readyLimit)
		}
		if err != nil {
			t.Fatalf("redistest: start a sentinel: %v", err)
		}
		t.Cleanup(func() {
			proc.signalAndWait(os.Kill, stopLimit)
			if t.Failed() {
				t.Logf("end of the log of the sentinel on port %d:\n%s", port, tail(proc.log.String(), 2000))
			}
		})
		addrs = append(addrs, loopback(port))
	}
	return addrs
}

func tempDir(t T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		t.Fatalf("redistest: make a directory: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("redistest: remove a directory: %v", err)
		}
	})
	return dir
}
