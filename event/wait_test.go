package event_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"heatobserver/event"
)

var (
	published = time.UnixMilli(1_700_000_000_000)
	rules     = event.Rules{MaxWait: 2 * time.Second, Poll: 100 * time.Millisecond, MaxErrors: 2}
	errLook   = errors.New("connection refused")
)

// at is a look that is answered ms milliseconds after the publish time.
func at(ms int, kind event.LookKind) event.Look {
	look := event.Look{At: published.Add(time.Duration(ms) * time.Millisecond), Kind: kind}
	switch kind {
	case event.Found:
		look.Heat = event.Heat{Level: "hot"}
	case event.Failed, event.Malformed:
		look.Err = errLook
	}
	return look
}

// spanning is a look that was sent at one moment and answered at another.
func spanning(began, answered int, kind event.LookKind) event.Look {
	look := at(answered, kind)
	look.Began = published.Add(time.Duration(began) * time.Millisecond)
	return look
}

func TestWait(t *testing.T) {
	const absent, found, malformed, failed = event.Absent, event.Found, event.Malformed, event.Failed
	tests := []struct {
		name  string
		point event.Point
		looks []event.Look // only the last of them may end the wait
		want  event.Reason // "" when it has not ended
		after bool
	}{
		{name: "early, there", point: event.Early, looks: []event.Look{at(3, found)}, want: event.OK},
		{name: "early, there but read an hour late", point: event.Early, looks: []event.Look{at(3_600_000, found)}, want: event.OK},
		{name: "early, not there", point: event.Early, looks: []event.Look{at(3, absent)}, want: event.Missing},
		{name: "early, not there, by a clock that lies behind", point: event.Early, looks: []event.Look{at(-5, absent)}, want: event.Missing},
		{name: "early, malformed at once", point: event.Early, looks: []event.Look{at(3, malformed)}, want: event.ParseError},
		{name: "early, malformed, by a clock that lies behind", point: event.Early, looks: []event.Look{at(-5, malformed)}, want: event.ParseError},
		{name: "early, one failure", point: event.Early, looks: []event.Look{at(3, failed)}},
		{name: "early, a failure and nothing there", point: event.Early, looks: []event.Look{at(3, failed), at(103, absent)}, want: event.Missing},
		{name: "early, a failure and there", point: event.Early, looks: []event.Look{at(3, failed), at(103, found)}, want: event.OK},
		{name: "early, two failures an interval apart", point: event.Early, looks: []event.Look{at(3, failed), at(103, failed)}, want: event.RedisError},
		{name: "early, two failures in a blip", point: event.Early, looks: []event.Look{at(3, failed), at(102, failed)}},

		{name: "late, there at once", point: event.Late, looks: []event.Look{at(3, found)}, want: event.OK},
		{name: "late, there in time", point: event.Late, looks: []event.Look{at(3, absent), at(104, found)}, want: event.OK},
		{name: "late, there at the deadline", point: event.Late, looks: []event.Look{at(3, absent), at(2000, found)}, want: event.OK},
		{name: "late, there after the deadline", point: event.Late, looks: []event.Look{at(3, absent), at(2001, found)}, want: event.OK, after: true},
		{name: "late, there, first look an hour late", point: event.Late, looks: []event.Look{at(3_600_000, found)}, want: event.OK, after: true},
		{name: "late, not yet", point: event.Late, looks: []event.Look{at(3, absent), at(1999, absent)}},
		{name: "late, not there at the deadline", point: event.Late, looks: []event.Look{at(1999, absent), at(2000, absent)}, want: event.Timeout},
		{name: "late, not there long after the deadline", point: event.Late, looks: []event.Look{at(3, absent), at(9000, absent)}, want: event.Timeout},
		{name: "late, first look at the deadline", point: event.Late, looks: []event.Look{at(2000, absent)}, want: event.Missing},
		{name: "late, first look after the deadline", point: event.Late, looks: []event.Look{at(60_000, absent)}, want: event.Missing},
		{name: "late, first look failed after the deadline", point: event.Late, looks: []event.Look{at(2500, failed), at(2600, absent)}, want: event.Missing},
		{name: "late, under way at the deadline", point: event.Late, looks: []event.Look{spanning(3, 5, absent), spanning(1990, 2040, absent)}},
		{name: "late, last look after one under way", point: event.Late, looks: []event.Look{spanning(3, 5, absent), spanning(1990, 2040, absent), spanning(2040, 2041, absent)}, want: event.Timeout},
		{name: "late, first look under way at the deadline", point: event.Late, looks: []event.Look{spanning(1990, 2040, absent), spanning(2040, 2041, absent)}, want: event.Timeout},

		{name: "late, two failures an interval apart", point: event.Late, looks: []event.Look{at(3, failed), at(103, failed)}, want: event.RedisError},
		{name: "late, a hundred failures in a blip", point: event.Late, looks: []event.Look{at(3, failed), at(4, failed), at(50, failed), at(102, failed)}},
		{name: "late, failures with an answer between", point: event.Late, looks: []event.Look{at(3, failed), at(50, absent), at(103, failed)}, want: event.RedisError},
		{name: "late, one failure at the deadline ends nothing", point: event.Late, looks: []event.Look{at(3, absent), at(2000, failed)}},
		{name: "late, failure at the deadline, then not there", point: event.Late, looks: []event.Look{at(3, absent), at(2000, failed), at(2100, absent)}, want: event.Timeout},
		{name: "late, failure at the deadline, then there", point: event.Late, looks: []event.Look{at(3, absent), at(2000, failed), at(2100, found)}, want: event.OK, after: true},

		{name: "late, malformed once", point: event.Late, looks: []event.Look{at(3, malformed)}},
		{name: "late, malformed for less than an interval", point: event.Late, looks: []event.Look{at(3, malformed), at(102, malformed)}},
		{name: "late, malformed for an interval", point: event.Late, looks: []event.Look{at(3, malformed), at(50, malformed), at(103, malformed)}, want: event.ParseError},
		{name: "late, malformed, then mended", point: event.Late, looks: []event.Look{at(3, malformed), at(5, found)}, want: event.OK},
		{name: "late, malformed, gone, malformed anew", point: event.Late, looks: []event.Look{at(3, malformed), at(50, absent), at(104, malformed)}},
		{name: "late, malformed with a failure between", point: event.Late, looks: []event.Look{at(3, malformed), at(50, failed), at(103, malformed)}, want: event.ParseError},
		{name: "late, malformed at the deadline", point: event.Late, looks: []event.Look{at(3, absent), at(2000, malformed)}, want: event.ParseError},
		{name: "late, malformed, under way at the deadline", point: event.Late, looks: []event.Look{at(3, absent), spanning(1990, 2010, malformed)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wait := event.NewWait(test.point, published, rules)
			for i, look := range test.looks {
				got, over := wait.Add(look, event.Sweep)
				last := i == len(test.looks)-1
				if over != (last && test.want != "") {
					t.Fatalf("look %d: over is %v, verdict %+v", i, over, got)
				}
				if !over {
					continue
				}
				want := event.Verdict{Reason: test.want, At: look.At, Waited: max(0, look.At.Sub(published)), Noticed: event.Sweep, AfterDeadline: test.after}
				if i == 0 {
					want.Noticed = event.AtOnce
				}
				switch test.want {
				case event.OK:
					want.Heat = look.Heat
				case event.ParseError, event.RedisError:
					want.Err = look.Err
				}
				if got != want {
					t.Errorf("got  %+v\nwant %+v", got, want)
				}
			}
		})
	}
}

func TestWaitMaxErrors(t *testing.T) {
	for maxErrors, want := range map[int]int{-1: 2, 0: 2, 1: 1, 3: 3} {
		r := rules
		r.MaxErrors = maxErrors
		wait := event.NewWait(event.Late, published, r)
		for n := 1; ; n++ {
			if _, over := wait.Add(at(n*100, event.Failed), event.Sweep); over {
				if n != want {
					t.Errorf("MaxErrors %d: over after %d failures, want %d", maxErrors, n, want)
				}
				break
			}
		}
	}
}

func TestDeadline(t *testing.T) {
	late, early := event.NewWait(event.Late, published, rules), event.NewWait(event.Early, published, rules)
	if got := late.Deadline(); !got.Equal(published.Add(rules.MaxWait)) {
		t.Errorf("late: %v", got)
	}
	if got := early.Deadline(); !got.Equal(published) {
		t.Errorf("early: %v", got)
	}
	if late.LastLook(at(1999, event.Absent)) || !late.LastLook(at(2000, event.Absent)) {
		t.Error("the last look is the first that is sent at the deadline or after it")
	}
}

func TestNext(t *testing.T) {
	const sweep = time.Second
	tests := []struct {
		name  string
		point event.Point
		looks []event.Look
		want  int // milliseconds after the publish time, -1 for at once
	}{
		{"before the first look", event.Late, nil, -1},
		{"a sweep after the last", event.Late, []event.Look{at(3, event.Absent)}, 1003},
		{"never beyond the deadline", event.Late, []event.Look{at(1500, event.Absent)}, 2000},
		{"one that was under way at the deadline", event.Late, []event.Look{spanning(1990, 2040, event.Absent)}, 2000},
		{"an interval after a failure", event.Late, []event.Look{at(3, event.Failed)}, 103},
		{"an interval after the failure that counted", event.Late, []event.Look{at(3, event.Failed), at(40, event.Failed)}, 103},
		{"an interval after a failure at the deadline", event.Late, []event.Look{at(3, event.Absent), at(2000, event.Failed)}, 2100},
		{"an interval after the first malformed", event.Late, []event.Look{at(3, event.Malformed), at(40, event.Malformed)}, 103},
		{"malformed shortly before the deadline", event.Late, []event.Look{at(1950, event.Malformed)}, 2000},
		{"early, an interval after a failure", event.Early, []event.Look{at(3, event.Failed)}, 103},
		{"early, the same by a clock that lies behind", event.Early, []event.Look{at(-30, event.Failed)}, 70},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wait := event.NewWait(test.point, published, rules)
			for _, look := range test.looks {
				if v, over := wait.Add(look, event.Sweep); over {
					t.Fatalf("over: %+v", v)
				}
			}
			got := wait.Next(sweep)
			if test.want < 0 {
				if !got.IsZero() {
					t.Errorf("got %v, want at once", got)
				}
			} else if want := published.Add(time.Duration(test.want) * time.Millisecond); !got.Equal(want) {
				t.Errorf("got %v after the publish time, want %v", got.Sub(published), want.Sub(published))
			}
		})
	}
}

// contract says again, slowly and from the whole history, with which reason the wait has ended at the last look.
func contract(point event.Point, r event.Rules, looks []event.Look) event.Reason {
	last := looks[len(looks)-1]
	deadline := published.Add(r.MaxWait)
	switch last.Kind {
	case event.Found:
		return event.OK
	case event.Failed:
		counted := 0
		var previous time.Time
		for _, look := range looks {
			if look.Kind == event.Failed && (counted == 0 || look.At.Sub(previous) >= r.Poll) {
				counted++
				previous = look.At
			}
		}
		if counted >= r.MaxErrors {
			return event.RedisError
		}
	case event.Malformed:
		if point == event.Early || !last.Began.Before(deadline) {
			return event.ParseError
		}
		for i := len(looks) - 1; i >= 0 && looks[i].Kind != event.Absent; i-- {
			if looks[i].Kind == event.Malformed && last.At.Sub(looks[i].At) >= r.Poll {
				return event.ParseError
			}
		}
	case event.Absent:
		switch {
		case point == event.Early, !looks[0].Began.Before(deadline):
			return event.Missing
		case !last.Began.Before(deadline):
			return event.Timeout
		}
	}
	return ""
}

// TestWaitAgainstContract compares the rules with their naive restatement, over any looks at any times.
func TestWaitAgainstContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		point := rapid.SampledFrom(event.Points[:]).Draw(t, "point")
		r := event.Rules{
			MaxWait:   time.Duration(rapid.IntRange(0, 500).Draw(t, "max wait")) * time.Millisecond,
			Poll:      time.Duration(rapid.IntRange(0, 120).Draw(t, "poll")) * time.Millisecond,
			MaxErrors: rapid.IntRange(1, 3).Draw(t, "max errors"),
		}
		wait := event.NewWait(point, published, r)
		now := rapid.IntRange(-20, 700).Draw(t, "first look")
		var looks []event.Look
		for range 60 {
			began := now
			now += rapid.IntRange(0, 30).Draw(t, "latency")
			kind := rapid.SampledFrom([]event.LookKind{event.Absent, event.Absent, event.Malformed, event.Failed, event.Found}).Draw(t, "kind")
			look := spanning(began, now, kind)
			looks = append(looks, look)
			got, over := wait.Add(look, event.Notification)
			want := contract(point, r, looks)
			if over != (want != "") || got.Reason != want {
				t.Fatalf("after %d looks: got %q, want %q", len(looks), got.Reason, want)
			}
			if over {
				after := point == event.Late && want == event.OK && max(0, now) > int(r.MaxWait.Milliseconds())
				if got.AfterDeadline != after {
					t.Fatalf("after_deadline is %v for a look at %d ms of %v", got.AfterDeadline, now, r.MaxWait)
				}
				return
			}
			now += rapid.IntRange(0, 60).Draw(t, "pause")
		}
	})
}

// TestWaitEnds drives a wait as its owner does, by Next, through an unreliable Redis. It always ends, soon after
// the deadline once Redis answers, and never says that heat was not there when it was.
func TestWaitEnds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		point := rapid.SampledFrom(event.Points[:]).Draw(t, "point")
		sweep := time.Duration(rapid.SampledFrom([]int{100, 1000}).Draw(t, "sweep")) * time.Millisecond
		latency := time.Duration(rapid.IntRange(0, 80).Draw(t, "latency")) * time.Millisecond
		written := published.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "written")) * time.Millisecond)
		downFrom := published.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "down from")) * time.Millisecond)
		downTo := downFrom.Add(time.Duration(rapid.IntRange(0, 150).Draw(t, "down for")) * time.Millisecond)

		wait := event.NewWait(point, published, rules)
		now := published.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "read")) * time.Millisecond)
		firstLook := now
		for looks := 1; ; looks++ {
			if looks > 100 {
				t.Fatal("no end after 100 looks")
			}
			executed := now.Add(latency / 2)
			look := event.Look{Began: now, At: now.Add(latency)}
			switch {
			case !executed.Before(downFrom) && executed.Before(downTo):
				look.Kind, look.Err = event.Failed, errLook
			case !executed.Before(written):
				look.Kind = event.Found
			}
			v, over := wait.Add(look, event.Sweep)
			if !over {
				next := wait.Next(sweep)
				if next.After(look.At) {
					look.At = next
				}
				now = look.At
				continue
			}
			deadline := wait.Deadline()
			if point == event.Early {
				deadline = firstLook
			}
			end := deadline
			if firstLook.After(end) {
				end = firstLook
			}
			if limit := end.Add(2*latency + 2*rules.Poll + downTo.Sub(downFrom)); v.At.After(limit) {
				t.Fatalf("ended %v after the limit: %+v", v.At.Sub(limit), v)
			}
			if v.Reason == event.Timeout && written.Before(wait.Deadline()) {
				t.Fatalf("timeout, though heat was there %v before the deadline", wait.Deadline().Sub(written))
			}
			if v.Reason == event.RedisError && downTo.Sub(downFrom) < rules.Poll {
				t.Fatalf("redis_error for a blip of %v", downTo.Sub(downFrom))
			}
			return
		}
	})
}

func TestWords(t *testing.T) {
	var got []string
	for _, p := range event.Points {
		if again, ok := event.ParsePoint(p.String()); !ok || again != p {
			t.Errorf("%v is read as %v", p, again)
		}
		got = append(got, p.String())
	}
	for _, r := range event.Reasons {
		if again, ok := event.ParseReason(string(r)); !ok || again != r {
			t.Errorf("%v is read as %v", r, again)
		}
		got = append(got, string(r))
	}
	for _, n := range []event.Noticed{event.AtOnce, event.Notification, event.Sweep, event.Deadline} {
		got = append(got, n.String())
	}
	for _, r := range event.DeadReasons {
		got = append(got, string(r))
	}
	const want = "[create_apply_plan publish_plan_post ok missing timeout redis_error parse_error at_once notification sweep deadline " +
		"no_plan_id no_symbol bad_field bad_envelope too_large handler_failed]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if _, ok := event.ParsePoint("apply"); ok {
		t.Error("an unknown point is read")
	}
	if _, ok := event.ParseReason(""); ok {
		t.Error("an unknown reason is read")
	}
}

func BenchmarkWait(b *testing.B) {
	b.ReportAllocs()
	looks := []event.Look{at(3, event.Absent), at(103, event.Absent), at(110, event.Found)}
	for b.Loop() {
		wait := event.NewWait(event.Late, published, rules)
		for _, look := range looks {
			wait.Add(look, event.Notification)
		}
	}
}
