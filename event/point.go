package event

// Point is an observation point: a moment of a plan's life at which its heat is looked for.
type Point uint8

// The observation points.
const (
	Early Point = iota // when the plan is read
	Late               // until the heat is there or the allowed wait is over
)

// Points are all observation points.
var Points = [...]Point{Early, Late}

var pointNames = [...]string{"create_apply_plan", "publish_plan_post"}

// String is the word of the wire contract.
func (p Point) String() string { return pointNames[p] }

// ParsePoint is the observation point with this name in the wire contract.
func ParsePoint(name string) (point Point, ok bool) { return parsePoint(name) }

// parsePoint takes bytes too, so that nothing is copied on the way.
func parsePoint[S string | []byte](name S) (Point, bool) {
	for i, known := range pointNames {
		if string(name) == known {
			return Point(i), true
		}
	}
	return 0, false
}

// Reason says how an observation came about. It is both a field of the observation and a metric label, a
// closed set in any case.
type Reason string

// The reasons of the wire contract.
const (
	OK         Reason = "ok"
	Missing    Reason = "missing"
	Timeout    Reason = "timeout"
	RedisError Reason = "redis_error"
	ParseError Reason = "parse_error"
)

// Reasons are all reasons, in the order of the contract.
var Reasons = [...]Reason{OK, Missing, Timeout, RedisError, ParseError}

// ParseReason is the reason with this name in the wire contract.
func ParseReason(name string) (reason Reason, ok bool) { return parseReason(name) }

func parseReason[S string | []byte](name S) (Reason, bool) {
	for _, known := range Reasons {
		if string(name) == string(known) {
			return known, true
		}
	}
	return "", false
}
