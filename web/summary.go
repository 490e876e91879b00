package web

import (
	"fmt"
	"math"
	"time"
)

// window is what "now" means.
const window = 5 * time.Minute

// Summary is what the person on call wants to know.
type Summary struct {
	Time          time.Time `json:"time"`
	Redis         Redis     `json:"redis"`
	Version       string    `json:"version"`
	WindowSeconds int       `json:"window_seconds"`
	Verdict       Verdict   `json:"verdict"`
	Late          Point     `json:"late"`
	Early         Point     `json:"early"`
	ReadersDelay  *Waiting  `json:"readers_delay_ms"`
	DayAgo        DayAgo    `json:"day_ago"`
	Wait          Wait      `json:"wait"`
	Lost          Lost      `json:"lost"`
	Stuck         []string  `json:"stuck"`
	History       History   `json:"history"`
}

// Verdict says it in words.
type Verdict struct {
	State string `json:"state"`
	Text  string `json:"text"`
}

// The states of a verdict.
const (
	good    = "good"
	warn    = "warn"
	bad     = "bad"
	unknown = "unknown"
)

// DayAgo is the same window 24 h ago.
type DayAgo struct {
	Available bool   `json:"available"`
	Note      string `json:"note"`
	Late      *Point `json:"late"`
	Early     *Point `json:"early"`
}

// Wait is the allowed wait beside the advised one.
type Wait struct {
	MaxWaitMs int64 `json:"max_wait_ms"`
	advice
}

// Lost is what no coverage shows.
type Lost struct {
	Dropped     int64 `json:"dropped"`
	Trimmed     int64 `json:"trimmed"`
	Duplicates  int64 `json:"duplicates"`
	DeadLetters int64 `json:"dead_letters"`
}

func (s *snapshot) summary(o *Options) Summary {
	late, early := pointsOf(since(s.items, s.time.Add(-window)), o)
	out := Summary{
		Time: s.time, Redis: s.redis, Version: o.Version, WindowSeconds: int(window.Seconds()),
		Late: late, Early: early, ReadersDelay: early.WaitMs, DayAgo: s.dayAgo,
		Wait:    Wait{MaxWaitMs: o.Settings.MaxWait.Milliseconds(), advice: s.advice},
		Lost:    Lost{DeadLetters: s.status.DeadLetters},
		Stuck:   orEmpty(s.status.Stuck),
		History: historyOf(s.items),
	}
	for _, t := range s.status.Totals {
		out.Lost.Dropped += t.Dropped
		out.Lost.Trimmed += t.Trimmed
		out.Lost.Duplicates += t.Duplicate
	}
	out.Verdict = verdict(&out)
	return out
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

const (
	coverageGood = 0.9 // from here on heat arrives in time
	coverageBad  = 0.4 // below it somebody is called (deploy/prometheus/alerts.yml)
	waitTight    = 0.8 // share of the allowed wait from which on there is little left
)

// verdict says what matters most, the worst first.
func verdict(s *Summary) Verdict {
	switch {
	case s.Redis.AsOf.IsZero():
		return Verdict{unknown, "Redis cannot be read, and could not since this process started."}
	case !s.Redis.Reachable:
		return Verdict{unknown, fmt.Sprintf("Redis cannot be read; what is shown is of %s.", s.Redis.AsOf.Format("15:04:05 UTC"))}
	case len(s.Stuck) > 0:
		return Verdict{bad, fmt.Sprintf("Observing is stuck: %s.", s.Stuck[0])}
	case !s.Late.Enabled && !s.Early.Enabled:
		return Verdict{unknown, "Observing is switched off."}
	case !s.Late.Enabled:
		return Verdict{unknown, "Late observation is switched off: whether heat arrives in time is not known."}
	case s.Late.Observations == 0 && s.History.Last == nil:
		return Verdict{unknown, "No plan has been observed yet."}
	case s.Late.Observations == 0:
		return Verdict{unknown, fmt.Sprintf("No plan has been observed for %s.", ago(s.Time.Sub(*s.History.Last)))}
	case s.Late.Coverage == nil:
		return Verdict{bad, "Every look came after the deadline: the observer is behind, and nothing is known about the allowed wait."}
	}
	share := *s.Late.Coverage
	timing := ""
	if w := s.Late.WaitMs; w != nil {
		timing = fmt.Sprintf("; p99 is %d ms of %d ms", w.P99, s.Wait.MaxWaitMs)
	}
	switch {
	case share < coverageBad:
		return Verdict{bad, fmt.Sprintf("Heat does not arrive in time: %s of plans have it%s.%s", percent(share), timing, because(s))}
	case share < coverageGood:
		return Verdict{warn, fmt.Sprintf("Heat arrives in time for %s of plans%s.%s", percent(share), timing, because(s))}
	case s.Late.WaitMs != nil && float64(s.Late.WaitMs.P99) > waitTight*float64(s.Wait.MaxWaitMs):
		return Verdict{warn, fmt.Sprintf("Heat arrives just in time%s.", timing)}
	}
	return Verdict{good, fmt.Sprintf("Heat arrives in time%s.", timing)}
}

// because names the most frequent reason of what was not found, and what to turn.
func because(s *Summary) string {
	r := s.Late.Reasons
	most := max(r.Missing, r.Timeout, r.RedisError, r.ParseError)
	switch {
	case most == 0:
		return ""
	case most == r.RedisError:
		return " Most of the rest are failed lookups: look at Redis, not at the wait."
	case most == r.ParseError:
		return " Most of the rest are malformed hashes: look at the heat bridge."
	case most == r.Missing:
		return " Most of the rest were read after their deadline: the observer is behind."
	// History must say so of most of them: the heat of a gate or bridge that stands still is not late.
	case s.Wait.Advised != nil && *s.Wait.Advised > s.Wait.MaxWaitMs && s.Wait.gains*float64(s.Late.Observations) >= float64(r.Timeout)/2:
		return fmt.Sprintf(" Most of the rest timed out: heat comes later than that; %d ms would do.", *s.Wait.Advised)
	}
	return " Most of the rest timed out: their heat does not come; look at the heat gate and the heat bridge, not at the wait."
}

// percent does not round up to 100.
func percent(share float64) string {
	return fmt.Sprintf("%.1f %%", math.Floor(share*1000)/10)
}

// ago is a duration as people say it.
func ago(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 2*day:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
