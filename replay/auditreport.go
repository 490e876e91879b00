package replay

import (
	"cmp"
	"maps"
	"slices"
)

// AuditReport is an Audit as it is shown and written as JSON; the same history gives the same bytes.
type AuditReport struct {
	Plans      int64       `json:"plans"`
	Malformed  int64       `json:"malformed_plans"`
	Recorded   int64       `json:"observations"`
	Agree      int64       `json:"agree"`
	Within     int64       `json:"disagree_within_tolerance"`
	Disagree   int64       `json:"disagree"`
	Missing    int64       `json:"missing"`
	Doubled    int64       `json:"doubled"`
	Held       int64       `json:"held_back_by_dedupe"`
	Undecided  int64       `json:"undecided"`
	Unprovable int64       `json:"unprovable"`
	Unjudged   int64       `json:"plans_before_recording"`
	Foreign    int64       `json:"observations_of_others"`
	Overdue    int64       `json:"observations_after_grace"`
	Unmatched  int64       `json:"observations_without_plan"`
	BadRecords int64       `json:"malformed_observations"`
	Matrix     []MatrixRow `json:"matrix"`
	Findings   []Finding   `json:"findings"`
	NotListed  int64       `json:"findings_not_listed"`
}

// MatrixRow is how often a recorded reason met an expected one.
type MatrixRow struct {
	Point    string `json:"obs_point"`
	Recorded string `json:"recorded"`
	Expected string `json:"expected"`
	Count    int64  `json:"count"`
}

// Report makes the report of an audit.
func (a *Audit) Report() AuditReport {
	r := AuditReport{
		Plans: a.Plans, Malformed: a.Malformed, Recorded: a.Recorded, Agree: a.Agree, Within: a.Within, Disagree: a.Disagree,
		Missing: a.Missing, Doubled: a.Doubled, Held: a.Held, Undecided: a.Undecided, Unprovable: a.Unprovable, Unjudged: a.Unjudged,
		Foreign: a.Foreign, Overdue: a.Overdue, Unmatched: a.Unmatched, BadRecords: a.BadRecords, Matrix: []MatrixRow{}, Findings: a.Findings,
	}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	r.NotListed = a.Missing + a.Doubled + a.Disagree + a.Within - int64(len(a.Findings))
	for _, key := range slices.SortedFunc(maps.Keys(a.Matrix), func(a, b [3]string) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]), cmp.Compare(a[2], b[2]))
	}) {
		r.Matrix = append(r.Matrix, MatrixRow{Point: key[0], Recorded: key[1], Expected: key[2], Count: a.Matrix[key]})
	}
	return r
}
