// Package tracing makes OpenTelemetry spans of what happens to a plan, by the semantic conventions for messaging: one
// process span for each plan and handler, and below it a send span for the observation and a settle span for the
// acknowledgement, both of which the one commit script carries out.
//
// It is off unless the environment names an OTLP endpoint (see Start), and then costs nothing: every method of a nil
// Tracer hands back what it was given, so that neither a middleware nor a wrapper is left on the way.
//
// What is guaranteed: the trace of a plan goes on from its field traceparent, where that is valid. Nothing of a message
// becomes an attribute unless it is of a closed set or was checked and cut. A collector that is slow or away costs spans
// and never holds up a plan.
//
// It sees messages on their way, and never who looks or waits; no other package knows OpenTelemetry. In a bundle each plan
// has a span of its own. A plan that waits keeps its span until its wait is over.
package tracing
