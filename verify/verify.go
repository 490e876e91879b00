package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Verdict is the outcome of a check.
type Verdict string

// The verdicts. Warn needs no mending at once; Skip was not asked for.
const (
	Pass Verdict = "pass"
	Warn Verdict = "warn"
	Fail Verdict = "fail"
	Skip Verdict = "skip"
)

// Check is the result of one check.
type Check struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Seen    string  `json:"seen"`
	Hint    string  `json:"hint"`
}

// Report is the result of a verification.
type Report struct {
	OK     bool    `json:"ok"` // no check failed
	Checks []Check `json:"checks"`
}

// Setup says what a deployment should be like.
type Setup struct {
	Plans     []string // plan streams
	Decisions string   // decision stream
	Observed  string   // observed stream
	Dead      string   // dead letters
	Redrive   string   // redriven plans

	Prefix       string // of the by_plan hashes
	DedupePrefix string
	KeyPrefix    string

	EarlyGroup, LateGroup     string
	EarlyEnabled, LateEnabled bool
	GateGroup, BridgeGroup    string // of the neighbours
	MaxWait                   time.Duration
	DedupeTTL                 time.Duration

	OurAddr     string   // host:port of our metrics
	ApplyAddr   string   // of the apply layer; may be OurAddr
	GateAddrs   []string // of the heat gate
	BridgeAddrs []string // of the heat bridge

	GateEnv *GateEnv // nil = not asked for
	ACLUser string   // whose rights are looked at; "" = the user that is connected

	Outage time.Duration    // that retention should bridge
	Wait   time.Duration    // for what has only just been published
	Now    func() time.Time // local clock; nil = time.Now
	Strict bool             // warnings are failures
	Canary bool             // write a plan that nobody can act on; the caller has made sure that it may
}

// GateEnv is what the heat gate's env file says about its input.
type GateEnv struct {
	Path     string
	StreamIn string // HEAT_STREAM_IN
	Set      bool   // whether it is there
}

// probe is what a check has: a way to look, and what should be seen.
type probe struct {
	Setup
	redis redis.UniversalClient
}

// check looks at one subject. Its name is given by the table in Run.
type check struct {
	name string
	look func(*probe, context.Context) Check
}

// Run carries out all checks.
func Run(ctx context.Context, client redis.UniversalClient, setup Setup) Report {
	if setup.Now == nil {
		setup.Now = time.Now
	}
	ctx, cancel := context.WithTimeout(ctx, setup.Wait+5*time.Second)
	defer cancel()
	p := &probe{Setup: setup, redis: client}
	checks := []check{
		{"golden chain", (*probe).golden},
		{"lookup prefix", (*probe).prefix},
		{"heat TTL", (*probe).ttl},
		{"observations", (*probe).observations},
		{"observing now", (*probe).observing},
		{"python observer", (*probe).python},
		{"heat gate input", (*probe).gateInput},
		{"heat gate group", (*probe).gateGroup},
		{"heat bridge group", (*probe).bridgeGroup},
		{"early group", (*probe).earlyGroup},
		{"late group", (*probe).lateGroup},
		{"our port", (*probe).ourPort},
		{"apply layer port", (*probe).applyPort},
		{"heat gate port", (*probe).gatePort},
		{"heat bridge port", (*probe).bridgePort},
		{"redis version", (*probe).version},
		{"redis persistence", (*probe).persistence},
		{"redis eviction", (*probe).eviction},
		{"redis memory", (*probe).memory},
		{"redis replication", (*probe).replication},
		{"clock", (*probe).clock},
		{"retention", (*probe).retention},
		{"redis rights", (*probe).rights},
		{"metrics", (*probe).metrics},
		{"late waits", (*probe).waits},
		{"read only", (*probe).readOnly},
		{"canary", (*probe).canary},
	}
	results := make([]Check, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			results[i] = c.look(p, ctx)
			results[i].Name = c.name
		})
	}
	wg.Wait()
	return conclude(slices.Concat(results, rules(results)), setup.Strict)
}

func conclude(checks []Check, strict bool) Report {
	report := Report{OK: true, Checks: checks}
	for i := range checks {
		if strict && checks[i].Verdict == Warn {
			checks[i].Verdict = Fail
		}
		if checks[i].Verdict == Fail {
			report.OK = false
		}
		if checks[i].Verdict == Pass {
			checks[i].Hint = ""
		}
	}
	return report
}

func pass(format string, args ...any) Check {
	return Check{Verdict: Pass, Seen: fmt.Sprintf(format, args...)}
}

func skip(format string, args ...any) Check {
	return Check{Verdict: Skip, Seen: fmt.Sprintf(format, args...)}
}

// bad is a warning or a failure: what was seen and what to do.
func bad(v Verdict, hint, format string, args ...any) Check {
	return Check{Verdict: v, Hint: hint, Seen: fmt.Sprintf(format, args...)}
}

// cannot is the result of a check that could not look. Missing rights to look say nothing about the deployment.
func cannot(err error) Check {
	if denied(err) {
		return bad(Warn, "run verify as a user that may look, such as heat-operator of deploy/redis/users.acl, with --acl-user for the worker's rights",
			"not allowed to look: %v", err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return bad(Fail, "see whether Redis is overloaded or the network is slow", "no answer in time: %v", err)
	}
	return bad(Fail, "mend what the error says, then verify again", "could not look: %v", err)
}

func denied(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOPERM") }

// round is a duration as people read it.
func round(d time.Duration) time.Duration {
	if d.Abs() >= 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
