package config

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// systemdParser reads environment.d files with the parser that systemd has for EnvironmentFile=, expands
// variables and prints what came out.
const systemdParser = "/usr/lib/systemd/user-environment-generators/30-systemd-environment-d-generator"

// TestParseEnvFileLikeSystemd compares the parser with systemd's own on files drawn at random. A dollar sign
// is left out, because environment.d expands it, a backslash in comments, because it meant something until
// systemd 254, and an empty value, because environment.d passes over it.
func TestParseEnvFileLikeSystemd(t *testing.T) {
	if _, err := os.Stat(systemdParser); err != nil {
		t.Skip("systemd is not installed here")
	}
	rng := rand.New(rand.NewPCG(28, 8043))
	seen := 0
	for range 120 {
		alphabet := "ab=== \t\n\n'\"\\\\"
		if rng.IntN(3) == 0 {
			alphabet = "ab=== \t\n\n'\"#;\r"
		}
		var text []byte
		for range 1 + rng.IntN(3) {
			text = append(text, "\nab="...)
			for range rng.IntN(20) {
				text = append(text, alphabet[rng.IntN(len(alphabet))])
			}
		}
		got := make(map[string]string)
		file, err := ParseEnvFile(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, a := range file.Assignments {
			if strings.Trim(a.Name, "ab") == "" && a.Value != "" {
				got[a.Name] = a.Value
			}
		}
		want := readWithSystemd(t, text)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-systemd +got):\n%s", text, diff)
		}
		seen += len(want)
	}
	if seen < 100 {
		t.Errorf("only %d assignments were compared", seen)
	}
}

func readWithSystemd(t *testing.T, text []byte) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "environment.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "environment.d", "50.conf"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), systemdParser)
	cmd.Env = []string{"HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "SYSTEMD_LOG_LEVEL=crit"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run systemd's parser on %q: %v", text, err)
	}
	values := make(map[string]string)
	for line := range bytes.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), "=")
		if strings.Trim(name, "ab") == "" && value != "" {
			values[name] = unquoteSystemd(value)
		}
	}
	return values
}

// unquoteSystemd undoes what systemd does to a value that it prints.
func unquoteSystemd(text string) string {
	if !strings.HasPrefix(text, `"`) {
		return text
	}
	text = text[1 : len(text)-1]
	return strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\"`, `"`, `\\`, `\`).Replace(text)
}
