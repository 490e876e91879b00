// Package heat looks the heat of plans up in Redis and waits for it.
//
//   - Reader is the one lookup object of a process: early and late share it and with it the one key prefix
//     (production-safety rule 1). A look is one attempt, never retried, and many looks travel in one pipeline.
//   - Waiter holds all plans that wait for their heat. A waiting plan is an entry in one structure and no
//     polling goroutine, and when it is parked there is no goroutine at all; it ends by the rules of event.Wait
//     and by nothing else.
//   - Watcher has Redis announce every write below the prefix (CLIENT TRACKING in broadcast mode), so that the
//     Waiter looks a millisecond after the heat was written. An announcement is a reason to look, never the
//     answer: the periodic sweep goes on, only slower, and finds what an announcement did not reach.
//
// It knows plans and their keys, and never messages, groups or acknowledgements. Everything here is safe for concurrent
// use. Every queue is bounded, every goroutine ends with Close or with the context of Run, and no client that was handed
// in is ever closed.
//
//	reader, err := heat.NewReader(client, prefix, heat.ReaderOptions{})
//	waiter, err := heat.NewWaiter(reader, heat.WaiterOptions{Rules: rules})
//	watcher, err := heat.NewWatcher(heat.Tracking(options), prefix, waiter, heat.WatcherOptions{})
//	go watcher.Run(ctx)
//	verdict, err := waiter.Wait(ctx, plan, published)
package heat
