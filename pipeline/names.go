package pipeline

import "github.com/redis/go-redis/v9"

// The names of the wire contract, for settings that are left empty.
const (
	PlanStream     = "quantum:stream:apply.plan"
	DecisionStream = "quantum:stream:harvest.heat.decision"
	LookupPrefix   = "quantum:harvest:heat:by_plan:"
	GateGroup      = "heat_gate"
	BridgeGroup    = "heat_bridge"
)

// standIn is the value of the field source in every plan that Planner and Load write, and the name under which the
// stand-ins read. By it Foreign tells our entries and groups from those of production.
const standIn = "stand_in"

// defaultMaxLen is the length to which the streams are trimmed, approximately.
const defaultMaxLen = 10_000

// Client is what the stand-ins speak to Redis through: one server, a primary that sentinels name, or a cluster.
type Client = redis.UniversalClient
