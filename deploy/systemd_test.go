package deploy

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/config"
)

// tool is the path of a program. Without it the test is skipped, or fails in CI where it must be there.
func tool(t *testing.T, name string, must bool) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case must && os.Getenv("CI") == "true":
		t.Fatalf("%s is not on the PATH: make test installs it on Debian and Ubuntu", name)
	default:
		t.Skipf("%s is not on the PATH", name)
	}
	return path
}

// installed copies the units to a directory, with a program that exists in the place of the binary.
func installed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	units, err := filepath.Glob("systemd/*.[st]*")
	require.NoError(t, err)
	require.Len(t, units, 3)
	self, err := os.Executable()
	require.NoError(t, err)
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		require.NoError(t, err)
		text = []byte(strings.ReplaceAll(string(text), "/usr/local/bin/processor", self))
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(unit)), text, 0o600))
	}
	return dir
}

func TestUnitsAreValid(t *testing.T) {
	analyze := tool(t, "systemd-analyze", false)
	dir := installed(t)
	for _, unit := range []string{"heat-observer.service", "heat-observer-advise.service", "heat-observer-advise.timer"} {
		out, err := exec.CommandContext(t.Context(), analyze, "verify", filepath.Join(dir, unit)).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NotContains(t, string(out), dir, "a warning about a unit of ours")
	}
}

// TestUnitsAreConfined: 2.0 of 10 and less is what systemd calls OK.
func TestUnitsAreConfined(t *testing.T) {
	analyze := tool(t, "systemd-analyze", false)
	dir := installed(t)
	for _, unit := range []string{"heat-observer.service", "heat-observer-advise.service"} {
		out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", "--no-pager",
			filepath.Join(dir, unit)).CombinedOutput()
		if strings.Contains(string(out), "unrecognized option") {
			t.Skip("systemd before 250 does not look at files")
		}
		require.NoError(t, err, "%s", out)
	}
}

// directives are those of a unit, the last of each name.
func directives(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	all := map[string]string{}
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(name, "#") {
			all[name] = value
		}
	}
	return all
}

// TestUnitFitsTheProgram: what the unit allows is what the program needs.
func TestUnitFitsTheProgram(t *testing.T) {
	unit := directives(t, "systemd/heat-observer.service")
	cfg, report, err := config.Load(config.Sources{EnvFile: "systemd/heat-observer.env", Hostname: "h"})
	require.NoError(t, err, "the example is a good configuration")
	require.Empty(t, report.Warnings)
	seconds := func(name string) time.Duration {
		d, err := time.ParseDuration(unit[name] + "s")
		require.NoError(t, err, name)
		return d
	}
	require.Equal(t, "notify", unit["Type"])
	// The router waits for the drain, a read that is blocked, and 3 s more; the HTTP server has another second.
	require.Greater(t, seconds("TimeoutStopSec"), cfg.DrainTimeout+cfg.Read.Block+5*time.Second)
	require.Equal(t, "78", unit["RestartPreventExitStatus"])
	require.Equal(t, 78, config.ExitConfig)
	require.Equal(t, "infinity", unit["TimeoutStartSec"], "without Redis a start lasts")
	require.GreaterOrEqual(t, seconds("WatchdogSec"), 20*time.Second, "longer than a busy machine holds its breath")
}
