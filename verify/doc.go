// Package verify proves a deployment good or refuses it: the golden verification. It runs checks, each with a verdict,
// what was seen and what to do, against the streams, keys, groups, ports and rights as they are, and never against what
// the processor thinks.
//
// What is guaranteed:
//
//   - A check that could not look never passes: it fails, or warns when only the right to look is missing.
//   - Nothing is written, except one plan by the canary, and only when it is asked for.
//   - Redis is never asked for KEYS; SCAN is bounded, and so is every other answer.
//   - All checks run at once and end within Setup.Wait and a few seconds, whatever hangs.
//
// It never uses the lookup, the waiter or the handlers whose work it judges. One subject per file; Run puts them in
// order. The rules of the contract come last, because they follow from the others.
//
//	report := verify.Run(ctx, client, setup)
//	if !report.OK { … }
package verify
