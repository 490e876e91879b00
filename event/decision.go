package event

import (
	"fmt"

	"heatobserver/entry"
)

// Decision is one entry of the heat gate's history, from which the state of every by_plan hash at any past
// moment can be rebuilt. All values are kept as they were written.
type Decision struct {
	ID                 entry.ID // when the gate decided, by the Redis server's clock
	TsEpoch            string
	Symbol             string
	PlanID             string
	InAction           string
	OutAction          string
	Action             string
	HeatLevel          string
	HeatScore          string
	HeatAction         string
	RecommendedPartial string
	Reason             string
	InputsAgeSec       string
	Mode               string
	DebugJSON          string
}

// DecisionFields are the names of a decision's fields, in the order in which the gate writes them.
var DecisionFields = [...]string{
	"ts_epoch", "symbol", "plan_id", "in_action", "out_action", "action", "heat_level", "heat_score",
	"heat_action", "recommended_partial", "reason", "inputs_age_sec", "mode", "debug_json",
}

// HashFields are the names of the fields that the heat bridge copies from a decision into the by_plan hash.
var HashFields = [...]string{
	"ts_epoch", "symbol", "plan_id", "in_action", "out_action", "heat_level", "heat_score",
	"heat_action", "recommended_partial", "reason", "mode", "debug_json",
}

// DecodeDecision reads an entry of the decision stream. Fields may come in any order, the last of a name
// counts, unknown ones are ignored and absent ones are empty. It fails without a plan_id that may be copied,
// on more than MaxPlanBytes and on broken fields. What else the bridge would copy is judged by Heat.
func DecodeDecision(id entry.ID, fields entry.Fields) (Decision, error) {
	if len(fields) > MaxPlanBytes {
		return Decision{}, fmt.Errorf("decode decision %s: %d bytes, at most %d are read", id, len(fields), MaxPlanBytes)
	}
	if err := fields.Check(); err != nil {
		return Decision{}, fmt.Errorf("decode decision %s: %w", id, err)
	}
	d := Decision{ID: id}
	for name, value := range fields.All() {
		if p := d.field(string(name)); p != nil {
			*p = string(value)
		}
	}
	if d.PlanID == "" {
		return Decision{}, fmt.Errorf("decode decision %s: no plan_id", id)
	}
	if fault := textFault(d.PlanID, maxPlanText); fault != "" {
		return Decision{}, fmt.Errorf("decode decision %s: plan_id %s: %s", id, fault, quote(d.PlanID))
	}
	return d, nil
}

// PeekDecision reads of a decision what a lookup finds once the bridge has written it, and copies nothing else: the same
// plan, heat and errors as DecodeDecision and Heat give for well-formed fields, at a fraction of the cost. planID is a part
// of fields; malformed is the error of Heat.
func PeekDecision(id entry.ID, fields entry.Fields) (planID []byte, heat PackedHeat, malformed, err error) {
	if len(fields) > MaxPlanBytes {
		return nil, PackedHeat{}, nil, fmt.Errorf("decode decision %s: %d bytes, at most %d are read", id, len(fields), MaxPlanBytes)
	}
	var values [len(HeatFields)][]byte
	seen := 0
	for name, value := range fields.All() {
		seen++
		if string(name) == "plan_id" {
			planID = value
		} else if i := heatField(name); i >= 0 {
			values[i] = value
		}
	}
	if seen == 0 || seen != fields.Len() {
		if err := fields.Check(); err != nil {
			return nil, PackedHeat{}, nil, fmt.Errorf("decode decision %s: %w", id, err)
		}
	}
	if len(planID) == 0 {
		return nil, PackedHeat{}, nil, fmt.Errorf("decode decision %s: no plan_id", id)
	}
	if fault := textFault(string(planID), maxPlanText); fault != "" {
		return nil, PackedHeat{}, nil, fmt.Errorf("decode decision %s: plan_id %s: %s", id, fault, quote(string(planID)))
	}
	heat = packHeat(values)
	unpacked := heat.Heat()
	if err := unpacked.check(); err != nil {
		return planID, PackedHeat{}, err, nil
	}
	return planID, heat, nil, nil
}

// heatField is the place of a name in HeatFields, -1 for any other.
func heatField(name []byte) int {
	switch string(name) {
	case "ts_epoch":
		return 0
	case "heat_level":
		return 1
	case "heat_score":
		return 2
	case "heat_action":
		return 3
	case "in_action":
		return 4
	case "out_action":
		return 5
	case "recommended_partial":
		return 6
	case "mode":
		return 7
	}
	return -1
}

// Fields are the 14 fields as the gate writes them.
func (d *Decision) Fields() entry.Fields {
	f := entry.AppendHeader(make([]byte, 0, 512), len(DecisionFields))
	for _, name := range DecisionFields {
		f = entry.AppendString(f, name)
		f = entry.AppendString(f, *d.field(name))
	}
	return f
}

// Pairs are the 14 names and values in turn.
func (d *Decision) Pairs() []string { return d.pairs(DecisionFields[:]) }

// HashPairs are the names and values, in turn, that the bridge writes into the by_plan hash.
func (d *Decision) HashPairs() []string { return d.pairs(HashFields[:]) }

func (d *Decision) pairs(names []string) []string {
	out := make([]string, 0, 2*len(names))
	for _, name := range names {
		out = append(out, name, *d.field(name))
	}
	return out
}

// Heat is what a lookup finds once the bridge has written this decision, with the error of DecodeHeat.
func (d *Decision) Heat() (Heat, error) {
	return DecodeHeat(func(yield func(name, value string) bool) {
		for _, name := range HashFields {
			if !yield(name, *d.field(name)) {
				return
			}
		}
	})
}

// field is where the value of a field is kept, nil for an unknown one.
func (d *Decision) field(name string) *string {
	switch name {
	case "ts_epoch":
		return &d.TsEpoch
	case "symbol":
		return &d.Symbol
	case "plan_id":
		return &d.PlanID
	case "in_action":
		return &d.InAction
	case "out_action":
		return &d.OutAction
	case "action":
		return &d.Action
	case "heat_level":
		return &d.HeatLevel
	case "heat_score":
		return &d.HeatScore
	case "heat_action":
		return &d.HeatAction
	case "recommended_partial":
		return &d.RecommendedPartial
	case "reason":
		return &d.Reason
	case "inputs_age_sec":
		return &d.InputsAgeSec
	case "mode":
		return &d.Mode
	case "debug_json":
		return &d.DebugJSON
	}
	return nil
}
