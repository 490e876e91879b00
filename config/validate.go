package config

import (
	"crypto/tls"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// relations checks what no single value can show. A relation with a value that is wrong in itself is left out:
// it would only be noise.
func (l *loader) relations() {
	l.lookupPrefix()
	l.waits()
	l.names()
	l.throttle()
	l.redisURL()
	l.redisKind()
	l.redisTLS()
}

// usable says whether all these variables have values that can be compared.
func (l *loader) usable(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return l.wrong[name] })
}

func (l *loader) problem(name, format string, args ...any) *Problem {
	i, _, _ := byName(name)
	v := l.report.Values[i]
	return &Problem{Name: name, Value: v.Text, Source: v.Source, Text: problemf(format, args...).Error()}
}

func (l *loader) lookupPrefix() {
	const name = "P28_HEAT_LOOKUP_PREFIX"
	prefix := l.config.HeatLookupPrefix
	if !l.usable(name) {
		return
	}
	switch {
	case strings.HasPrefix(prefix, wrongLookupPrefix):
		l.warn(l.problem(name, "is known to be wrong, nobody writes heat under it; its usual value is %s", usualLookupPrefix))
	case !strings.HasSuffix(prefix, ":"):
		l.warn(l.problem(name, "does not end with a colon, and the plan ID follows at once; its usual value is %s", usualLookupPrefix))
	}
	// Redis announces every write under the lookup prefix, and whoever writes there writes heat.
	for _, other := range append(l.streamVariables(), "P28_KEY_PREFIX", "P28_DEDUPE_PREFIX") {
		i, _, _ := byName(other)
		if key := table[i].format(&l.config); l.usable(other) && strings.HasPrefix(key, prefix) {
			l.fail(l.problem(other, "lies under P28_HEAT_LOOKUP_PREFIX=%q, where nothing but heat may be", prefix))
		}
	}
	if l.usable("P28_PLAN_STREAMS") && l.config.Partitioned() {
		for _, partition := range l.config.PlanStreams() {
			if strings.HasPrefix(partition, prefix) {
				l.fail(l.problem("P28_PLAN_STREAMS", "names %s, which lies under P28_HEAT_LOOKUP_PREFIX=%q, where nothing but heat may be", partition, prefix))
				return
			}
		}
	}
}

func (l *loader) waits() {
	c := l.config
	late, read := c.Late, c.Read
	if l.usable("P28_LATE_OBS_POLL_MS", "P28_LATE_OBS_MAX_WAIT_MS") && late.Poll > late.MaxWait {
		l.fail(l.problem("P28_LATE_OBS_POLL_MS", "must not exceed P28_LATE_OBS_MAX_WAIT_MS=%s", ms(late.MaxWait)))
	}
	if least := late.MaxWait + read.ClaimMinIdle; l.usable("P28_DEDUPE_TTL_SEC", "P28_LATE_OBS_MAX_WAIT_MS", "P28_CLAIM_MIN_IDLE_MS") &&
		c.Output.DedupeTTL <= least {
		l.fail(l.problem("P28_DEDUPE_TTL_SEC", "must be longer than P28_LATE_OBS_MAX_WAIT_MS=%s and P28_CLAIM_MIN_IDLE_MS=%s together, "+
			"or an entry that is delivered again is observed twice", ms(late.MaxWait), ms(read.ClaimMinIdle)))
	}
	if l.usable("P28_BLOCK_MS", "P28_DRAIN_TIMEOUT_SEC") && read.Block >= c.DrainTimeout {
		l.fail(l.problem("P28_BLOCK_MS", "must be shorter than P28_DRAIN_TIMEOUT_SEC=%d, because a drain waits for the read under way",
			int(c.DrainTimeout/time.Second)))
	}
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// streamVariables are the variables that name one stream each.
func (l *loader) streamVariables() []string {
	return []string{"P28_PLAN_STREAM", "P28_DECISION_STREAM", "P28_HEAT_OBS_STREAM", "P28_DEAD_STREAM", "P28_REDRIVE_STREAM"}
}

func (l *loader) names() {
	if l.usable("P28_GROUP_EARLY", "P28_GROUP_LATE") && l.config.Groups.Early == l.config.Groups.Late {
		l.fail(l.problem("P28_GROUP_LATE", "must differ from P28_GROUP_EARLY, or each handler sees only a part of the plans"))
	}
	if l.usable("P28_KEY_PREFIX", "P28_DEDUPE_PREFIX") && l.config.Output.KeyPrefix == l.config.Output.DedupePrefix {
		l.fail(l.problem("P28_DEDUPE_PREFIX", "must differ from P28_KEY_PREFIX"))
	}
	owner := make(map[string]string) // stream to variable
	for _, name := range l.streamVariables() {
		i, _, _ := byName(name)
		stream := table[i].format(&l.config)
		if first, taken := owner[stream]; taken && l.usable(name, first) {
			l.fail(l.problem(name, "must differ from %s: each of them is a stream of its own", first))
		}
		if l.usable(name) {
			owner[stream] = name
		}
	}
	l.partitions(owner)
}

func (l *loader) throttle() {
	t := l.config.Throttle
	if l.usable("P28_THROTTLE_PER_SEC", "P28_THROTTLE_BURST") && t.burst > 0 && t.PerSec == 0 {
		l.warn(l.problem("P28_THROTTLE_BURST", "has no effect while P28_THROTTLE_PER_SEC is 0"))
	}
}

func (l *loader) redisURL() {
	if !l.usable("REDIS_URL") || l.config.Redis.URL == "" {
		return
	}
	u, err := parseURL(l.config.Redis.URL)
	if err != nil {
		return // REDIS_URL is then not usable
	}
	if len(u.unused) > 0 {
		l.warn(l.problem("REDIS_URL", "has parameters after the ? that are not used here; only db is"))
	}
	resolved := l.config.Redis.Server()
	otherAddr := resolved.Addr != net.JoinHostPort(l.config.Redis.host, strconv.Itoa(l.config.Redis.port))
	differs := map[string]bool{
		"REDIS_HOST":     otherAddr,
		"REDIS_PORT":     otherAddr,
		"REDIS_DB":       resolved.DB != l.config.Redis.db,
		"REDIS_USERNAME": resolved.Username != l.config.Redis.username,
		"REDIS_PASSWORD": resolved.Password != l.config.Redis.password,
	}
	for _, name := range []string{"REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_USERNAME", "REDIS_PASSWORD"} {
		if i, _, _ := byName(name); differs[name] && l.report.Values[i].Source != SourceDefault {
			l.warn(l.problem(name, "is not used: REDIS_URL says something else and wins"))
		}
	}
}

func (l *loader) redisKind() {
	r := l.config.Redis
	sentinels, cluster := len(r.Sentinels) > 0, len(r.Cluster) > 0
	if l.usable("REDIS_SENTINELS", "REDIS_MASTER_NAME") {
		switch {
		case sentinels && r.MasterName == "":
			l.fail(l.problem("REDIS_SENTINELS", "needs REDIS_MASTER_NAME, the name under which the sentinels know the primary"))
		case !sentinels && r.MasterName != "":
			l.fail(l.problem("REDIS_MASTER_NAME", "needs REDIS_SENTINELS, the sentinels to ask for it"))
		}
	}
	if l.usable("REDIS_CLUSTER", "REDIS_SENTINELS") && cluster && sentinels {
		l.fail(l.problem("REDIS_CLUSTER", "cannot stand beside REDIS_SENTINELS: a cluster fails over by itself"))
	}
	if l.usable("REDIS_URL", "REDIS_CLUSTER", "REDIS_SENTINELS") && r.URL != "" && (cluster || sentinels) {
		l.fail(l.problem("REDIS_URL", "names one server, and REDIS_CLUSTER or REDIS_SENTINELS others; set one of them to nothing"))
	}
	if l.usable("REDIS_CLUSTER", "REDIS_DB") && cluster && r.db != 0 {
		l.fail(l.problem("REDIS_DB", "must be 0: a Redis Cluster has no other database"))
	}
}

func (l *loader) redisTLS() {
	r := l.config.Redis
	if l.usable("REDIS_TLS_CERT", "REDIS_TLS_KEY") {
		switch {
		case r.tlsCert != "" && r.tlsKey == "":
			l.fail(l.problem("REDIS_TLS_CERT", "needs REDIS_TLS_KEY"))
		case r.tlsCert == "" && r.tlsKey != "":
			l.fail(l.problem("REDIS_TLS_KEY", "needs REDIS_TLS_CERT"))
		case r.tlsCert != "":
			if _, err := tls.X509KeyPair([]byte(r.tlsCert), []byte(r.tlsKey)); err != nil {
				l.fail(l.problem("REDIS_TLS_CERT", "does not go with REDIS_TLS_KEY: %w", err))
			}
		}
	}
	if l.usable("REDIS_URL", "REDIS_TLS_CA", "REDIS_TLS_CERT") && r.URL != "" && r.tlsGiven() && !r.Server().tls {
		l.fail(l.problem("REDIS_URL", "begins with redis://, which has no TLS, while REDIS_TLS_CA or REDIS_TLS_CERT is given; write rediss://"))
	}
}
