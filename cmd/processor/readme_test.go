package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"heatobserver/internal/redistest"
)

// readmeCommands are the commands in the README's blocks of shell, in order; a quoted script is one command.
func readmeCommands(t *testing.T) (commands []string) {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		command := ""
		for line := range strings.Lines(block[1]) {
			command += line
			if strings.Count(command, "'")%2 == 0 && strings.TrimSpace(command) != "" {
				commands = append(commands, strings.TrimSpace(command))
				command = ""
			}
		}
		require.Empty(t, strings.TrimSpace(command), "a quote that does not end")
	}
	return commands
}

// TestREADME does what the README tells a reader to type, in its order and on a Redis of its own; a command that it knows no
// way to try is a failure. The demo and the tests have tests of their own, of which only the names are checked here.
func TestREADME(t *testing.T) {
	server := redistest.Start(t)
	client := server.NewClient(nil)
	var observer *background
	environ := []string{fmt.Sprintf("REDIS_URL=%s", server.URL()), "P28_HTTP_ADDR=127.0.0.1:0", "P28_LOG_FORMAT=text"}
	tried := map[string]int{}

	shell := func(command string) string {
		t.Helper()
		_, port, _ := strings.Cut(server.Addr(), ":")
		if observer != nil {
			command = strings.ReplaceAll(command, "localhost:8043", observer.addr())
		}
		script := "set -euo pipefail\nredis-cli() { command redis-cli -p " + port + " \"$@\"; }\n" + command
		out, err := exec.CommandContext(t.Context(), "bash", "-c", script).CombinedOutput()
		require.NoError(t, err, "%s\n%s", command, out)
		return string(out)
	}
	observations := func(n int64) {
		t.Helper()
		eventually(t, "observations", func() error {
			if got := client.XLen(t.Context(), "quantum:stream:apply.heat.observed").Val(); got != n {
				return fmt.Errorf("%d instead of %d", got, n)
			}
			return nil
		})
	}

	for _, command := range readmeCommands(t) {
		bare, _, _ := strings.Cut(command, "  #")
		words := strings.Fields(bare)
		kind := words[0]
		switch {
		case kind == "export":
			environ = append(environ, words[1])
		case strings.HasPrefix(bare, "go run ./cmd/processor run"):
			kind = "run"
			observer = launch(t, environ, words[3:]...)
			observer.addr()
		case strings.HasPrefix(bare, "go run ./cmd/processor replay "):
			kind = "replay"
			page := filepath.Join(t.TempDir(), "report.html")
			here := strings.NewReplacer("replay/testdata", "../../replay/testdata", "report.html", page).Replace(bare)
			code, stdout, stderr := processor(t, environ, strings.Fields(here)[3:]...)
			require.Zero(t, code, stderr)
			require.Contains(t, stdout, "96.21 %", "the picture below it shows another history")
			report, err := os.ReadFile(page)
			require.NoError(t, err)
			require.Contains(t, string(report), "96.21 %", "the page shows another history than the terminal")
		case strings.HasPrefix(bare, "go run ./cmd/processor "):
			kind = words[3]
			code, _, stderr := processor(t, environ, append(words[3:], "--help")...)
			require.Zero(t, code, stderr)
		case strings.HasPrefix(bare, "redis-cli XADD"):
			kind = "XADD"
			shell(command)
			observations(1) // early; the reader of a README is slower than the observer
		case strings.HasPrefix(bare, "redis-cli HSET"):
			kind = "HSET"
			shell(command)
			observations(2)
		case kind == "redis-cli":
			require.Equal(t, "create_apply_plan\x1c0 1\npublish_plan_post\x1c1 1\n", shell(command))
		case kind == "curl" && strings.Contains(command, "/metrics"):
			require.Contains(t, shell(command), `p28_heat_reason_total{obs_point="publish_plan_post",reason="ok"} 1`)
		case kind == "curl":
			shell(strings.Replace(command, "curl", "curl --fail", 1))
		case kind == "make":
			out, err := exec.CommandContext(t.Context(), "make", "-C", "../..", "--dry-run", words[1]).CombinedOutput()
			require.NoError(t, err, "%s", out)
		case kind == "go" && words[1] == "test":
			out, err := exec.CommandContext(t.Context(), "go", "test", "-list", words[4], "../../"+words[5]).Output()
			require.NoError(t, err)
			require.Contains(t, string(out), words[4])
		default:
			t.Errorf("no test tries %q", command)
		}
		tried[kind]++
	}
	observer.end()
	for _, kind := range []string{"demo", "make", "export", "run", "XADD", "HSET", "redis-cli", "curl", "replay"} {
		require.Positive(t, tried[kind], "the README lost its %s", kind)
	}
}
