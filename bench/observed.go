package main

import (
	"fmt"
	"strconv"

	"heatobserver/entry"
	"heatobserver/event"
)

// expectation is what a run must have written.
type expectation struct {
	plans   int
	points  []string
	ordered bool // the fields stand in the order of the contract; the stock transport writes them in any
}

// observations are what a run wrote.
type observations struct {
	total       int
	first, last entry.ID
	seen        map[string][]uint8 // by point: how often each plan was observed
	faults      map[string]int
	order       []string
}

func (o *observations) fault(what string) {
	if o.faults == nil {
		o.faults = map[string]int{}
	}
	if o.faults[what]++; o.faults[what] == 1 {
		o.order = append(o.order, what)
	}
}

// invalid are the faults in words.
func (o *observations) invalid() []string {
	var all []string
	for _, what := range o.order {
		if n := o.faults[what]; n > 1 {
			what += fmt.Sprintf(" (%d times)", n)
		}
		all = append(all, what)
	}
	return all
}

// entryOf takes an entry of a reply apart.
func entryOf(item any) (id string, fields []any, ok bool) {
	parts, _ := item.([]any)
	if len(parts) != 2 {
		return "", nil, false
	}
	id, _ = parts[0].(string)
	fields, ok = parts[1].([]any)
	return id, fields, ok
}

// take judges one observation.
func (d *dataset) take(o *observations, text string, fields []any, ordered bool) {
	id, err := entry.ParseID(text)
	if err != nil {
		o.fault("an entry ID that is none")
		return
	}
	if o.total++; o.total == 1 {
		o.first = id
	}
	o.last = id
	values := make(map[string]string, len(event.ObservationFields))
	for i := 0; i+1 < len(fields); i += 2 {
		name, _ := fields[i].(string)
		if ordered && (i/2 >= len(event.ObservationFields) || name != event.ObservationFields[i/2]) {
			o.fault("fields out of order")
			return
		}
		values[name], _ = fields[i+1].(string)
	}
	for _, name := range event.ObservationFields {
		if _, ok := values[name]; !ok || len(values) != len(event.ObservationFields) {
			o.fault("not the fields of the contract")
			return
		}
	}
	plan, known := d.index[values["plan_id"]]
	seen, wanted := o.seen[values["obs_point"]]
	if !known || !wanted {
		o.fault("an observation of no plan, or of another point")
		return
	}
	if seen[plan]++; seen[plan] > 1 {
		o.fault("a plan observed twice at one point")
	}
	reason, level := event.Missing, ""
	if d.hasHeat(plan) {
		reason, level = event.OK, "hot"
	}
	found := strconv.Itoa(map[bool]int{true: 1}[d.hasHeat(plan)])
	if values["heat_found"] != found || values["heat_reason"] != string(reason) || values["heat_level"] != level {
		o.fault("an observation that is not what the heat was")
		return
	}
	if o.total%100 == 1 { // taking apart what stands in debug_json too costs as much as the run itself
		pairs := make([]string, 0, 2*len(event.ObservationFields))
		for _, name := range event.ObservationFields {
			pairs = append(pairs, name, values[name])
		}
		if _, err := event.DecodeObservation(entry.Make(pairs...)); err != nil {
			o.fault(err.Error())
		}
	}
}
