// Package chaos proves the promise of this project by breaking everything around it: exactly one observation for each
// plan and observation point, whatever dies. It holds tests alone, which is why nothing imports it.
//
//   - TestCrashMatrix kills a worker (SIGKILL) at each point between reading a plan and acknowledging it, lets
//     another one finish, and looks at what Redis holds.
//   - TestChaos keeps three workers under load while faults of every kind happen in an order that follows from a seed,
//     ends with a quiet period and prints the table of invariants. `make chaos SEED=2 DURATION=5m` is the long form.
//   - TestBrokenFence takes fence and dedupe keys out of the commit script and expects the same verdict to report duplicates: a
//     proof that cannot fail proves nothing. `make chaos-broken` runs it.
//   - TestRollingRestart replaces three workers one after the other under load, and TestTakeover kills one that has
//     50,000 plans in hand.
//
// Workers are processes of their own: the test binary started again (app/apptest), running app.Run on the
// configuration of its environment. What they are seen doing comes through a hook on their Redis client
// (app.Options.RedisHook); nothing in the observer knows about these tests. Redis is a real redis-server with an
// append-only file. The workers reach it through a proxy that does harm; the load and the verdict go through another one
// that only follows the primary.
//
// The verdict shares no code with the observer beyond entry IDs: it reads the streams as an operator would.
package chaos
