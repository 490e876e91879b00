package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Ports are taken from below the range out of which Linux gives source ports to outgoing connections
// (32768 to 60999): a client that dials a server which is down could otherwise be given that very port.
const (
	firstPort = 20000
	lastPort  = 31999
)

// reservePort finds a loopback port on which nothing listens and keeps other tests away from it, in this and
// in other processes, by a lock on a file that is named after it. The lock ends with the test or its process.
func reservePort(t T) int {
	t.Helper()
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("redistest-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatalf("redistest: make the folder of port locks: %v", err)
	}
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		lock, err := lockPort(dir, port)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			continue
		}
		if err != nil {
			t.Fatalf("redistest: reserve port %d: %v", port, err)
		}
		l, err := net.Listen("tcp", loopback(port))
		if err != nil { // in use by a program that knows nothing of our locks
			_ = lock.Close()
			continue
		}
		_ = l.Close()
		t.Cleanup(func() { _ = lock.Close() })
		return port
	}
	t.Fatalf("redistest: no free port between %d and %d", firstPort, lastPort)
	return 0
}

func lockPort(dir string, port int) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
