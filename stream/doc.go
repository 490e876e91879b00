// Package stream is a Watermill Subscriber and Publisher on Redis consumer groups, built for workers that
// must neither lose an entry nor answer it twice. It serves any Watermill application: it knows entries,
// groups and consumers, and nothing of what the entries mean.
//
// # What it guarantees
//
// Delivery is at least once: an entry is acknowledged only after its message was acked. Where the answer to
// an entry is published through a Publisher of this package, source and destination in one Redis, it is
// effectively once: one script checks that this consumer still owns the entry (the fence) and that nobody
// answered it (the dedupe key), writes the answer, sets the dedupe key and acknowledges the entry.
//
// Entries of a group are handed out in the order of their IDs to as many goroutines as
// SubscriberConfig.MaxInFlight allows; with MaxInFlight 1 and a single subscriber the order of handling is the
// order of the stream, nacked entries included. A nacked message is delivered again, here, after a backoff.
//
// What another consumer left behind (a crash, a drain) is claimed; what is in hand here is kept from others
// by refreshing its idle time. A group that vanished is built again from its cursor. None of the errors
// that Redis or the network can return ends a subscription: it ends with its context or with Close.
//
// # Who owns what
//
// Neither Subscriber nor Publisher closes the client that it was given. A Subscriber owns the goroutines of
// its subscriptions; its Close returns when they have ended and the entries in hand are settled or handed
// back. The message of a delivery carries the Delivery in its context (DeliveryFrom) and the entry's ID
// (entry.IDFrom). Whoever answers a delivery puts the context of the message on the answer:
//
//	answer.SetContext(msg.Context())
package stream
