package config

import (
	"slices"
	"strings"
	"testing"
)

// TestRefused gives each setting something that it must refuse, alone or beside another.
func TestRefused(t *testing.T) {
	for _, tc := range []struct {
		name    string
		environ []string
		want    string // a part of the error
	}{
		{"empty number", []string{"P28_OBS_MAXLEN="}, `P28_OBS_MAXLEN (environment): is empty; leave it out for the default (10000)`},
		{"empty stream", []string{"P28_PLAN_STREAM="}, `P28_PLAN_STREAM (environment): is empty`},
		{"negative", []string{"P28_OBS_MAXLEN=-1"}, `out of range; allowed: 0 to 1000000000 entries`},
		{"larger than an integer", []string{"P28_OBS_MAXLEN=99999999999999999999"}, `out of range`},
		{"fraction", []string{"P28_LATE_OBS_MAX_WAIT_MS=1.5"}, `not a whole number`},
		{"thousands", []string{"P28_LATE_OBS_MAX_INFLIGHT=10,000"}, `not a whole number`},
		{"poll of nothing", []string{"P28_LATE_OBS_POLL_MS=0"}, `allowed: 1 to 60000 ms`},
		{"claim too soon", []string{"P28_CLAIM_MIN_IDLE_MS=999"}, `allowed: 1000 to 3600000 ms`},
		{"commit batch", []string{"P28_COMMIT_BATCH=1025"}, `allowed: 1 to 1024 observations`},
		{"no drain", []string{"P28_DRAIN_TIMEOUT_SEC=0"}, `allowed: 1 to 3600 s`},
		{"rate", []string{"P28_THROTTLE_PER_SEC=NaN"}, `is not a number in the range; allowed: 0 to 1000000 plans/s`},
		{"endless rate", []string{"P28_THROTTLE_PER_SEC=Inf"}, `is not a number in the range`},
		{"word", []string{"P28_LATE_OBS_ON_SATURATION=drop"}, `allowed: queue, skip`},
		{"level", []string{"P28_LOG_LEVEL=loud"}, `allowed: debug, info, warn, error`},
		{"start", []string{"P28_GROUP_START=yesterday"}, `allowed: auto, 0, $ or an entry ID`},
		{"start that is no entry ID", []string{"P28_GROUP_START=>"}, `allowed: auto`},
		{"listener without port", []string{"P28_HTTP_ADDR=localhost"}, `write 127.0.0.1:8043`},
		{"listener with a wrong port", []string{"P28_HTTP_ADDR=:70000"}, `write 127.0.0.1:8043`},
		{"name with a port", []string{"P28_HTTP_HOSTS=heat.example.com,heat:8043"}, `has an element that is no host name; allowed: name,name,…, without ports`},
		{"name with a scheme", []string{"P28_HTTP_HOSTS=https://heat.example.com"}, `has an element that is no host name`},
		{"control character", []string{"P28_GROUP_LATE=a\x1b[31m"}, `has spaces or control characters`},
		{"not UTF-8", []string{"P28_GROUP_LATE=\xff"}, `is not UTF-8`},
		{"long", []string{"P28_KEY_PREFIX=" + strings.Repeat("x", 513)}, `longer than 512 bytes`},

		{"poll beyond the wait", []string{"P28_LATE_OBS_POLL_MS=3000"}, `P28_LATE_OBS_POLL_MS="3000" (environment): must not exceed P28_LATE_OBS_MAX_WAIT_MS=2000`},
		{"dedupe shorter than a redelivery", []string{"P28_DEDUPE_TTL_SEC=7"}, `must be longer than P28_LATE_OBS_MAX_WAIT_MS=2000 and P28_CLAIM_MIN_IDLE_MS=5000 together`},
		{"block beyond the drain", []string{"P28_DRAIN_TIMEOUT_SEC=1", "P28_BLOCK_MS=1000"}, `must be shorter than P28_DRAIN_TIMEOUT_SEC=1`},
		{"one group", []string{"P28_GROUP_LATE=p28_early"}, `must differ from P28_GROUP_EARLY`},
		{"one stream", []string{"P28_DEAD_STREAM=quantum:stream:apply.plan"}, `P28_DEAD_STREAM="quantum:stream:apply.plan" (environment): must differ from P28_PLAN_STREAM`},
		{"one prefix", []string{"P28_DEDUPE_PREFIX=quantum:p28:"}, `must differ from P28_KEY_PREFIX`},
		{"under the lookup prefix", []string{"P28_DEDUPE_PREFIX=quantum:harvest:heat:by_plan:d:"}, `lies under P28_HEAT_LOOKUP_PREFIX`},

		{"partitions without count", []string{"P28_PLAN_STREAMS=p:{k}"}, `has {k} but no count`},
		{"no partitions", []string{"P28_PLAN_STREAMS=p:{k}*0"}, `a whole number, 1 to 256`},
		{"too many partitions", []string{"P28_PLAN_STREAMS=p:{k}*257"}, `a whole number, 1 to 256`},
		{"pattern in a list", []string{"P28_PLAN_STREAMS=a:{0},p:{k}*2"}, `either a list of names or one pattern`},
		{"partition without tag", []string{"P28_PLAN_STREAMS=a:{0},b"}, `without a hash tag`},
		{"partition twice", []string{"P28_PLAN_STREAMS=a:{0},a:{0}"}, `names a:{0} twice`},
		{"tag twice", []string{"P28_PLAN_STREAMS=a:{0},b:{0}"}, `uses the hash tag {0} twice`},
		{"partition of another stream", []string{"P28_PLAN_STREAMS=d:{0}", "P28_DECISION_STREAM=d:{0}"}, `names d:{0}, which is P28_DECISION_STREAM`},
		{"partition of its own dead letters", []string{"P28_PLAN_STREAMS=d:{0}", "P28_DEAD_STREAM=d"}, `names d:{0}, which is P28_DEAD_STREAM with a partition's tag`},
		{"partition under the lookup prefix", []string{"P28_PLAN_STREAMS=quantum:harvest:heat:by_plan:{0},p:{1}"},
			`names quantum:harvest:heat:by_plan:{0}, which lies under P28_HEAT_LOOKUP_PREFIX`},
		{"partitions and a tag", []string{"P28_PLAN_STREAMS=p:{0}", "P28_KEY_PREFIX={q}:p28:"}, `must have no braces`},

		{"port", []string{"REDIS_PORT=0"}, `allowed: 1 to 65535`},
		{"port in the host", []string{"REDIS_HOST=redis:6379"}, `the port belongs into REDIS_PORT`},
		{"sentinels without name", []string{"REDIS_SENTINELS=a:26379"}, `needs REDIS_MASTER_NAME`},
		{"name without sentinels", []string{"REDIS_MASTER_NAME=quantum"}, `needs REDIS_SENTINELS`},
		{"sentinel without port", []string{"REDIS_SENTINELS=a:26379,b", "REDIS_MASTER_NAME=m"}, `no host:port`},
		{"cluster and sentinels", []string{"REDIS_CLUSTER=a:1", "REDIS_SENTINELS=a:1", "REDIS_MASTER_NAME=m"}, `cannot stand beside REDIS_SENTINELS`},
		{"cluster and URL", []string{"REDIS_CLUSTER=a:1", "REDIS_URL=redis://a"}, `names one server`},
		{"cluster and database", []string{"REDIS_CLUSTER=a:1", "REDIS_DB=1"}, `must be 0`},
		{"path for PEM", []string{"REDIS_TLS_CA=/etc/ssl/ca.pem"}, `the path of a file goes into the variable that ends with _FILE`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, report, err := Load(Sources{Environ: environ(tc.environ...)})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %s", err, tc.want)
			}
			if err != nil && strings.Count(err.Error(), "\n") != 0 {
				t.Errorf("more than one error:\n%v", err)
			}
			if len(report.Values) != len(Settings()) {
				t.Errorf("the report has %d values", len(report.Values))
			}
		})
	}
}

func TestAccepted(t *testing.T) {
	for _, pair := range []string{
		"P28_GROUP_START=0", "P28_GROUP_START=$", "P28_GROUP_START=1700000000000-3", "P28_GROUP_START=1700000000000",
		"P28_HTTP_ADDR=:8043", "P28_HTTP_ADDR=[::1]:0", "P28_HTTP_HOSTS=heat.example.com, heat", "P28_LOG_LEVEL=WARN", "P28_LATE_OBS_POLL_MS=2000", "P28_LATE_OBS_POLL_MS= 50 ",
		"P28_THROTTLE_PER_SEC=0.5", "P28_MAX_DEBUG_CHARS=160", "P28_CLAIM_MIN_IDLE_MS=1000", "P28_OBS_MAXLEN=0", "P28_LATE_OBS_WATCH_MS=0",
		"P28_PLAN_STREAMS=quantum:stream:apply.plan:{k}*256", "REDIS_HOST=::1", "REDIS_PASSWORD=", "REDIS_CLUSTER=", "P28_CONSUMER=",
		"P28_PLAN_STREAM={quantum}:stream:apply.plan", "P28_LATE_OBS_NOTIFY=Off",
	} {
		if _, report := load(t, Sources{Environ: environ(pair)}); len(report.Warnings) > 0 {
			t.Errorf("%s: %v", pair, report.Warnings)
		}
	}
}

func TestPlanStreams(t *testing.T) {
	for _, tc := range []struct {
		text string
		want string
	}{
		{"", "quantum:stream:apply.plan"},
		{"p:{k}*3", "p:{0} p:{1} p:{2}"},
		{"p:{a}, p:{b}", "p:{a} p:{b}"},
	} {
		cfg, _ := load(t, Sources{Environ: environ("P28_PLAN_STREAMS=" + tc.text)})
		if got := strings.Join(cfg.PlanStreams(), " "); got != tc.want {
			t.Errorf("%q is %s, want %s", tc.text, got, tc.want)
		}
		if cfg.Partitioned() != (tc.text != "") {
			t.Errorf("%q: partitioned %v", tc.text, cfg.Partitioned())
		}
	}
}

func TestEffectiveBurst(t *testing.T) {
	for _, tc := range []struct {
		throttle Throttle
		want     int
	}{
		{Throttle{PerSec: 0.2}, 1},
		{Throttle{PerSec: 2.5}, 3},
		{Throttle{PerSec: 100, burst: 7}, 7},
	} {
		if got := tc.throttle.EffectiveBurst(); got != tc.want {
			t.Errorf("%+v: burst %d, want %d", tc.throttle, got, tc.want)
		}
	}
}

// TestSettingsAreSound checks the table itself.
func TestSettingsAreSound(t *testing.T) {
	seen := make(map[string]bool)
	fields := make(map[any]string)
	cfg := new(Config)
	for _, s := range Settings() {
		field := s.at(cfg)
		if other, taken := fields[field]; taken {
			t.Errorf("%s and %s share a field", s.Name, other)
		}
		fields[field] = s.Name
		if seen[s.Flag()] || seen[s.Name] {
			t.Errorf("%s or its flag stands twice", s.Name)
		}
		seen[s.Flag()], seen[s.Name] = true, true
		if s.Help == "" || s.Group == "" || s.Allowed() == "" {
			t.Errorf("%s lacks help, group or range: %+v", s.Name, s)
		}
		if _, ok := field.(interface{ Seconds() float64 }); ok && durationUnits[s.Unit] == 0 {
			t.Errorf("%s: unit %q is no time", s.Name, s.Unit)
		}
		switch s.Type() {
		case "integer", "number":
			if s.Max <= s.Min {
				t.Errorf("%s has no range", s.Name)
			}
		case "list":
			if s.check == nil {
				t.Errorf("%s has no check", s.Name)
			}
		}
		inSeconds := strings.HasSuffix(s.Name, "_SEC") && !strings.HasSuffix(s.Name, "_PER_SEC")
		if strings.HasSuffix(s.Name, "_MS") != (s.Unit == "ms") || inSeconds != (s.Unit == "s") {
			t.Errorf("%s: name and unit %q say different things", s.Name, s.Unit)
		}
		if found, ok := Lookup(s.Name); !ok || found.Name != s.Name {
			t.Errorf("%s is not found", s.Name)
		}
	}
	if _, ok := Lookup("REDIS_NOTHING"); ok {
		t.Error("an unknown setting is found")
	}
}

func TestNames(t *testing.T) {
	cfg, _ := load(t, Sources{Environ: environ()})
	want := []Names{{
		Plan: "quantum:stream:apply.plan", Observed: "quantum:stream:apply.heat.observed", Dead: "quantum:stream:apply.heat.dead",
		Redrive: "quantum:stream:apply.heat.redrive", DedupePrefix: "quantum:dedupe:p28:", KeyPrefix: "quantum:p28:", RedriveKeyPrefix: "quantum:p28:",
	}}
	if got := cfg.Names(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	cfg, _ = load(t, Sources{Environ: environ("P28_PLAN_STREAMS=p:{k}*2", "P28_KEY_PREFIX=own:")})
	all := cfg.Names()
	want = []Names{{
		Plan: "p:{1}", Observed: "quantum:stream:apply.heat.observed:{1}", Dead: "quantum:stream:apply.heat.dead:{1}",
		Redrive: "quantum:stream:apply.heat.redrive:{1}", DedupePrefix: "quantum:dedupe:p28:{1}:", KeyPrefix: "own:{1}:", RedriveKeyPrefix: "own:{1}:",
	}}
	if len(all) != 2 || !slices.Equal(all[1:], want) {
		t.Errorf("%+v, want %+v", all, want)
	}
}
