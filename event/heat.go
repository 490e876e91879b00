package event

import (
	"fmt"
	"iter"
)

// maxHeatText bounds each value of a hash that an observation copies, in bytes. The contract gives no length;
// the longest value that is written today has 21, and an observation must stay small.
const maxHeatText = 1024

// Heat is what the heat bridge wrote about a plan: the fields of the hash <prefix><plan_id> that an
// observation copies, as strings and unchanged.
type Heat struct {
	TsEpoch            string // seconds
	Level              string
	Score              string // 0 to 1
	Action             string
	InAction           string
	OutAction          string
	RecommendedPartial string // may be empty
	Mode               string
}

// HeatFields are the names of the fields that DecodeHeat reads, for a lookup that asks for no others.
var HeatFields = [...]string{
	"ts_epoch", "heat_level", "heat_score", "heat_action",
	"in_action", "out_action", "recommended_partial", "mode",
}

// DecodeHeat reads the fields of a by_plan hash in any order; unknown ones are ignored. It fails as the wire
// contract has it for parse_error: heat_score or ts_epoch is neither empty nor a finite decimal number, or a
// value that an observation copies is not UTF-8, has control characters, is longer than 1 KiB or equals (in
// any case) a name on which the operators' one-liner acts. Errors name the field and cut the value.
func DecodeHeat(fields iter.Seq2[string, string]) (Heat, error) {
	var h Heat
	for name, value := range fields {
		if p := h.field(name); p != nil {
			*p = value
		}
	}
	if err := h.check(); err != nil {
		return Heat{}, err
	}
	return h, nil
}

// check is the part of DecodeHeat that judges the values.
func (h *Heat) check() error {
	for name, value := range h.All() {
		if fault := textFault(value, maxHeatText); fault != "" {
			return fmt.Errorf("decode heat: %s %s: %s", name, fault, quote(value))
		}
	}
	for _, number := range [...]struct{ name, value string }{{"heat_score", h.Score}, {"ts_epoch", h.TsEpoch}} {
		if number.value != "" && !isDecimal(number.value) {
			return fmt.Errorf("decode heat: %s is not a finite decimal number: %s", number.name, quote(number.value))
		}
	}
	return nil
}

// All yields name and value in the order of HeatFields.
func (h *Heat) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, name := range HeatFields {
			if !yield(name, *h.field(name)) {
				return
			}
		}
	}
}

// field is where the value of a field of the hash is kept, nil for one that is not.
func (h *Heat) field(name string) *string {
	switch name {
	case "ts_epoch":
		return &h.TsEpoch
	case "heat_level":
		return &h.Level
	case "heat_score":
		return &h.Score
	case "heat_action":
		return &h.Action
	case "in_action":
		return &h.InAction
	case "out_action":
		return &h.OutAction
	case "recommended_partial":
		return &h.RecommendedPartial
	case "mode":
		return &h.Mode
	}
	return nil
}

// PackedHeat is a Heat in little room, for who keeps very many: one string, and where in it each value of HeatFields ends.
type PackedHeat struct {
	text string
	ends [len(HeatFields)]uint32
}

func packHeat(values [len(HeatFields)][]byte) (p PackedHeat) {
	var room [256]byte
	all := room[:0]
	for i, v := range values {
		all = append(all, v...)
		p.ends[i] = uint32(len(all))
	}
	p.text = string(all)
	return p
}

// Heat is what was packed.
func (p *PackedHeat) Heat() Heat {
	value := func(i int) string { return p.text[p.ends[i-1]:p.ends[i]] }
	return Heat{
		TsEpoch: p.text[:p.ends[0]], Level: value(1), Score: value(2), Action: value(3),
		InAction: value(4), OutAction: value(5), RecommendedPartial: value(6), Mode: value(7),
	}
}
