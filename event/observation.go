package event

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"heatobserver/entry"
)

// component is the value of apply_component: every observation is made for the apply layer.
const component = "apply"

// ObservationFields are the names of an observation's fields, in the order of the contract. Operators'
// one-liners rely on obs_point standing before heat_found.
var ObservationFields = [...]string{
	"ts_epoch", "plan_id", "symbol", "apply_component", "obs_point", "heat_found", "heat_ts_epoch",
	"heat_level", "heat_score", "heat_action", "heat_out_action", "heat_recommended_partial",
	"heat_reason", "apply_decision", "debug_json",
}

// Observation is one entry of the observed stream: what was seen of one plan's heat at one observation point.
type Observation struct {
	TsEpoch  int64 // when it was made, in whole seconds of the Redis server's clock
	PlanID   string
	Symbol   string
	Point    Point
	Reason   Reason
	Heat     Heat // the zero Heat unless Found; InAction and Mode stand in debug_json alone
	Decision string

	// What follows stands in debug_json alone. Observations of the Python observer have none of it.
	Error         string   // the cause of RedisError and ParseError
	SourceID      entry.ID // of the plan's entry; zero when an observation is not ours
	WaitMs        int64    // from the publish time to the look that decided
	Noticed       Noticed
	AfterDeadline bool
}

// Found is the value of heat_found.
func (o *Observation) Found() bool { return o.Reason == OK }

// UUID identifies the observation among all: see ObservationUUID.
func (o *Observation) UUID() string { return ObservationUUID(o.Point, o.PlanID) }

// ObservationUUID is "<obs_point>:<plan_id>": one observation carries it within the dedupe TTL. The dedupe key
// is the dedupe prefix followed by it.
func ObservationUUID(point Point, planID string) string { return point.String() + ":" + planID }

// Observe is the observation that follows from the end of a wait, made at now (the server's time).
func Observe(plan Plan, point Point, v Verdict, now time.Time) Observation {
	o := Observation{
		TsEpoch:       now.Unix(),
		PlanID:        plan.PlanID,
		Symbol:        plan.Symbol,
		Point:         point,
		Reason:        v.Reason,
		Decision:      plan.Decision,
		SourceID:      plan.ID,
		WaitMs:        v.Waited.Milliseconds(),
		Noticed:       v.Noticed,
		AfterDeadline: v.AfterDeadline,
	}
	switch v.Reason {
	case OK:
		o.Heat = v.Heat
	case RedisError, ParseError:
		o.Error = errorText(v.Err)
	}
	return o
}

// AppendFields appends the 15 fields, with debug_json shortened to maxDebug characters (at least
// MinDebugChars).
func (o *Observation) AppendFields(dst []byte, maxDebug int) entry.Fields {
	var scratch [512]byte
	found := "0"
	if o.Found() {
		found = "1"
	}
	dst = entry.AppendHeader(dst, len(ObservationFields))
	dst = appendPair(dst, "ts_epoch", strconv.AppendInt(scratch[:0], o.TsEpoch, 10))
	dst = appendPair(dst, "plan_id", o.PlanID)
	dst = appendPair(dst, "symbol", o.Symbol)
	dst = appendPair(dst, "apply_component", component)
	dst = appendPair(dst, "obs_point", o.Point.String())
	dst = appendPair(dst, "heat_found", found)
	dst = appendPair(dst, "heat_ts_epoch", o.Heat.TsEpoch)
	dst = appendPair(dst, "heat_level", o.Heat.Level)
	dst = appendPair(dst, "heat_score", o.Heat.Score)
	dst = appendPair(dst, "heat_action", o.Heat.Action)
	dst = appendPair(dst, "heat_out_action", o.Heat.OutAction)
	dst = appendPair(dst, "heat_recommended_partial", o.Heat.RecommendedPartial)
	dst = appendPair(dst, "heat_reason", string(o.Reason))
	dst = appendPair(dst, "apply_decision", o.Decision)
	return appendPair(dst, "debug_json", o.appendDebug(scratch[:0], maxDebug))
}

func appendPair[S string | []byte](dst []byte, name string, value S) []byte {
	return entry.AppendString(entry.AppendString(dst, name), value)
}

// DecodeObservation reads an entry of the observed stream, ours or the Python observer's. It fails on broken
// fields, without a plan_id, and where ts_epoch, obs_point, heat_found or heat_reason is not as contracted. A
// debug_json that cannot be read (the Python observer's are cut in the middle) leaves empty what stands in it
// alone.
func DecodeObservation(fields entry.Fields) (Observation, error) {
	if err := fields.Check(); err != nil {
		return Observation{}, fmt.Errorf("decode observation: %w", err)
	}
	var o Observation
	var ts, point, found, reason, debug string
	for name, value := range fields.All() {
		p := &o.PlanID
		switch string(name) {
		case "ts_epoch":
			p = &ts
		case "plan_id":
		case "symbol":
			p = &o.Symbol
		case "obs_point":
			p = &point
		case "heat_found":
			p = &found
		case "heat_ts_epoch":
			p = &o.Heat.TsEpoch
		case "heat_level":
			p = &o.Heat.Level
		case "heat_score":
			p = &o.Heat.Score
		case "heat_action":
			p = &o.Heat.Action
		case "heat_out_action":
			p = &o.Heat.OutAction
		case "heat_recommended_partial":
			p = &o.Heat.RecommendedPartial
		case "heat_reason":
			p = &reason
		case "apply_decision":
			p = &o.Decision
		case "debug_json":
			p = &debug
		default:
			continue
		}
		*p = string(value)
	}
	if o.PlanID == "" {
		return Observation{}, errors.New("decode observation: no plan_id")
	}
	var err error
	if o.TsEpoch, err = strconv.ParseInt(ts, 10, 64); err != nil {
		return Observation{}, fmt.Errorf("decode observation of plan %s: ts_epoch is not in whole seconds: %s", quote(o.PlanID), quote(ts))
	}
	var ok bool
	if o.Point, ok = ParsePoint(point); !ok {
		return Observation{}, fmt.Errorf("decode observation of plan %s: unknown obs_point: %s", quote(o.PlanID), quote(point))
	}
	if o.Reason, ok = ParseReason(reason); !ok {
		return Observation{}, fmt.Errorf("decode observation of plan %s: unknown heat_reason: %s", quote(o.PlanID), quote(reason))
	}
	if want := o.Found(); found != "0" && found != "1" || (found == "1") != want {
		return Observation{}, fmt.Errorf("decode observation of plan %s: heat_found is %s where heat_reason is %s", quote(o.PlanID), quote(found), o.Reason)
	}
	o.readDebug(debug)
	return o, nil
}

// PeekObservation reads no more of an observation than what it is counted by, and allocates nothing. ok is
// false when either value is not as contracted.
func PeekObservation(fields entry.Fields) (point Point, reason Reason, ok bool) {
	var hasPoint, hasReason bool
	for name, value := range fields.All() {
		switch string(name) {
		case "obs_point":
			point, hasPoint = parsePoint(value)
		case "heat_reason":
			reason, hasReason = parseReason(value)
		}
	}
	if !hasPoint || !hasReason {
		return 0, "", false
	}
	return point, reason, true
}

// PeekAfterDeadline reports whether an observation as AppendFields writes it is marked after_deadline, and allocates nothing.
func PeekAfterDeadline(fields entry.Fields) bool {
	for name, value := range fields.All() {
		if string(name) == "debug_json" {
			return bytes.HasSuffix(value, []byte(afterDeadline))
		}
	}
	return false
}
