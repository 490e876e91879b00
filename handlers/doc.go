// Package handlers holds the two observers: Early looks once, Late waits. Each takes a message that carries a plan and
// answers with one observation. They know plans and heat, and nothing of groups, acknowledgements or scripts: an answer
// carries the context of its question, which is all that the transport needs. Of Redis they know what a Looker or Waiter tells.
//
// A plan that is malformed is a *event.MalformedError, which no retry mends. That Redis cannot be asked is no error but
// an observation with its reason.
package handlers
