package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// rule is one rule of a file.
type rule struct {
	Record      string            `yaml:"record"`
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T, path string) (all []rule) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var file struct {
		Groups []struct {
			Rules []rule `yaml:"rules"`
		} `yaml:"groups"`
	}
	require.NoError(t, yaml.Unmarshal(text, &file))
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

func TestPrometheusFilesAreValid(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), tool(t, "promtool", true), "check", "config", "prometheus/prometheus.yml").CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestJobsAreThoseOfTheAlerts: an alert about a job that nobody scrapes fires for ever.
func TestJobsAreThoseOfTheAlerts(t *testing.T) {
	asked := map[string]bool{}
	for _, r := range rules(t, "prometheus/alerts.yml") {
		for _, m := range regexp.MustCompile(`job="([^"]*)"`).FindAllStringSubmatch(r.Expr, -1) {
			asked[m[1]] = true
		}
	}
	require.NotEmpty(t, asked)
	for _, file := range []string{"prometheus/prometheus.yml", "kubernetes/prometheus.yml", "compose/prometheus.yml"} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		var config struct {
			Jobs []struct {
				Name string `yaml:"job_name"`
			} `yaml:"scrape_configs"`
		}
		require.NoError(t, yaml.Unmarshal(text, &config))
		scraped := map[string]bool{}
		for _, j := range config.Jobs {
			scraped[j.Name] = true
		}
		for job := range asked {
			require.True(t, scraped[job], "%s has no job %s", file, job)
		}
	}
}

// TestAlerts has promtool run the unit tests of every alert.
func TestAlerts(t *testing.T) {
	tests, err := filepath.Glob("prometheus/tests/*.yml")
	require.NoError(t, err)
	out, err := exec.CommandContext(t.Context(), tool(t, "promtool", true), append([]string{"test", "rules"}, tests...)...).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// TestEveryAlertIsTriedAndExplained: a test in which it fires and one in which it does not, a section in the runbook, and a
// weight that says who is to look.
func TestEveryAlertIsTriedAndExplained(t *testing.T) {
	runbook, err := os.ReadFile("../docs/runbook.md")
	require.NoError(t, err)
	headings := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^## (\w+)$`).FindAllStringSubmatch(string(runbook), -1) {
		headings[m[1]] = true
	}
	for _, r := range rules(t, "prometheus/alerts.yml") {
		require.Equal(t, "docs/runbook.md#"+strings.ToLower(r.Alert), r.Annotations["runbook_url"])
		require.True(t, headings[r.Alert], "%s has no section in docs/runbook.md", r.Alert)
		delete(headings, r.Alert)
		require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)

		text, err := os.ReadFile("prometheus/tests/" + r.Alert + ".yml")
		require.NoError(t, err)
		var file struct {
			Tests []struct {
				Alerts []struct {
					Name     string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			} `yaml:"tests"`
		}
		require.NoError(t, yaml.Unmarshal(text, &file))
		fires, silent := 0, 0
		for _, test := range file.Tests {
			for _, a := range test.Alerts {
				require.Equal(t, r.Alert, a.Name)
				if len(a.Expected) > 0 {
					fires++
				} else {
					silent++
				}
			}
		}
		require.Positive(t, fires, "no test in which %s fires", r.Alert)
		require.Positive(t, silent, "no test in which %s does not fire", r.Alert)
	}
	require.Empty(t, headings, "sections of the runbook without an alert")
}
