// Package middleware holds what stands between the router and a handler, one to a file. From the outside in:
//
//	Bundled      has the entries of a bundle handled together; what they leave open goes on one by one
//	Metrics      what a handler does, in numbers
//	DeadLetter   parks what can never succeed
//	Retry        tries again what may succeed, a bounded number of times
//	Saturation   bounds the plans that wait (late only)
//	Throttle     bounds the plans handled in a second
//	Recoverer    turns a panic into an error
//
// None of them knows what a message means. They decide by the class of an error alone (Classify), and know of
// the transport what a Delivery and a Bundle offer.
package middleware
