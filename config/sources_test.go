package config

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func warnings(report Report) []string {
	var out []string
	for _, w := range report.Warnings {
		out = append(out, w.Error())
	}
	return out
}

func TestWarnings(t *testing.T) {
	for _, tc := range []struct {
		name    string
		environ []string
		want    []string
	}{
		{"unknown name", environ("P28_LATE_OBS_MAX_WAIT=1"),
			[]string{"P28_LATE_OBS_MAX_WAIT (environment): is no setting of the heat observer; did you mean P28_LATE_OBS_MAX_WAIT_MS?"}},
		{"unknown name like no other", environ("P28_ZZZZZZZZZZZZZZZZ=1"),
			[]string{"P28_ZZZZZZZZZZZZZZZZ (environment): is no setting of the heat observer"}},
		{"foreign names", environ("PATH=/bin", "REDIS_TOKEN=1", "p28_pprof=1", "XP28_PPROF=1"), nil},
		{"known wrong prefix", []string{"P28_HEAT_LOOKUP_PREFIX=quantum:heat:bridge:by_plan:"},
			[]string{`P28_HEAT_LOOKUP_PREFIX="quantum:heat:bridge:by_plan:" (environment): is known to be wrong, nobody writes heat under it; its usual value is quantum:harvest:heat:by_plan:`}},
		{"prefix without colon", []string{"P28_HEAT_LOOKUP_PREFIX=quantum:harvest:heat:by_plan"},
			[]string{`P28_HEAT_LOOKUP_PREFIX="quantum:harvest:heat:by_plan" (environment): does not end with a colon, and the plan ID follows at once; its usual value is quantum:harvest:heat:by_plan:`}},
		{"burst without rate", environ("P28_THROTTLE_BURST=5"),
			[]string{`P28_THROTTLE_BURST="5" (environment): has no effect while P28_THROTTLE_PER_SEC is 0`}},
		{"URL against the rest", environ("REDIS_URL=redis://a:1/2", "REDIS_HOST=b", "REDIS_PORT=1", "REDIS_DB=2"),
			[]string{
				`REDIS_HOST="b" (environment): is not used: REDIS_URL says something else and wins`,
				`REDIS_PORT="1" (environment): is not used: REDIS_URL says something else and wins`,
			}},
		{"parameters of a URL", environ("REDIS_URL=redis://a:1?db=3&socket_timeout=5"),
			[]string{`REDIS_URL="redis://a:1/3" (environment): has parameters after the ? that are not used here; only db is`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, report := load(t, Sources{Environ: tc.environ})
			if diff := cmp.Diff(tc.want, warnings(report)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if (report.Strict() != nil) != (len(tc.want) > 0) {
				t.Errorf("strict: %v", report.Strict())
			}
		})
	}
}

func TestEnvFileWarnings(t *testing.T) {
	path := writeFile(t, "# shared\nexport P28_PPROF=true\nAPI_KEY=abc\nP28_LATE_OBS_POLL 5\nP28_LATE_OBS_POL_MS=5\nP28_BLOCK_MS=\"100\nP28_PPROF=1\n")
	cfg, report, err := Load(Sources{Environ: minimal, EnvFile: path})
	want := []string{
		"P28_LATE_OBS_POLL (" + path + ":4): the line has no = and is ignored, as systemd does",
		"P28_PPROF (" + path + ":2): is ignored, as systemd does, for what stands before the name; write the name alone, without export",
		"P28_LATE_OBS_POL_MS (" + path + ":5): is no setting of the heat observer; did you mean P28_LATE_OBS_POLL_MS?",
		path + ":6: quotes that begin in this value are never closed, so that the rest of the file became part of it",
	}
	if diff := cmp.Diff(want, warnings(report)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err == nil || !strings.Contains(err.Error(), "P28_BLOCK_MS=") || cfg.HTTP.Pprof {
		t.Errorf("error %v, pprof %v", err, cfg.HTTP.Pprof)
	}
}

func TestUnknownFlagIsAnError(t *testing.T) {
	_, _, err := Load(Sources{Environ: minimal, Flags: map[string]string{"P28_LATE_OBS_POL_MS": "1"}})
	var problem *Problem
	if !errors.As(err, &problem) || problem.Name != "P28_LATE_OBS_POL_MS" || !strings.Contains(problem.Text, "did you mean P28_LATE_OBS_POLL_MS?") {
		t.Errorf("error %v", err)
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for _, tc := range []struct {
		name string
		src  Sources
		want string
	}{
		{"no env file", Sources{Environ: minimal, EnvFile: nowhere}, "cannot be read"},
		{"env file that is a directory", Sources{Environ: minimal, EnvFile: t.TempDir()}, "cannot be read"},
		{"env file with a NUL", Sources{Environ: minimal, EnvFile: writeFile(t, "a=1\nb=\x00")}, "line 2: holds a NUL byte"},
		{"large env file", Sources{Environ: minimal, EnvFile: writeFile(t, strings.Repeat("#", maxFile+1))}, "larger than 1048576 bytes"},
		{"no secret file", Sources{Environ: environ("REDIS_PASSWORD_FILE=" + nowhere)}, `REDIS_PASSWORD_FILE="` + nowhere + `" (environment): cannot be read`},
		{"no path", Sources{Environ: environ("REDIS_PASSWORD_FILE=x")},
			`REDIS_PASSWORD_FILE="***" (environment): cannot be read: no such file or directory; what begins without a / is not shown`},
		{"empty secret file", Sources{Environ: environ("REDIS_PASSWORD_FILE=" + writeFile(t, "\n"))}, "names an empty file"},
		{"secret twice", Sources{Environ: environ("REDIS_PASSWORD=a", "REDIS_PASSWORD_FILE="+writeFile(t, "b"))},
			`REDIS_PASSWORD="***" (environment): is given twice, REDIS_PASSWORD_FILE (environment) says it too; leave one of them out`},
	} {
		_, _, err := Load(tc.src)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.want)
		}
	}
}

// TestSecretFileOfAStrongerSource: a value and the file that holds it are two ways to say one thing, so that the stronger
// source wins in whichever way it says it.
func TestSecretFileOfAStrongerSource(t *testing.T) {
	worker, operator := writeFile(t, "worker"), writeFile(t, "operator")
	for _, tc := range []struct {
		name, envFile string
		environ       []string
		flags         map[string]string
		want          string // user and password; "" when both are given by one source
	}{
		{"file over value", "REDIS_USERNAME=heat-worker\nREDIS_PASSWORD=worker\n",
			[]string{"REDIS_USERNAME=heat-operator", "REDIS_PASSWORD_FILE=" + operator}, nil, "heat-operator:operator"},
		{"value over file", "REDIS_PASSWORD_FILE=" + worker + "\n", []string{"REDIS_PASSWORD=operator"}, nil, ":operator"},
		{"file over value over file", "REDIS_PASSWORD_FILE=" + worker + "\n", []string{"REDIS_PASSWORD=other"},
			map[string]string{"REDIS_PASSWORD_FILE": operator}, ":operator"},
		{"an empty one says nothing", "REDIS_PASSWORD=worker\n", []string{"REDIS_PASSWORD_FILE="}, nil, ":worker"},
		{"both in one source", "REDIS_PASSWORD=worker\n", []string{"REDIS_PASSWORD=other", "REDIS_PASSWORD_FILE=" + operator}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg, _, err := Load(Sources{EnvFile: writeFile(t, tc.envFile), Environ: environ(tc.environ...), Flags: tc.flags})
			if server := cfg.Redis.Server(); err == nil && server.Username+":"+server.Password != tc.want {
				t.Errorf("%s:%s, want %s", server.Username, server.Password, tc.want)
			}
			if (err == nil) != (tc.want != "") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestSecretFile(t *testing.T) {
	for text, want := range map[string]string{"pw": "pw", "pw\n": "pw", "pw\r\n": "pw", "pw\n\n": "pw\n", " pw ": " pw "} {
		cfg, report := load(t, Sources{Environ: environ("REDIS_PASSWORD_FILE=" + writeFile(t, text))})
		if cfg.Redis.password != want {
			t.Errorf("%q is read as %q", text, cfg.Redis.password)
		}
		if v := valueOf(t, report, "REDIS_PASSWORD"); v.Text != "***" || v.Source != "REDIS_PASSWORD_FILE, environment" {
			t.Errorf("shown as %q from %s", v.Text, v.Source)
		}
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{
		"P28_LATE_MAX_WAIT_MS": "P28_LATE_OBS_MAX_WAIT_MS",
		"P28_HEAT_PREFIX":      "P28_KEY_PREFIX",
		"P28_HTTP_ADDRESS":     "P28_HTTP_ADDR",
		"p28_pprof":            "P28_PPROF",
		"SOMETHING_ELSE":       "",
	} {
		if got := Nearest(name, knownNames()); got != want {
			t.Errorf("nearest to %s is %q, want %q", name, got, want)
		}
	}
	if d := distance("kitten", "sitting"); d != 3 {
		t.Errorf("distance %d, want 3", d)
	}
}
