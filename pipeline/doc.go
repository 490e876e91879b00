// Package pipeline holds local stand-ins for the services around the observer: Planner for the apply layer,
// Gate for the heat gate and Bridge for the heat bridge. They speak the wire contract and nothing of the
// observer, so that a demo, a test or a load run meets the same streams and hashes as production.
//
// Load is the apply layer under stress: any rate, with bursts, free of coordinated omission.
//
// Each of the stand-ins is one goroutine, the caller's: Run works until its context ends and then returns nil, or returns the
// error that trying again cannot mend (a key of the wrong type, a refused login). Everything else is logged
// and tried again with backoff, and a group that is gone is made anew. A plan that was read is acknowledged
// only when its effect is written, so that what a stand-in held when it ended is done when it runs again (and
// what a reply held that was lost, at the next error or start; a client that retries by itself hides such an
// error). Plans and decisions may be written twice when a reply is lost, as by real producers.
//
// What they write follows from a seed and is the same in every run, whatever the timing: the plans by their
// number, delays and decisions by plan ID. Clients are handed in, need timeouts (go-redis has them by default)
// and are never closed here.
//
// Execution services read the plan stream. Ask Foreign before writing to a stream that may be a live one.
package pipeline
