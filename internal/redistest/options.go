package redistest

import (
	"fmt"
	"strings"
)

// Option changes how Start sets up the server.
type Option func(*settings)

type settings struct {
	config   []string // lines of redis.conf, later ones win
	password string   // of the default user
	admin    string   // password of the administrator that WithACL adds, or ""
	tls      *tlsFiles
	dump     string // RDB file that the server begins with, or ""
}

// WithConfig adds a line to redis.conf. The value is written as it is, so one of several words needs no
// quotes ("client-output-buffer-limit", "pubsub 1mb 1mb 0") and an empty one is `""`.
func WithConfig(key, value string) Option {
	return func(s *settings) { s.config = append(s.config, key+" "+value) }
}

// WithAOF keeps an append-only file in the server's directory; fsync is "always", "everysec" or "no". Only
// with it do Restart and a start after Kill find the data again.
func WithAOF(fsync string) Option {
	return func(s *settings) {
		s.config = append(s.config, "appendonly yes", "appendfsync "+fsync)
	}
}

// WithDump has the server begin with a copy of an RDB file, such as SAVE of another server left in its Dir.
func WithDump(file string) Option {
	return func(s *settings) { s.dump = file }
}

// WithPassword sets the password of the default user.
func WithPassword(password string) Option {
	return func(s *settings) {
		s.password = password
		s.config = append(s.config, "requirepass "+password)
	}
}

// adminUser is the name under which the package itself talks to a server that has ACL users.
const adminUser = "redistest"

// WithACL adds a user, or changes the one named "default", with the rules of ACL SETUSER ("on", ">secret",
// "~quantum:*", "+@read"). The methods of Server then use an administrator of their own, so that the default
// user may be switched off; connect as the user with URLFor or with the options of NewClient.
func WithACL(user string, rules ...string) Option {
	return func(s *settings) {
		s.config = append(s.config, fmt.Sprintf("user %s %s", user, strings.Join(rules, " ")))
		if s.admin == "" {
			s.admin = "administrator"
			s.config = append(s.config, fmt.Sprintf("user %s on >%s ~* &* +@all", adminUser, s.admin))
		}
	}
}

// user and pass are the credentials of the package's own connections; both are empty when none are needed.
func (s *settings) credentials() (user, pass string) {
	if s.admin != "" {
		return adminUser, s.admin
	}
	return "", s.password
}

// redisConf is the text of the configuration file. DEBUG is on because tests need DEBUG SLEEP and the like.
func (s *settings) redisConf(port int, dir string) string {
	lines := append([]string{
		"bind 127.0.0.1",
		fmt.Sprintf("port %d", port),
		fmt.Sprintf("dir %q", dir),
		`save ""`,
		"appendonly no",
		"daemonize no",
		"enable-debug-command local",
	}, s.config...)
	if s.tls != nil {
		lines = append(lines, s.tls.lines(port)...)
	}
	return strings.Join(lines, "\n") + "\n"
}
