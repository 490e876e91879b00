package redistest

import "go.uber.org/goleak"

// VerifyTestMain is that of goleak, for packages whose tests have servers go away: a pool of go-redis that was refused often
// enough dials once a second from then on, and notices only then that its client was closed.
func VerifyTestMain(m goleak.TestingM, more ...goleak.Option) {
	goleak.VerifyTestMain(m, append(more, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))...)
}
