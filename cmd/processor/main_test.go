package main

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"heatobserver/config"
	"heatobserver/internal/redistest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asProcessor has the binary of the tests be the processor, which saves building it.
const asProcessor = "TEST_BINARY_IS_PROCESSOR"

func TestMain(m *testing.M) {
	if os.Getenv(asProcessor) != "" {
		main()
	}
	redistest.VerifyTestMain(m)
}

// usual is the least environment, with a name that does not depend on the machine.
var usual = []string{"P28_HEAT_LOOKUP_PREFIX=quantum:harvest:heat:by_plan:", "P28_CONSUMER=worker-7"}

// processor carries out one command line.
func processor(t *testing.T, environ []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &system{stdout: &out, stderr: &errs, environ: environ})
	return code, out.String(), errs.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

func TestExitCodes(t *testing.T) {
	for _, tc := range []struct {
		name   string
		args   []string
		want   int
		stderr string // a part of it; "" means that there is nothing
	}{
		{"help", []string{"--help"}, 0, ""},
		{"help of a subcommand", []string{"config", "--help"}, 0, ""},
		{"version", []string{"version"}, 0, ""},
		{"version as a flag", []string{"--version"}, 0, ""},
		{"good settings", []string{"config"}, 0, ""},
		{"flag with a hyphen in its value", []string{"config", "--consumer", "-24h"}, 0, ""},

		{"nothing", nil, 2, `expected one of "run"`},
		{"unknown subcommand", []string{"conf"}, 2, `did you mean "config"?`},
		{"unknown flag", []string{"config", "--jsn"}, 2, "see processor config --help"},
		{"argument too many", []string{"config", "now"}, 2, "unexpected argument now"},

		{"flag near to a setting", []string{"config", "--late-obs-poll", "5"}, 78, "--late-obs-poll is no setting; did you mean --late-obs-poll-ms?"},
		{"flag of a setting where none is taken", []string{"version", "--pprof"}, 2, "--pprof is a setting; it belongs behind a command that takes settings"},
		{"flag of a setting before the command", []string{"--redis-host", "r1", "config"}, 2, "--redis-host is a setting; it belongs behind a command"},
		{"flag with the prefix", []string{"config", "--p28-pprof"}, 78, "did you mean --pprof?"},
		{"wrong value", []string{"config", "--late-obs-poll-ms=0"}, 78, `P28_LATE_OBS_POLL_MS="0" (flag --late-obs-poll-ms): is out of range`},
		{"negative value", []string{"config", "--obs-maxlen", "-5"}, 78, `P28_OBS_MAXLEN="-5"`},
		{"wrong switch", []string{"config", "--pprof=maybe"}, 78, `P28_PPROF="maybe" (flag --pprof): is neither yes nor no`},
		{"no env file", []string{"config", "--env-file", "/nowhere"}, 78, `--env-file="/nowhere": cannot be read`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stdout, stderr := processor(t, usual, tc.args...)
			if code != tc.want {
				t.Errorf("exit code %d, want %d", code, tc.want)
			}
			if tc.stderr == "" && stderr != "" || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("standard error %q, want %q", stderr, tc.stderr)
			}
			if tc.want == 0 && stdout == "" {
				t.Error("nothing on standard output")
			}
		})
	}
}

func TestErrorsHaveExitCodes(t *testing.T) {
	cause := errors.New("cause")
	for _, tc := range []struct {
		err  error
		want int
	}{
		{cause, config.ExitFailed},
		{withCode(config.ExitNotCarriedOut, cause), 2},
		{&silentError{withCode(config.ExitConfig, cause)}, 78},
	} {
		if got := exitCode(tc.err); got != tc.want || !errors.Is(tc.err, cause) {
			t.Errorf("%#v: exit code %d, want %d; unwraps %v", tc.err, got, tc.want, errors.Is(tc.err, cause))
		}
	}
	if withCode(config.ExitConfig, nil) != nil {
		t.Error("no error became one")
	}
}

func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "80") // kong wraps to the terminal otherwise
	_, root, _ := processor(t, nil, "--help")
	golden(t, "help.txt", root)
	_, help, _ := processor(t, nil, "config", "--help")
	for _, s := range config.Settings() {
		if !strings.Contains(help, "--"+s.Flag()) {
			t.Errorf("the help of config lacks --%s", s.Flag())
		}
	}
}
