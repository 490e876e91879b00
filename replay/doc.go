// Package replay rebuilds from the history of the streams what the observer should have seen, compares it with what it
// recorded, and says what it would have seen under other settings.
//
// What is guaranteed:
//
//   - The same verdict as live: the end of every wait is decided by event.Wait, fed with looks at the state that the
//     decisions give each by_plan hash.
//   - Deterministic: the same history and settings give the same bytes, whichever Source it comes from.
//   - Event time only: the clock is that of the entry IDs. Nothing here reads another one.
//   - Memory is bounded by what is alive at one moment of the history: hashes within their TTL, dedupe keys within
//     theirs, waiting plans. It does not grow with the length of the history.
//   - It never knows where a history lies: Redis, files and their errors stay behind Source.
//   - Nothing is written: results are values, and observations go to a function that the caller gives.
//
// A history is read as
//
//	source := …                                   // a live Redis, or an archive
//	r, err := replay.ParseRange("-24h", "+", now) // which plans
//	result, err := replay.Run(ctx, source, r, options, settings, emit)
//
// with a result even beside an error: what was good before it.
//
// What history cannot prove is said in docs/replay.md.
package replay
