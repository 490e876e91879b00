package config

import (
	"fmt"
	"strings"
	"testing"
)

const secret = "hunter2-s3cret"

// everything is all that Load may let people see.
func everything(report Report, err error) string {
	var b strings.Builder
	fmt.Fprintln(&b, err)
	for _, v := range report.Values {
		fmt.Fprintln(&b, v.Setting.Name, v.Text, v.Source)
	}
	for _, w := range report.Warnings {
		fmt.Fprintln(&b, w)
	}
	return b.String()
}

// TestSecretsStaySecret puts a secret wherever one may end up, by right or by mistake.
func TestSecretsStaySecret(t *testing.T) {
	for _, tc := range []struct {
		name string
		src  Sources
	}{
		{"password", Sources{Environ: environ("REDIS_PASSWORD=" + secret)}},
		{"password by flag", Sources{Environ: minimal, Flags: map[string]string{"REDIS_PASSWORD": secret}}},
		{"password in a file", Sources{Environ: environ("REDIS_PASSWORD_FILE=" + writeFile(t, secret+"\n"))}},
		{"password for the path of a file", Sources{Environ: environ("REDIS_PASSWORD_FILE=" + secret)}},
		{"password for the path of a file by flag", Sources{Environ: minimal, Flags: map[string]string{"REDIS_PASSWORD_FILE": secret + "/+="}}},
		{"user with a password for the path of a file", Sources{Environ: environ("REDIS_USERNAME_FILE=user:" + secret)}},
		{"key for the path of a file", Sources{Environ: environ("REDIS_TLS_KEY_FILE=-----BEGIN PRIVATE KEY-----\nMC4/" + secret)}},
		{"key for the path of a certificate", Sources{Environ: environ("REDIS_TLS_CERT_FILE=-----BEGIN PRIVATE KEY-----\nMC4/" + secret)}},
		{"password twice", Sources{Environ: environ("REDIS_PASSWORD="+secret, "REDIS_PASSWORD_FILE=/nowhere")}},
		{"password in a URL", Sources{Environ: environ("REDIS_URL=redis://user:" + secret + "@host:6379/1")}},
		{"password as the user of a URL", Sources{Environ: environ("REDIS_URL=redis://" + secret + "@host:6379/1")}},
		{"password in a URL's parameters", Sources{Environ: environ("REDIS_URL=redis://host?password=" + secret)}},
		{"URL of a wrong kind", Sources{Environ: environ("REDIS_URL=http://user:" + secret + "@host")}},
		{"URL that cannot be parsed", Sources{Environ: environ("REDIS_URL=redis://user:" + secret + "%zz@host")}},
		{"URL with a wrong port", Sources{Environ: environ("REDIS_URL=redis://user:" + secret + "/x@host")}},
		{"URL with a wrong database", Sources{Environ: environ("REDIS_URL=redis://host/" + secret)}},
		{"URL as a host", Sources{Environ: environ("REDIS_HOST=user:" + secret + "@host")}},
		{"URL as a sentinel", Sources{Environ: environ("REDIS_SENTINELS=user:" + secret + "@host:6379")}},
		{"key", Sources{Environ: environ("REDIS_TLS_KEY=" + secret)}},
		{"key for a certificate", Sources{Environ: environ("REDIS_TLS_CERT=" + secret)}},
		{"key for an authority", Sources{Environ: environ("REDIS_TLS_CA=" + secret)}},
		{"foreign variables", Sources{Environ: environ("BINANCE_KEY="+secret, secret+"=1", "REDIS_TOKEN="+secret)}},
		{"unknown variable of ours", Sources{Environ: environ("P28_TOKEN=" + secret)}},
		{"foreign lines in a file", Sources{Environ: minimal, EnvFile: writeFile(t, "export API="+secret+"\n"+secret+"\nP28_X "+secret+"=1\nP28_PPROF "+secret+"\nA=\""+secret)}},
		{"a file that is no text", Sources{Environ: minimal, EnvFile: writeFile(t, "API="+secret+"\xff\n")}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, report, err := Load(tc.src)
			if shown := everything(report, err); strings.Contains(shown, secret) {
				t.Errorf("the secret is shown:\n%s", shown)
			}
		})
	}
}

func TestMasks(t *testing.T) {
	for _, tc := range []struct{ name, given, want string }{
		{"REDIS_PASSWORD", secret, "***"},
		{"REDIS_URL", "redis://user:" + secret + "@host:1/2", "redis://user:***@host:1/2"},
		{"REDIS_URL", "rediss://:" + secret + "@host", "rediss://:***@host:6379"},
		{"REDIS_URL", "redis://host", "redis://host:6379"},
		{"REDIS_URL", "redis://" + secret + "@host", "redis://***@host:6379"},
		{"REDIS_USERNAME", "observer", "observer"},
	} {
		_, report := load(t, Sources{Environ: environ(tc.name + "=" + tc.given)})
		if got := valueOf(t, report, tc.name).Text; got != tc.want {
			t.Errorf("%s=%s is shown as %q, want %q", tc.name, tc.given, got, tc.want)
		}
	}
}
