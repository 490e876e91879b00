package redistest

// T is what the package needs of its test. Every testing.TB is one; a benchmark that is a program of its own brings
// another.
type T interface {
	Helper()
	// Cleanup has f called at the end, the last one added first.
	Cleanup(f func())
	Failed() bool
	Logf(format string, args ...any)
	// Errorf reports a failure and goes on. It is called from any goroutine.
	Errorf(format string, args ...any)
	// Fatalf and Skipf do not return.
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}
