// Package app puts a running observer together: it makes the clients, the lookup, the waiter, the two handlers with
// their middleware and transport, the metrics and the health endpoints, starts them, notices when one of them dies, and
// takes them down in the reverse order.
//
//	err := app.Run(ctx, cfg, app.Options{Logger: log})
//
// returns nil after a drain and an error whenever something ended that should not have. One-off commands get their clients
// and their settings here as well.
//
// It is the one place where the parts meet: no part knows another's neighbours, and only demo and the command line know app.
// What a plan, a wait or an entry is, is decided elsewhere; exit codes and flags are the command line's.
package app
