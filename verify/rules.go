package verify

import "strings"

// rules are the seven production-safety rules of the contract, each with the worst verdict of the checks that prove it.
func rules(checks []Check) []Check {
	byName := map[string]Check{}
	for _, c := range checks {
		byName[c.Name] = c
	}
	of := func(name string, parts ...string) Check {
		worst, seen := Pass, []string(nil)
		for _, part := range parts {
			c := byName[part]
			if c.Verdict == Skip {
				continue
			}
			if worse(c.Verdict, worst) {
				worst, seen = c.Verdict, nil
			}
			if c.Verdict == worst {
				seen = append(seen, part)
			}
		}
		return Check{Name: name, Verdict: worst, Seen: "checks at " + string(worst) + ": " + strings.Join(seen, ", "), Hint: "see there"}
	}
	return []Check{
		of("rule 1: prefix consistency", "lookup prefix"),
		of("rule 2: backpressure", "late group", "retention"),
		of("rule 3: stop conditions", "late waits"),
		of("rule 4: cardinality", "metrics"),
		of("rule 5: verification that never lies", "observations", "observing now", "python observer"),
		of("rule 6: fail-open", "read only"),
		of("rule 7: golden verification", "golden chain"),
	}
}
