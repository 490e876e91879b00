package deploy

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/app"
	"heatobserver/config"
	"heatobserver/internal/redistest"
)

func TestMain(m *testing.M) { redistest.VerifyTestMain(m) }

// TestEveryMetricExists looks for each metric that a rule, a panel or a page of the documentation names at the endpoint of a real run, and for each
// recorded series in the recording rules.
func TestEveryMetricExists(t *testing.T) {
	exposed := scrape(t)
	recorded := map[string]bool{}
	expressions := map[string]string{}
	for _, r := range rules(t, "prometheus/recording.yml") {
		require.False(t, recorded[r.Record], "%s is recorded twice", r.Record)
		recorded[r.Record] = true
		expressions["rule "+r.Record] = r.Expr
	}
	for _, r := range rules(t, "prometheus/alerts.yml") {
		expressions["alert "+r.Alert] = r.Expr
	}
	for title, exprs := range panels(t) {
		for _, expr := range exprs {
			expressions["panel "+title+": "+expr] = expr
		}
	}
	used := map[string]bool{}
	for where, expr := range expressions {
		names := metricNames(expr)
		require.NotEmpty(t, names, where)
		for _, name := range names {
			used[name] = true
			if name != "up" && !recorded[name] && !exposed[name] {
				t.Errorf("%s names %s, which the observer does not expose and no rule records", where, name)
			}
		}
	}
	documented := regexp.MustCompile(`\b(?:heat_observer_\w+|p28_\w+_total)\b`)
	for file, text := range files(t) {
		if ext := path.Ext(file); ext != ".md" && ext != ".yaml" {
			continue
		}
		for _, name := range documented.FindAllString(text, -1) {
			if !exposed[name] && !exposed[name+"_bucket"] {
				t.Errorf("%s names %s, which the observer does not expose", file, name)
			}
		}
	}
	for name := range recorded {
		require.True(t, used[name], "%s is recorded for nobody", name)
	}
}

// TestCoverageBesideDelay: a reader that lags flatters the early coverage, so that none is shown without the delay.
func TestCoverageBesideDelay(t *testing.T) {
	shown := 0
	for title, exprs := range panels(t) {
		all := strings.Join(exprs, "\n")
		if strings.Contains(all, "p28:coverage:") {
			shown++
			require.Contains(t, all, "heat_observer:behind_seconds:max", title)
		}
	}
	require.Positive(t, shown)
}

func TestMetricNames(t *testing.T) {
	require.ElementsMatch(t, []string{"a_total", "p28:b:c", "heat_observer_up"},
		metricNames(`sum by (group, x_y) (rate(a_total{reason="p28_not_me"}[5m])) / on () group_left () p28:b:c and heat_observer_up > 1`))
}

// words that look like a metric in the expressions that we have.
var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	labels   = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	matchers = regexp.MustCompile(`\{[^}]*\}|\[[^\]]*\]`)
	word     = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_:]*`)
	metric   = regexp.MustCompile(`^(up$|.*[_:].*)`)
)

// metricNames are the metrics that an expression selects: words with a colon or an underscore that are no function.
func metricNames(expr string) (names []string) {
	expr = quoted.ReplaceAllString(expr, `""`)
	expr = labels.ReplaceAllString(expr, " ")
	expr = matchers.ReplaceAllString(expr, " ")
	for _, at := range word.FindAllStringIndex(expr, -1) {
		name := expr[at[0]:at[1]]
		call := strings.HasPrefix(strings.TrimSpace(expr[at[1]:]), "(")
		if metric.MatchString(name) && !call {
			names = append(names, name)
		}
	}
	return names
}

// panels are the expressions of the dashboard by the title of their panel.
func panels(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("grafana/dashboards/heat-observer.json")
	require.NoError(t, err)
	var dashboard struct {
		UID    string `json:"uid"`
		Panels []struct {
			ID          int    `json:"id"`
			Type        string `json:"type"`
			Title       string `json:"title"`
			Description string `json:"description"`
			Targets     []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	require.NoError(t, json.Unmarshal(text, &dashboard))
	require.Equal(t, "heat-observer", dashboard.UID)
	all, ids := map[string][]string{}, map[int]bool{}
	for _, p := range dashboard.Panels {
		require.False(t, ids[p.ID], "panel %d is there twice", p.ID)
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		require.NotEmpty(t, p.Targets, p.Title)
		require.NotEmpty(t, p.Description, p.Title)
		for _, target := range p.Targets {
			all[p.Title] = append(all[p.Title], target.Expr)
		}
	}
	require.Greater(t, len(all), 10)
	return all
}

// scrape are the names of all series of a run that has just begun and has seen one plan through.
func scrape(t *testing.T) map[string]bool {
	t.Helper()
	server := redistest.Start(t)
	cfg, _, err := config.Load(config.Sources{Hostname: "test", Flags: map[string]string{
		"P28_HEAT_LOOKUP_PREFIX": "quantum:harvest:heat:by_plan:", "REDIS_URL": server.URL(), "P28_HTTP_ADDR": "127.0.0.1:0", "P28_BLOCK_MS": "50",
	}})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	addr, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- app.Run(ctx, cfg, app.Options{Logger: slog.New(slog.DiscardHandler), Started: func(a net.Addr) { addr <- a }})
	}()
	defer func() {
		cancel()
		require.NoError(t, <-ended)
	}()
	var where net.Addr
	select {
	case where = <-addr:
	case <-time.After(30 * time.Second):
		t.Fatal("the observer did not start")
	}
	rdb := server.Client()
	require.NoError(t, rdb.HSet(t.Context(), "quantum:harvest:heat:by_plan:p", "heat_level", "hot").Err())
	require.NoError(t, rdb.Do(t.Context(), "XADD", "quantum:stream:apply.plan", "*", "plan_id", "p", "symbol", "S").Err())
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	var body []byte
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := client.Get("http://" + where.String() + "/metrics")
		require.NoError(t, err)
		body, err = io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		if strings.Contains(string(body), `p28_observed_total{heat_found="1",obs_point="publish_plan_post"} 1`) &&
			strings.Contains(string(body), "heat_observer_retries_total") {
			break
		}
		require.True(t, time.Now().Before(deadline), "no observation:\n%s", body)
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(body)) {
		if !strings.HasPrefix(line, "#") {
			names[word.FindString(line)] = true
		}
	}
	return names
}
