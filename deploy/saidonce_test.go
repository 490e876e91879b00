package deploy

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/config"
	"heatobserver/event"
	"heatobserver/pipeline"
)

// found are the words of a file: within gives the passage (all of the file when empty), word each of them, both by their only
// group. "a, b" is two words.
func found(t *testing.T, file, within, word string) (words []string) {
	t.Helper()
	content, err := os.ReadFile("../" + file)
	require.NoError(t, err)
	passage := string(content)
	if within != "" {
		m := regexp.MustCompile(within).FindStringSubmatch(passage)
		require.NotNil(t, m, "%s has no passage %s", file, within)
		passage = m[1]
	}
	for _, m := range regexp.MustCompile(word).FindAllStringSubmatch(passage, -1) {
		words = append(words, strings.Split(m[1], ", ")...)
	}
	return words
}

func texts[T any](values ...T) (all []string) {
	for _, v := range values {
		all = append(all, fmt.Sprint(v))
	}
	return all
}

// setting is the default of a setting.
func setting(t *testing.T, name string) string {
	t.Helper()
	s, ok := config.Lookup(name)
	require.True(t, ok, name)
	return s.Default
}

// debugKeys are the keys of debug_json in their order: of what was found late, with the error that others have.
func debugKeys(t *testing.T) (keys []string) {
	t.Helper()
	o := event.Observation{Reason: event.OK, AfterDeadline: true}
	for name, value := range o.AppendFields(nil, 1000).All() {
		if string(name) != "debug_json" {
			continue
		}
		decoder := json.NewDecoder(strings.NewReader(string(value)))
		for i := 0; ; i++ { // {, then keys and values by turns
			token, err := decoder.Token()
			require.NoError(t, err)
			if token == json.Delim('}') {
				break
			}
			if i%2 == 1 {
				keys = append(keys, fmt.Sprint(token))
			}
		}
	}
	return slices.Insert(keys, slices.Index(keys, "source_id"), "error")
}

// parameter finds default and bounds of a number in the interface of the page, as "minimum: 1, maximum: 60, default: 1".
func parameter(name string) string {
	return `name: ` + name + `\b[^{}]*schema: \{ type: integer, (minimum: \d+, maximum: \d+, default: \d+) \}`
}

// asked is what the handler takes a number for.
func asked(t *testing.T, file, name string) []string {
	t.Helper()
	content, err := os.ReadFile("../" + file)
	require.NoError(t, err)
	m := regexp.MustCompile(`q\.number\("` + name + `", (\d+), (\d+), ([\d_]+)\)`).FindStringSubmatch(string(content))
	require.NotNil(t, m, "%s asks for no %s", file, name)
	return []string{"minimum: " + m[2], "maximum: " + strings.ReplaceAll(m[3], "_", ""), "default: " + m[1]}
}

// keySuffixes are what follows the key prefix in the keys of our own and in the channel.
func keySuffixes(t *testing.T) (all []string) {
	t.Helper()
	for _, file := range []string{"config/partitions.go", "stream/nudge.go", "app/operator.go"} {
		all = append(all, found(t, file, "", `KeyPrefix \+ "([a-z:]+)"`)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// how the words of a repetition are held against the fact.
type how int

const (
	inOrder how = iota // the same words in the same order
	asSet              // the same words
	partOf             // no others
	each               // every occurrence is this word
)

// TestSaidOnce: names, orders, reasons and numbers stand in one place of the program, and each file that repeats them says
// the same. A row is one repetition.
func TestSaidOnce(t *testing.T) {
	_, port, err := net.SplitHostPort(setting(t, "P28_HTTP_ADDR"))
	require.NoError(t, err)
	ports, exit := texts(port), texts(config.ExitConfig)
	maxWait, _ := config.Lookup("P28_LATE_OBS_MAX_WAIT_MS")
	var (
		fields   = event.ObservationFields[:]
		points   = texts(event.Points[:]...)
		reasons  = texts(event.Reasons[:]...)
		dead     = texts(event.DeadReasons[:]...)
		noticed  = texts(event.AtOnce, event.Notification, event.Sweep, event.Deadline)
		letter   = found(t, "stream/lua/dead.lua", `(?s)local fields = \{(.*?)\}`, `'([a-z_]+)'`)
		streams  = texts(setting(t, "P28_PLAN_STREAM"), setting(t, "P28_DECISION_STREAM"), setting(t, "P28_HEAT_OBS_STREAM"), setting(t, "P28_DEAD_STREAM"), setting(t, "P28_REDRIVE_STREAM"))
		prefixes = texts(pipeline.LookupPrefix, setting(t, "P28_DEDUPE_PREFIX"), setting(t, "P28_KEY_PREFIX"))
		groups   = texts(setting(t, "P28_GROUP_EARLY"), setting(t, "P28_GROUP_LATE"))
		redis    = found(t, "verify/redis.go", "", `use Redis (\d\.\d) or newer`)
		suffixes = keySuffixes(t)
		low      = found(t, "web/summary.go", "", `coverageBad  = ([\d.]+)`)
		patience = found(t, "cmd/processor/healthcheck.go", "", `Timeout +time\.Duration.*default:"(\d+)s"`)
	)
	require.Equal(t, streams[:2], texts(pipeline.PlanStream, pipeline.DecisionStream))
	own, err := strconv.Atoi(patience[0])
	require.NoError(t, err)
	const (
		contract, openapi = "docs/wire-contract.md", "web/openapi.yaml"
		quoted, column    = "`(\\w+)`", `(?m)^\| ([\w, ]+) \|`
		name              = `(quantum:(?:stream:[a-z.]+|harvest:heat:by_plan:|dedupe:p28:|p28:))`
		dashboard         = "deploy/grafana/dashboards/heat-observer.json"
		pointLabel        = `obs_point=\\?"(\w+)`
		reasonLabel       = `p28[_:](?:heat_reason_total|late_reason:\w+)\{[^}]*\breason=\\?"(\w+)`
		deadLabel         = `dead_letters_total\{[^}]*reason=\\?"(\w+)`
	)
	for _, r := range []struct {
		file, within, word string
		how                how
		want               []string
	}{
		{contract, `(?s)\n## Observations\n(.*?)\n###`, `(?m)^\| \d+ \| (\w+) \|`, inOrder, fields},
		{contract, `(?s)\n### debug_json\n.*?\|---\|---\|---\|\n(.*?)\n\n`, column, inOrder, debugKeys(t)},
		{contract, `flat fields: ((?s).*?) From`, quoted, inOrder, event.DecisionFields[:]},
		{contract, `(?s)\n## Heat\n.*?\|---\|---\|\n(.*?)\n\n`, column, inOrder, event.HashFields[:]},
		{contract, `(?s)\n## Dead letters\n.*?\|---\|---\|\n(.*?)\n\n`, column, inOrder, letter},
		{contract, `(?m)^\| \d+ \| obs_point \|(.*)$`, quoted, inOrder, points},
		{contract, `(?m)^\| \d+ \| heat_reason \|(.*)$`, quoted, inOrder, reasons},
		{contract, `(?s)\n### heat_reason\n.*?\|---\|---\|\n(.*?)\n\n`, column, inOrder, reasons},
		{contract, `(?m)^\| noticed \|(.*)$`, quoted, inOrder, noticed},
		{contract, `(?m)^\| reason \|(.*)$`, quoted, inOrder, dead},
		{contract, "", `(?:exit code|exits with) (\d+)`, each, exit},
		{contract, "", `http://[^/]*:(\d+)/`, each, ports},
		{contract, `Exactly these (\d+) fields`, `(\d+)`, each, texts(len(fields))},

		{openapi, `\n    ObsPoint: .*enum: \[(.*?)\]`, `([\w, ]+)`, inOrder, points},
		{openapi, `\n    Reason: .*enum: \[(.*?)\]`, `([\w, ]+)`, inOrder, reasons},
		{openapi, `(?s)\n    Reasons:.*?required: \[(.*?)\]`, `([\w, ]+)`, inOrder, reasons},
		{openapi, `noticed: .*enum: \["", (.*?)\]`, `([\w, ]+)`, inOrder, noticed},
		{openapi, `name: max_wait_ms, .*minimum: (\d+)`, `(\d+)`, each, texts(int(maxWait.Min))},
		{openapi, `name: max_wait_ms, .*maximum: (\d+)`, `(\d+)`, each, texts(int(maxWait.Max))},
		{openapi, "", name, partOf, slices.Concat(streams, prefixes)},
		{openapi, "", parameter("minutes"), inOrder, asked(t, "web/handler.go", "minutes")},
		{openapi, "", parameter("buckets"), inOrder, asked(t, "web/handler.go", "buckets")},
		{openapi, "", parameter("every"), inOrder, asked(t, "web/events.go", "every")},
		{openapi, "", parameter("limit"), inOrder, slices.Concat(asked(t, "web/observations.go", "limit"), asked(t, "web/plans.go", "limit"))},
		{"web/assets/index.html", `id="filter-reason">(.*?)</select>`, `<option>(\w+)</option>`, inOrder, reasons},
		{"web/assets/js/feed.js", `const points = (.*);`, `"(\w+)"`, inOrder, points},
		{"web/assets/js/format.js", `return \{ (.*) \}\[name\]`, `(\w+): `, inOrder, points},
		{"web/assets/js/history.js", `const reasons = (.*);`, `"(\w+)"`, asSet, reasons},
		{"web/assets/base.css", "", `data-reason="(\w+)"`, partOf, reasons},

		{"deploy/prometheus/recording.yml", "", pointLabel, partOf, points},
		{"deploy/prometheus/alerts.yml", "", reasonLabel, partOf, reasons},
		{"deploy/prometheus/alerts.yml", "", deadLabel, partOf, dead},
		{dashboard, "", pointLabel, partOf, points},
		{dashboard, "", reasonLabel, partOf, reasons},
		{"deploy/compose/test", "", pointLabel, partOf, points},

		{"deploy/redis/users.acl", `(?m)^(user heat-worker .*)$`, name, asSet, slices.Concat(streams, prefixes)},
		{"deploy/redis/users.acl", `(?m)^(user heat-replay .*)$`, name, asSet, slices.Concat(streams, texts(pipeline.LookupPrefix, setting(t, "P28_KEY_PREFIX")))},
		{"archive/importer.go", `(?s)contractNames = \[\]string\{(.*?)\}`, name, asSet, streams},
		{"cmd/processor/deadletter.go", "", `enum:"(no_plan_id[\w,]*),"`, each, texts(strings.Join(dead, ","))},
		{"cmd/processor/deadletter.go", `with this reason: (.*?)\.`, `(\w*_\w*)`, inOrder, dead},
		{"deploy/redis/users.acl", `(?m)^(user heat-operator .*)$`, `(quantum:stream:apply[a-z.]*)`, asSet, texts(streams[0], streams[3], streams[4])},
		{"ARCHITECTURE.md", `(?s)(\n## One plan's way\n.*?)\n## `, name, partOf, streams},
		{"ARCHITECTURE.md", `(?s)(\n## One plan's way\n.*?)\n## `, `(p28_\w+)`, asSet, groups},
		{contract, `(?s)(\n## The pipeline\n.*?)\n## `, `group (p28_\w+)`, asSet, groups},

		{"deploy/systemd/heat-observer.service", "", `RestartPreventExitStatus=(.*)`, each, exit},
		{"deploy/systemd/README.md", "", `ends with (\d+): the configuration is wrong`, each, exit},
		{"docs/runbook.md", "", `exit code (\d+) is a wrong configuration`, each, exit},
		{"docs/tracing.md", "", `exit code (\d+)`, each, exit},
		{"docs/verify.md", "", `refused, (\d+) when\s`, each, exit},
		{"docs/commands.md", "", `(\d+)(?: configuration\.| when the configuration is wrong| when something is wrong)`, each, exit},

		{"bench/peer.go", `'XADD', KEYS\[2\], '\*', ((?s).*?)\)\n`, `'([a-z_]+)', (?:ARGV|now|found|'apply'|'create)`, inOrder, fields},
		{"bench/peer.go", "", `'obs_point', '(\w+)'`, each, points[:1]},
		{"bench/peer.go", "", `earlyGroup = "(\w+)"`, each, groups[:1]},
		{"stream/steps_test.go", `Equal\(t, "(reason .*?)", strings.Join`, `(\w+)`, inOrder, letter}, // what is written in steps
		{"cmd/processor/verify.go", `GateGroup .*default:"(\w+)"`, `(\w+)`, each, texts(pipeline.GateGroup)},
		{"cmd/processor/verify.go", `BridgeGroup .*default:"(\w+)"`, `(\w+)`, each, texts(pipeline.BridgeGroup)},

		{"middleware/classify.go", `ReasonFailed = "(.*)"`, `(\w+)`, each, texts(event.HandlerFailed)},
		{"verify/acl.go", "", `KeyPrefix\+"([a-z:]+)"`, asSet, suffixes},
		{"stream/subscription.go", "", `KeyPrefix \+ "([a-z:]+)"`, partOf, suffixes},
		{"stream/partition.go", "", `KeyPrefix \+ "([a-z:]+)"`, partOf, suffixes},
		{"stream/redrive.go", "", `KeyPrefix \+ "([a-z:]+)"`, partOf, suffixes},
		{"app/operator.go", "", `KeyPrefix \+ "([a-z:]+)"`, partOf, suffixes},
		{"config/settings.go", `usualLookupPrefix += "(.*)"`, `(.*:)`, each, prefixes[:1]},

		{"README.md", "", `You need Redis (\d\.\d) or newer`, each, redis},
		{contract, "", `Redis (\d\.\d) or newer`, each, redis},
		{"deploy/redis/README.md", "", `Redis (\d\.\d) or newer`, each, redis},
		{"docs/verify.md", "", `older than (\d\.\d)`, each, redis},
		{"deploy/prometheus/alerts.yml", "", `late_coverage_in_time:ratio_rate15m < ([\d.]+)`, each, low},
		{"docs/runbook.md", "", `Less than (\d+) % of the late observations`, each, texts(strings.TrimPrefix(low[0], "0.") + "0")},

		{"README.md", "", `localhost:(8\d+)`, each, ports},
		{"Dockerfile", "", `(?:EXPOSE |P28_HTTP_ADDR=0\.0\.0\.0:)(\d+)`, each, ports},
		{"docker-compose.yml", "", `"127\.0\.0\.1:8\d+-8\d+:(\d+)"`, each, ports},
		{"deploy/compose/prometheus.yml", "", `port: (\d+)`, each, ports},
		{"deploy/prometheus/prometheus.yml", "", `localhost:(\d+)`, each, ports},
		{"deploy/kubernetes/heat-observer.yaml", "", `(?:P28_HTTP_ADDR: "0\.0\.0\.0:|containerPort: | port: )(\d+)`, each, ports},
		{"docs/page.md", "", `(?:localhost|127\.0\.0\.1):(\d+)`, each, ports},
		{"docs/runbook.md", "", `localhost:(8\d+)`, each, ports},
		{"docs/commands.md", "", `localhost:(8\d+)`, each, ports},
		{"config/check.go", "", `(?:127\.0\.0\.1| or )(?:):(\d+)`, each, ports},
		{"app/http.go", "", `\((\d+) is also`, each, ports},
		{"verify/ports.go", "", `\((\d+) is the apply`, each, ports},
		{"cmd/processor/verify.go", "", `default:"127\.0\.0\.1:(8\d+)"`, each, ports},
		{"cmd/processor/run.go", "", `localhost:(8\d+)`, each, ports},

		{"Dockerfile", "", `HEALTHCHECK .*--timeout=(\d+)s`, each, texts(own + 1)}, // so that what the command says is seen
	} {
		words := found(t, r.file, r.within, r.word)
		where := fmt.Sprintf("%s: %s %s", r.file, r.within, r.word)
		require.NotEmpty(t, words, where)
		switch r.how {
		case inOrder:
			require.Equal(t, r.want, words, where)
		case asSet:
			slices.Sort(words)
			require.ElementsMatch(t, r.want, slices.Compact(words), where)
		case partOf:
			require.Subset(t, r.want, words, where)
		case each:
			slices.Sort(words)
			require.Equal(t, r.want, slices.Compact(words), where)
		}
	}
}
