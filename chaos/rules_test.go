package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// judgeReasons: the reasons are those of the contract, and the workers' own counters do not claim more than there is.
func (r *run) judgeReasons(v *verdict) {
	sum := v.rule("ok + missing + timeout + redis_error + parse_error = observations")
	n := map[string]int{}
	for _, o := range v.all {
		n[o.reason]++
	}
	total := 0
	var parts []string
	for _, reason := range []string{"ok", "missing", "timeout", "redis_error", "parse_error"} {
		total += n[reason]
		parts = append(parts, fmt.Sprintf("%s %d", reason, n[reason]))
	}
	sum.checked = len(v.all)
	if total != len(v.all) {
		sum.fail("%d observations, of which %d have a reason of the contract: %v", len(v.all), total, n)
	}
	sum.note = strings.Join(parts, ", ")

	// A killed worker takes its last counts with it and a lost reply is counted as unknown, so the counters may say less
	// than the stream holds. They never say more, unless Redis forgot what they counted.
	counted := v.rule("metrics count no observation that was not written")
	counted.checked = len(v.all)
	written := r.fleet.sum("p28_observed_total{")
	if written > float64(len(v.all)) && len(r.losses) == 0 {
		counted.fail("the workers counted %.0f observations and the stream holds %d", written, len(v.all))
	}
	for _, p := range r.fleet.running() { // at rest: a scrape is no snapshot
		if observed, reasons := p.sum("p28_observed_total{"), p.sum("p28_heat_reason_total{"); observed != reasons {
			counted.fail("worker %s: p28_observed_total is %.0f and p28_heat_reason_total %.0f", p.Name, observed, reasons)
		}
	}
	counted.note = fmt.Sprintf("counted %.0f, in the stream %d, replies lost %.0f", written, len(v.all),
		r.fleet.sum("commits_total{", `"unknown"`))
}

// judgeCalm: while nothing is harmed the counters rise by exactly what is written.
func (r *run) judgeCalm(v *verdict) {
	exact := v.rule("with no fault in sight metrics and Redis agree exactly")
	before, after := r.calm[0], r.calm[1]
	if after.at.IsZero() {
		exact.fail("there was no such time")
		return
	}
	observed, dead := after.observations-before.observations, after.deadLetter-before.deadLetter
	exact.checked = int(observed + dead)
	if n := after.plans - before.plans; exact.checked != len(points)*n {
		exact.fail("%d plans have %d observations and %d dead letters, %d are due", n, observed, dead, len(points)*n)
	}
	if n := after.observed - before.observed; n != float64(observed) {
		exact.fail("the workers counted %.0f observations, Redis got %d", n, observed)
	}
	if n := after.reasons - before.reasons; n != float64(observed) {
		exact.fail("the workers counted %.0f reasons, Redis got %d observations", n, observed)
	}
	if n := after.dead - before.dead; n != float64(dead) {
		exact.fail("the workers counted %.0f dead letters, Redis got %d", n, dead)
	}
	exact.note = fmt.Sprintf("%d plans, %d observations, %d dead letters", after.plans-before.plans, observed, dead)
}

// judgeWaits: no late wait was longer than allowed while Redis was healthy, and wait_ms tells the truth.
func (r *run) judgeWaits(v *verdict) {
	v.waits = v.rule("no wait longer than max wait plus one poll interval while Redis was healthy")
	honest := v.rule("wait_ms and after_deadline are true")
	longest, excused, boundless := time.Duration(0), 0, 0
	for _, o := range v.all {
		from := o.source.Time()
		extra := r.windows.excuse(from, o.id.Time())
		if extra < forever {
			honest.checked++
			// What is between the look and the write is the commit; entry IDs have whole milliseconds.
			if unsaid := o.id.Time().Sub(from) - o.wait; unsaid < -10*time.Millisecond || unsaid > time.Second+extra {
				honest.fail("plan %s at %s waited %v by its own account, and was written %v after it was published",
					o.plan, o.point, o.wait, o.id.Time().Sub(from))
			}
		}
		if o.point != pointLate {
			continue
		}
		if late := o.reason == "ok" && o.wait > maxWait; late != o.late {
			honest.fail("plan %s waited %v, reason %s, and after_deadline is %v", o.plan, o.wait, o.reason, o.late)
		}
		if extra > 0 {
			excused++
		}
		if extra == forever {
			boundless++
			continue
		}
		v.waits.checked++
		if extra == 0 {
			longest = max(longest, o.wait)
		}
		if o.wait > maxWait+poll+extra {
			v.waits.fail("plan %s, entry %s, waited %v (reason %s), allowed are %v", o.plan, o.source, o.wait, o.reason, maxWait+poll+extra)
		}
	}
	if least := int(r.plan.healthy * float64(v.waits.checked+boundless)); v.waits.checked < least {
		v.invalid = append(v.invalid, fmt.Sprintf("only %d waits fell into a time without a fault or a stall, at least %d are asked for", v.waits.checked, least))
	}
	v.waits.note = fmt.Sprintf("the longest in healthy time was %v; %d plans waited across a fault; machine or Redis stalled for %v", longest,
		excused, r.windows.stalled.Round(time.Millisecond))
}

// judgeEnd: nothing is left, and the workers do not grow.
func (r *run) judgeEnd(v *verdict) {
	rest := v.rule("pending is empty at the end, and nothing is unread")
	rest.checked = len(groups)
	if !settled(r.control) {
		rest.fail("%d entries are pending, or some are unread", len(r.pending("")))
	}
	bounded := v.rule("memory, goroutines and connections are bounded")
	before, after := r.usage[0], r.usage[1]
	bounded.checked = 3
	// A worker has a pool of 24 connections, one for announcements and one for nudges in each of four subscriptions, and the
	// proxy may not have seen the end of some yet.
	if after.goroutines > before.goroutines+40 {
		bounded.fail("a worker has %.0f goroutines at rest, it began with %.0f", after.goroutines, before.goroutines)
	}
	if after.connections > 40 {
		bounded.fail("a worker has %.0f connections", after.connections)
	}
	most := 256.0 * (1 << 20)
	if raceEnabled {
		most *= 4
	}
	if after.memory > most {
		bounded.fail("a worker uses %.0f MB", after.memory/(1<<20))
	}
	bounded.note = fmt.Sprintf("most of any worker at rest, before and after: %.0f and %.0f MB, %.0f and %.0f goroutines, %.0f and %.0f connections",
		before.memory/(1<<20), after.memory/(1<<20), before.goroutines, after.goroutines, before.connections, after.connections)
}

// judgeRun says whether the faults bit.
func (r *run) judgeRun(v *verdict) {
	invalid := func(format string, args ...any) { v.invalid = append(v.invalid, fmt.Sprintf(format, args...)) }
	for _, f := range r.plan.faults {
		if n := r.happened[f.name]; n < r.plan.least {
			invalid("%q happened %d times, at least %d are asked for", f.name, n, r.plan.least)
		}
	}
	for name, n := range r.bites() {
		if n == 0 {
			invalid("there were no %s", name)
		}
	}
	const bucket = 5 * time.Second
	flowed := make([]int, r.ended.Sub(r.began)/bucket)
	for _, e := range r.load.acknowledged() {
		if i := int(e.id.Time().Sub(r.began) / bucket); i >= 0 && i < len(flowed) {
			flowed[i]++
		}
	}
	for i, n := range flowed {
		from := r.began.Add(time.Duration(i) * bucket)
		if n == 0 && !r.away(from, from.Add(bucket)) {
			invalid("no plan was written from second %d to %d, and Redis was up", i*5, i*5+5)
		}
	}
}

// bites are the events without which a run proves nothing.
func (r *run) bites() map[string]float64 {
	return map[string]float64{
		"fenced commits":        r.fleet.sum("commits_total{", `"fenced"`),
		"claims":                r.fleet.sum("entries_read_total{", `"taken_over"`),
		"duplicates held back":  r.fleet.sum("commits_total{", `"duplicate"`),
		"lost replies":          r.fleet.sum("commits_total{", `"unknown"`),
		"heals":                 r.fleet.sum("group_heals_total{"),
		"replies that we lost":  float64(r.proxy.Dropped()),
		"plans that we trimmed": float64(len(r.trims)),
	}
}

// away reports whether Redis was down at some time in an interval.
func (r *run) away(from, to time.Time) bool {
	for _, o := range r.outages {
		if o.from.Before(to) && from.Before(o.to) {
			return true
		}
	}
	return false
}

// print writes the table of invariants.
func (v *verdict) print(w io.Writer, r *run) {
	const evidence = 10
	fmt.Fprintf(w, "\nseed %d, %v, %.0f plans/s: %d plans acknowledged, %d observations, %d dead letters\n", r.plan.seed,
		r.ended.Sub(r.began).Round(time.Second), r.plan.rate, len(r.load.acknowledged()), len(v.all), len(v.dead))
	faults := 0
	for _, f := range r.plan.faults {
		faults += r.happened[f.name]
		fmt.Fprintf(w, "  %3d × %s\n", r.happened[f.name], f.name)
	}
	fmt.Fprintf(w, "  %d faults in all; %s\n\n", faults, counts(r.bites()))
	for _, rule := range v.rules {
		state := "held"
		if len(rule.wrong) > 0 {
			state = fmt.Sprintf("VIOLATED %d times", len(rule.wrong))
		}
		fmt.Fprintf(w, "  %-82s %8d checked  %s\n", rule.name, rule.checked, state)
		if rule.note != "" {
			fmt.Fprintf(w, "      %s\n", rule.note)
		}
		for i, line := range rule.wrong {
			if i == evidence {
				fmt.Fprintf(w, "      … and %d more\n", len(rule.wrong)-evidence)
				break
			}
			fmt.Fprintf(w, "      %s\n", line)
		}
	}
	for _, why := range v.invalid {
		fmt.Fprintf(w, "  the run proves nothing: %s\n", why)
	}
	switch {
	case v.violated():
		fmt.Fprintln(w, "\n  INVARIANTS VIOLATED")
	case len(v.invalid) == 0:
		fmt.Fprintln(w, "\n  all invariants held")
	}
}

func (v *verdict) violated() bool {
	for _, rule := range v.rules {
		if len(rule.wrong) > 0 {
			return true
		}
	}
	return false
}

// counts lists counters by name.
func counts(m map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %.0f", name, m[name]))
	}
	return strings.Join(parts, ", ")
}
