//go:build unix && !linux

package redistest

import (
	"os/exec"
	"strconv"
)

// bindLifetime starts cmd and beside it a shell that reads a pipe of which this process holds the other end.
// When this process dies the pipe ends and the shell kills cmd; release tells the shell to leave instead.
func bindLifetime(cmd *exec.Cmd) (release func(), err error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	abandon := func(err error) error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	watcher := exec.Command("/bin/sh", "-c", `read -r _ || kill -9 "$1"`, "sh", strconv.Itoa(cmd.Process.Pid))
	pipe, err := watcher.StdinPipe()
	if err != nil {
		return nil, abandon(err)
	}
	if err := watcher.Start(); err != nil {
		return nil, abandon(err)
	}
	return func() {
		_, _ = pipe.Write([]byte("ended\n"))
		_ = pipe.Close()
		_ = watcher.Wait()
	}, nil
}
