package redistest

import (
	"os/exec"
	"syscall"
)

// bindLifetime starts cmd so that the kernel kills it when the calling thread ends. The caller locks the
// thread; release does nothing.
func bindLifetime(cmd *exec.Cmd) (release func(), err error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return func() {}, cmd.Start()
}
