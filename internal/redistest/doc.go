// Package redistest gives a test a real redis-server of its own, and a TCP proxy (Proxy) with which to do
// harm to the connections to it.
//
// It knows servers and connections, never what is kept in them. What is guaranteed:
//
//   - Every Server has a loopback port and a directory to itself. The port is reserved across processes for
//     as long as the test runs, also while the server is down, so that Restart always gets it back.
//   - Start and Restart return when the server has loaded its data and answers PING.
//   - The server ends with the test, and with the test process however that dies.
//   - Without redis-server on the PATH a test is skipped, and fails where the environment says CI=true.
//     REDISTEST_SERVER names another binary, such as valkey-server.
//
// Methods that take no error path report to the test that started the server with Fatalf and so belong on
// that test's goroutine. All methods are safe for concurrent use.
//
//	srv := redistest.Start(t, redistest.WithAOF("always"))
//	proxy := redistest.NewProxy(t, srv.Addr())
//	rdb := srv.NewClient(func(o *redis.Options) { o.Addr = proxy.Addr() })
//	proxy.DropReplies(1, "xadd") // the next XADD is executed and its reply lost
package redistest
