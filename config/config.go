// Package config holds every setting of the heat observer: its name, its default, its range, what it is for
// and where its value came from.
//
// Load guarantees that a Config it returns without an error is complete and consistent: every value is in its
// range and every relation between values holds, so that nothing that uses it checks again. All that is wrong
// is reported at once. Values come from an env file, then the environment, then flags; the later wins.
//
// It knows none of the packages that it configures; app hands them their share. Nothing here prints a secret: not in errors, not in the Report, and never a name or a value of a variable
// that is not ours, because the env file is shared with other services.
//
//	cfg, report, err := config.Load(config.Sources{EnvFile: path, Environ: os.Environ(), Flags: flags})
//
// The table of all settings is in settings.go; the command line, `processor config` and the documentation are
// made from it or checked against it.
package config

import (
	"cmp"
	"log/slog"
	"math"
	"strings"
	"time"
)

// Exit codes of the processor, part of the wire contract.
const (
	ExitOK            = 0
	ExitFailed        = 1
	ExitNotCarriedOut = 2
	ExitConfig        = 78 // EX_CONFIG of sysexits.h
)

// ExitCodes are all of them with their meaning, for --help and the documentation.
var ExitCodes = [...]struct {
	Code    int
	Meaning string
}{
	{ExitOK, "drained, or all good"},
	{ExitFailed, "failed: a subscription that died, a check that failed"},
	{ExitNotCarriedOut, "could not be carried out: wrong usage, no connection for a one-off command"},
	{ExitConfig, "configuration: a value that is wrong or missing, a flag that looks like a setting and is none, a port that is taken"},
}

// Config is the value of every setting. The comment of a field names its variable; settings.go says the rest. What is not
// exported means something only together with another setting: a method tells it.
type Config struct {
	HeatLookupPrefix string // P28_HEAT_LOOKUP_PREFIX
	enabled          bool   // P28_HEAT_OBS_ENABLED; see EarlyEnabled and LateEnabled

	Streams  Streams
	Groups   Groups
	Read     Read
	Early    Early
	Late     Late
	Throttle Throttle
	Output   Output
	Redis    Redis
	HTTP     HTTP
	Log      Log
	Runtime  Runtime

	DrainTimeout time.Duration // P28_DRAIN_TIMEOUT_SEC
}

// Runtime are the settings of Go's runtime, under the names that it gave them.
type Runtime struct {
	GCPercent   int    // GOGC
	GCGiven     bool   // somebody said so; what is no run has a default of its own
	memoryLimit string // GOMEMLIMIT, as given; see Runtime.Limit
}

// Limit is the memory limit in bytes. ok is false when none is given, so that it is to follow the container's;
// math.MaxInt64 stands for none at all.
func (r Runtime) Limit() (bytes int64, ok bool) {
	bytes, err := parseMemory(r.memoryLimit)
	return bytes, r.memoryLimit != "" && err == nil
}

// Streams are the names and lengths of the Redis streams.
type Streams struct {
	Plan       string // P28_PLAN_STREAM; what is read is Config.PlanStreams
	partitions string // P28_PLAN_STREAMS, as given; "" when the plans are not partitioned
	Decision   string // P28_DECISION_STREAM
	Observed   string // P28_HEAT_OBS_STREAM
	Dead       string // P28_DEAD_STREAM
	Redrive    string // P28_REDRIVE_STREAM

	ObservedMaxLen int64 // P28_OBS_MAXLEN, entries, 0 = never trimmed
	DeadMaxLen     int64 // P28_DEAD_MAXLEN, entries, 0 = never trimmed
}

// Groups are the consumer groups and who reads in them.
type Groups struct {
	Early    string // P28_GROUP_EARLY
	Late     string // P28_GROUP_LATE
	Start    string // P28_GROUP_START: "auto", "0", "$" or an entry ID
	Consumer string // P28_CONSUMER, the first part of the consumer name
}

// startAuto is the value of Groups.Start that leaves the choice to what the stream holds.
const startAuto = "auto"

// Read says how entries are read and claimed.
type Read struct {
	Batch        int           // P28_READ_BATCH, entries
	Block        time.Duration // P28_BLOCK_MS
	ClaimMinIdle time.Duration // P28_CLAIM_MIN_IDLE_MS
	MaxFailures  int           // P28_MAX_FAILURES
}

// Early belongs to the early handler.
type Early struct {
	MaxInflight int // P28_EARLY_MAX_INFLIGHT, plans
}

// Late belongs to the late handler.
type Late struct {
	enabled        bool          // P28_LATE_OBS_ENABLED; see LateEnabled
	MaxWait        time.Duration // P28_LATE_OBS_MAX_WAIT_MS
	Poll           time.Duration // P28_LATE_OBS_POLL_MS
	MaxWorkers     int           // P28_LATE_OBS_MAX_WORKERS, lookups
	MaxInflight    int           // P28_LATE_OBS_MAX_INFLIGHT, plans
	MaxRedisErrors int           // P28_LATE_OBS_MAX_REDIS_ERRORS
	OnSaturation   string        // P28_LATE_OBS_ON_SATURATION: SaturationQueue or SaturationSkip
	Notify         string        // P28_LATE_OBS_NOTIFY: NotifyAuto or NotifyOff
	SweepFactor    int           // P28_LATE_OBS_SWEEP_FACTOR, poll intervals between sweeps while notifications are healthy
	Watch          time.Duration // P28_LATE_OBS_WATCH_MS, 0 = not watched
}

// The words of P28_LATE_OBS_ON_SATURATION and P28_LATE_OBS_NOTIFY.
const (
	SaturationQueue = "queue"
	SaturationSkip  = "skip"
	NotifyAuto      = "auto"
	NotifyOff       = "off"
)

// Throttle limits how many plans a second are handled.
type Throttle struct {
	PerSec      float64 // P28_THROTTLE_PER_SEC, plans per second, handler and process; 0 = off
	burst       int     // P28_THROTTLE_BURST, plans; see EffectiveBurst
	FleetPerSec float64 // P28_THROTTLE_FLEET_PER_SEC, plans per second over all workers; 0 = off
}

// EffectiveBurst is Burst, or what comes in one second, and at least one plan, when that is 0.
func (t Throttle) EffectiveBurst() int {
	return cmp.Or(t.burst, max(1, int(math.Ceil(t.PerSec))))
}

// Output says how observations are written.
type Output struct {
	DedupeTTL     time.Duration // P28_DEDUPE_TTL_SEC
	DedupePrefix  string        // P28_DEDUPE_PREFIX
	KeyPrefix     string        // P28_KEY_PREFIX
	MaxDebugChars int           // P28_MAX_DEBUG_CHARS, characters
	CommitBatch   int           // P28_COMMIT_BATCH, observations
}

// HTTP is the listener for metrics, health and the status page.
type HTTP struct {
	Addr  string   // P28_HTTP_ADDR, host:port
	Hosts []string // P28_HTTP_HOSTS
	Pprof bool     // P28_PPROF
}

// Log says what is logged and how.
type Log struct {
	Level  string // P28_LOG_LEVEL: debug, info, warn, error; see SlogLevel
	Format string // P28_LOG_FORMAT: LogAuto, LogJSON or LogText
}

// The words of P28_LOG_FORMAT.
const (
	LogAuto = "auto"
	LogJSON = "json"
	LogText = "text"
)

// SlogLevel is the level for log/slog; info when Level is not one of its words.
func (l Log) SlogLevel() slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(l.Level)) != nil {
		return slog.LevelInfo
	}
	return level
}

// EarlyEnabled says whether the early handler runs.
func (c Config) EarlyEnabled() bool { return c.enabled }

// LateEnabled says whether the late handler runs. P28_HEAT_OBS_ENABLED switches off both.
func (c Config) LateEnabled() bool { return c.enabled && c.Late.enabled }

// splitList splits at commas and leaves out spaces around names and empty parts.
func splitList(text string) []string {
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}
