package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	Parts     []Part
	Decisions string // decision stream
	Prefix    string // of the by_plan hashes

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

// Part are the names that belong to one plan stream.
type Part struct {
	Plans    string // plan stream
	Observed string // observed stream
	Dead     string // dead letters
	Redrive  string // redriven plans

	DedupePrefix string
	KeyPrefix    string
}

// GateEnv is what the heat gate's env file says about its input.
type GateEnv struct {
	Path     string
	StreamIn string // HEAT_STREAM_IN
	Set      bool   // whether it is there
}

// probe is what a check has: a way to look, and what should be seen, at one partition or of one server.
type probe struct {
	Setup
	Part
	redis   redis.UniversalClient
	server  redis.Cmdable // whose INFO and clock are looked at: redis, or a primary of a Cluster
	place   string        // what is looked at, where there are several
	decided *decisions    // of all probes
}

// check looks at one subject. Its name is given by the table in Run.
type check struct {
	name string
	look func(*probe, context.Context) Check
	at   scope
}

// scope says where a check looks.
type scope int

const (
	once   scope = iota // what it looks at is that of all
	each                // at each partition
	server              // at the server, or each primary of a Cluster
)

// Run carries out all checks.
func Run(ctx context.Context, client redis.UniversalClient, setup Setup) Report {
	if setup.Now == nil {
		setup.Now = time.Now
	}
	ctx, cancel := context.WithTimeout(ctx, setup.Wait+5*time.Second)
	defer cancel()
	var probes []*probe
	decided := &decisions{}
	for _, part := range setup.Parts {
		probes = append(probes, &probe{Setup: setup, Part: part, redis: client, server: client, place: part.Plans, decided: decided})
	}
	checks := []check{
		{"golden chain", (*probe).golden, each},
		{"lookup prefix", (*probe).prefix, each},
		{"heat TTL", (*probe).ttl, each},
		{"observations", (*probe).observations, each},
		{"observing now", (*probe).observing, each},
		{"python observer", (*probe).python, each},
		{"heat gate input", (*probe).gateInput, once},
		{"heat gate group", (*probe).gateGroup, each},
		{"heat bridge group", (*probe).bridgeGroup, once},
		{"early group", (*probe).earlyGroup, each},
		{"late group", (*probe).lateGroup, each},
		{"our port", (*probe).ourPort, once},
		{"apply layer port", (*probe).applyPort, once},
		{"heat gate port", (*probe).gatePort, once},
		{"heat bridge port", (*probe).bridgePort, once},
		{"redis version", (*probe).version, server},
		{"redis persistence", (*probe).persistence, server},
		{"redis eviction", (*probe).eviction, server},
		{"redis memory", (*probe).memory, server},
		{"redis replication", (*probe).replication, server},
		{"clock", (*probe).clock, server},
		{"retention", (*probe).retention, each},
		{"redis rights", (*probe).rights, each},
		{"metrics", (*probe).metrics, once},
		{"late waits", (*probe).waits, each},
		{"read only", (*probe).readOnly, each},
		{"canary", (*probe).canary, each},
	}
	results := make([]Check, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			results[i] = c.run(ctx, probes)
			results[i].Name = c.name
		})
	}
	wg.Wait()
	return conclude(slices.Concat(results, rules(results)), setup.Strict)
}

// run looks at every partition or server that the check is about.
func (c check) run(ctx context.Context, probes []*probe) Check {
	kind := "partitions"
	switch c.at {
	case once:
		probes = probes[:1]
	case server:
		kind = "primaries"
		var err error
		if probes, err = probes[0].servers(ctx); err != nil {
			return cannot(err)
		}
	}
	if len(probes) == 1 {
		return c.look(probes[0], ctx)
	}
	return c.worst(ctx, probes, kind)
}

// worst looks with all probes at once, and gives the worst that they found.
func (c check) worst(ctx context.Context, probes []*probe, kind string) Check {
	found := make([]Check, len(probes))
	var wg sync.WaitGroup
	for i, p := range probes {
		wg.Go(func() { found[i] = c.look(p, ctx) })
	}
	wg.Wait()
	worst, like, where := found[0], 0, probes[0].place
	for i, f := range found {
		if worse(f.Verdict, worst.Verdict) {
			worst, like, where = f, 0, probes[i].place
		}
		if f.Verdict == worst.Verdict {
			like++
		}
	}
	if worst.Verdict != Skip {
		worst.Seen = fmt.Sprintf("%s, one of %d of %d %s like it: %s", where, like, len(found), kind, worst.Seen)
	}
	return worst
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

func denied(err error) bool { return redis.HasErrorPrefix(err, "NOPERM") }

// round is a duration as people read it.
func round(d time.Duration) time.Duration {
	if d.Abs() >= 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(time.Millisecond)
}
