package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Names are those that belong to one stream of plans: what a commit, a dead letter or a redrive touches.
type Names struct {
	Plan, Observed, Dead, Redrive string // streams
	DedupePrefix, KeyPrefix       string
	RedriveKeyPrefix              string // that of the redrive stream's cursor and totals
	Apart                         bool   // they do not share a slot: see AtLeastOnce
}

// AtLeastOnce says that the names are the untagged ones of the contract on a Redis Cluster, where no script can touch all
// of them: answers are then written in steps, and a death between two of them has one written twice.
func (c Config) AtLeastOnce() bool {
	if len(c.Redis.Cluster) == 0 || c.Partitioned() {
		return false
	}
	return !strings.ContainsAny(c.Streams.Plan+c.Streams.Observed+c.Streams.Dead+c.Streams.Redrive+c.Output.DedupePrefix+c.Output.KeyPrefix, "{}")
}

// Totals is the key of what is counted for one of the streams that are read.
func (n Names) Totals(stream string) string {
	if stream == n.Redrive {
		return n.RedriveKeyPrefix + "totals"
	}
	return n.KeyPrefix + "totals"
}

// Cursor is the key of a group's cursor on one of them.
func (n Names) Cursor(stream, group string) string {
	if stream == n.Redrive {
		return n.RedriveKeyPrefix + "cursor:" + group + ":" + stream
	}
	return n.KeyPrefix + "cursor:" + group
}

// Names are those as configured, or of every partition, in order. Those of a partition carry its hash tag, so that they
// share its slot on a Redis Cluster: at the end of the name of a stream, quantum:stream:apply.heat.observed:{3}, and of
// a prefix, quantum:p28:{3}:.
func (c Config) Names() []Names {
	all := []Names{{
		Plan: c.Streams.Plan, Observed: c.Streams.Observed, Dead: c.Streams.Dead, Redrive: c.Streams.Redrive,
		DedupePrefix: c.Output.DedupePrefix, KeyPrefix: c.Output.KeyPrefix, RedriveKeyPrefix: c.Output.KeyPrefix,
	}}
	if c.AtLeastOnce() {
		// Our own keys follow the stream that they are about: its whole name is their hash tag.
		all[0].KeyPrefix = c.Output.KeyPrefix + "{" + c.Streams.Plan + "}:"
		all[0].RedriveKeyPrefix = c.Output.KeyPrefix + "{" + c.Streams.Redrive + "}:"
		all[0].Apart = true
	}
	if !c.Partitioned() {
		return all
	}
	base := all[0]
	all = all[:0]
	for _, plan := range c.PlanStreams() {
		tag := "{" + HashTag(plan) + "}"
		all = append(all, Names{
			Plan: plan, Observed: base.Observed + ":" + tag, Dead: base.Dead + ":" + tag, Redrive: base.Redrive + ":" + tag,
			DedupePrefix: base.DedupePrefix + tag + ":", KeyPrefix: base.KeyPrefix + tag + ":", RedriveKeyPrefix: base.KeyPrefix + tag + ":",
		})
	}
	return all
}

// One is the configuration of a command that works on one partition at a time, with the names of that one: those as
// configured where the plans are not partitioned. It reports more than one.
func (c Config) One() (Config, error) {
	if !c.Partitioned() {
		return c, nil
	}
	all := c.Names()
	if len(all) > 1 {
		return c, fmt.Errorf("P28_PLAN_STREAMS has %d partitions and this command works on one at a time: name one, --plan-streams='%s'", len(all), all[0].Plan)
	}
	one := all[0]
	c.Streams.Plan, c.Streams.Observed, c.Streams.Dead, c.Streams.Redrive = one.Plan, one.Observed, one.Dead, one.Redrive
	c.Output.DedupePrefix, c.Output.KeyPrefix = one.DedupePrefix, one.KeyPrefix
	c.Streams.partitions = ""
	return c, nil
}

// partitions checks names that could be taken for each other. owner says which variable names a stream.
func (l *loader) partitions(owner map[string]string) {
	if !l.usable("P28_PLAN_STREAMS") || !l.config.Partitioned() {
		return
	}
	for _, name := range []string{"P28_HEAT_OBS_STREAM", "P28_DEAD_STREAM", "P28_REDRIVE_STREAM", "P28_DEDUPE_PREFIX", "P28_KEY_PREFIX"} {
		i, _, _ := byName(name)
		if strings.ContainsAny(table[i].format(&l.config), "{}") && l.usable(name) {
			l.fail(l.problem(name, "must have no braces: with P28_PLAN_STREAMS each partition's own hash tag is added"))
			return
		}
	}
	for _, names := range l.config.Names() {
		for variable, stream := range map[string]string{
			"P28_HEAT_OBS_STREAM": names.Observed, "P28_DEAD_STREAM": names.Dead, "P28_REDRIVE_STREAM": names.Redrive,
		} {
			owner[stream] = variable + " with a partition's tag"
		}
	}
	for _, partition := range l.config.PlanStreams() {
		if first, taken := owner[partition]; taken && first != "P28_PLAN_STREAM" {
			l.fail(l.problem("P28_PLAN_STREAMS", "names %s, which is %s", partition, first))
		}
	}
}

// PlanStreams are the streams on which plans are read: the partitions when there are any, else the one plan
// stream.
func (c Config) PlanStreams() []string {
	streams, err := expandPartitions(c.Streams.partitions)
	if err != nil || len(streams) == 0 {
		return []string{c.Streams.Plan}
	}
	return streams
}

// Partitioned says whether P28_PLAN_STREAMS is set.
func (c Config) Partitioned() bool { return c.Streams.partitions != "" }

// expandPartitions reads P28_PLAN_STREAMS: names separated by commas, or one pattern with {k} and a count,
// "quantum:stream:apply.plan:{k}*16", which stands for the names with {0} to {15}. The braces stay: they make
// the number the hash tag of a Redis Cluster.
func expandPartitions(text string) ([]string, error) {
	if !strings.Contains(text, "{k}") {
		return splitList(text), nil
	}
	pattern, countText, found := cutLast(text, "*")
	count, err := strconv.Atoi(countText)
	switch {
	case !found:
		return nil, problemf("has {k} but no count: write %s*16 for {0} to {15}", text)
	case err != nil || count < 1 || count > maxPartitions:
		return nil, problemf("the count after * must be a whole number, 1 to %d", maxPartitions)
	case strings.Count(pattern, "{k}") != 1 || strings.Contains(pattern, ","):
		return nil, problemf("must be either a list of names or one pattern with a single {k}")
	}
	streams := make([]string, count)
	for k := range streams {
		streams[k] = strings.Replace(pattern, "{k}", "{"+strconv.Itoa(k)+"}", 1)
	}
	return streams, nil
}

// maxPartitions bounds the blocking reads of one worker: one for each partition and group.
const maxPartitions = 256

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
