package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Sources are where settings come from, the weakest first.
type Sources struct {
	EnvFile  string            // path of a file in systemd's EnvironmentFile syntax, "" = none
	Environ  []string          // NAME=value, as os.Environ gives it
	Flags    map[string]string // by variable: Flags["P28_LATE_OBS_POLL_MS"]
	Hostname string            // default of P28_CONSUMER, "" = os.Hostname
}

// Value is what one setting came to.
type Value struct {
	Setting Setting
	Text    string // as it is shown: secrets are masked, certificates are only counted
	Source  string // "default", "environment", "flag --redis-host", "file:line" or "container"
}

// SourceDefault is the Value.Source of a setting that nobody gave.
const SourceDefault = "default"

// Report says where every value came from and what should be looked at. It holds no secret.
type Report struct {
	Values   []Value    // of every setting, in the order of Settings
	Warnings []*Problem // none of them stops the process, unless Strict is asked
}

// Strict joins the warnings into one error, nil when there are none.
func (r Report) Strict() error {
	errs := make([]error, len(r.Warnings))
	for i, w := range r.Warnings {
		errs[i] = w
	}
	return errors.Join(errs...)
}

// Load reads all sources. The error joins one *Problem for each thing that is wrong; the Config is then not to
// be used, but the Report is complete as far as values could be read.
func Load(src Sources) (Config, Report, error) {
	l := newLoader()
	if src.EnvFile != "" {
		l.envFile(src.EnvFile)
	}
	l.rank++
	for _, pair := range src.Environ {
		if name, value, ok := strings.Cut(pair, "="); ok {
			l.take(name, value, "environment", l.warn)
		}
	}
	l.rank++
	for _, name := range slices.Sorted(maps.Keys(src.Flags)) {
		l.take(name, src.Flags[name], "flag --"+FlagName(name), l.fail)
	}
	l.resolve(src.Hostname)
	l.relations()
	return l.config, l.report, errors.Join(l.errs...)
}

// given is what a source said; the zero value means that none did.
type given struct {
	text, source string
	rank         int // the higher wins
}

// yield forgets g when a stronger source gives the same setting in the other way: the value, or the file that holds it.
func (g *given) yield(other given) {
	if other.text != "" && g.rank < other.rank {
		*g = given{}
	}
}

type loader struct {
	config Config
	report Report
	errs   []error
	values []given         // by index of table
	files  []given         // the _FILE companions, by index of table
	rank   int             // of the source that is being read
	wrong  map[string]bool // variables whose value could not be used; relations leave them out
}

func newLoader() *loader {
	return &loader{
		values: make([]given, len(table)),
		files:  make([]given, len(table)),
		wrong:  make(map[string]bool),
	}
}

func (l *loader) fail(p *Problem) { l.errs = append(l.errs, p) }
func (l *loader) warn(p *Problem) { l.report.Warnings = append(l.report.Warnings, p) }

// take notes a value. A name that is not ours is passed over; one that looks like ours goes to unknown.
func (l *loader) take(name, value, source string, unknown func(*Problem)) {
	i, file, ok := byName(name)
	switch {
	case ok && file:
		l.files[i] = given{value, source, l.rank}
		l.values[i].yield(l.files[i])
	case ok:
		l.values[i] = given{value, source, l.rank}
		l.files[i].yield(l.values[i])
	case strings.HasPrefix(name, ownPrefix) && isName(name):
		unknown(unknownName(name, source))
	}
}

// maxFile bounds what is read of an env file or of the file of a secret, in bytes.
const maxFile = 1 << 20

func (l *loader) envFile(path string) {
	data, err := readFile(path)
	if err != nil {
		l.fail(&Problem{Name: "--env-file", Value: path, Text: "cannot be read: " + err.Error()})
		return
	}
	file, err := ParseEnvFile(data)
	if err != nil {
		l.fail(&Problem{Name: "--env-file", Value: path, Text: err.Error() + "; systemd refuses such a file as well"})
		return
	}
	for _, stray := range file.strays {
		name, _, _ := strings.Cut(strings.TrimPrefix(stray.text, "export "), " ")
		if isOurs(name) {
			l.warn(&Problem{Name: name, Source: fmt.Sprintf("%s:%d", path, stray.line),
				Text: "the line has no = and is ignored, as systemd does"})
		}
	}
	for _, a := range file.Assignments {
		source := fmt.Sprintf("%s:%d", path, a.line)
		if a.open {
			l.warn(&Problem{Source: source,
				Text: "quotes that begin in this value are never closed, so that the rest of the file became part of it"})
		}
		if bare := bareName(a.Name); bare != a.Name && isOurs(bare) {
			l.warn(&Problem{Name: bare, Source: source,
				Text: "is ignored, as systemd does, for what stands before the name; write the name alone, without export"})
			continue
		}
		l.take(a.Name, a.Value, source, l.warn)
	}
}

// bareName leaves out what people write before a name and systemd takes for a part of it.
func bareName(name string) string {
	name = strings.TrimPrefix(name, "\ufeff")
	return strings.TrimLeft(strings.TrimPrefix(name, "export"), " \t")
}

func isOurs(name string) bool {
	_, _, known := byName(name)
	return known || strings.HasPrefix(name, ownPrefix) && isName(name)
}

func (l *loader) resolve(hostname string) {
	for i, s := range table {
		text, source, ok := l.text(i)
		if !ok && s.Name == "P28_CONSUMER" {
			if text, ok = hostname, true; text == "" {
				text, ok = l.hostname()
			}
		}
		if ok {
			if err := s.parse(&l.config, text); err != nil {
				l.reject(i, text, source, err)
			} else {
				text = s.format(&l.config)
			}
			if s.Name == "GOGC" {
				l.config.Runtime.GCGiven = source != SourceDefault
			}
		}
		l.report.Values = append(l.report.Values, Value{Setting: s, Text: shown(s, text), Source: source})
	}
}

// text is what setting i is to be parsed from; ok is false when there is nothing, or nothing that is of use.
func (l *loader) text(i int) (text, source string, ok bool) {
	s, value, file := table[i], l.values[i], l.files[i]
	switch {
	case file.text != "" && value.text != "":
		l.reject(i, value.text, value.source, problemf("is given twice, %s (%s) says it too; leave one of them out", s.FileName(), file.source))
		return value.text, value.source, false
	case file.text != "":
		source = s.FileName() + ", " + file.source
		text, err := readValue(file.text)
		if err != nil {
			l.wrong[s.Name] = true
			p := &Problem{Name: s.FileName(), Value: file.text, Source: file.source, Text: err.Error()}
			if !filepath.IsAbs(file.text) { // a password or a key that was given in place of a path
				p.Value, p.Text = mask, p.Text+"; what begins without a / is not shown, since it may be the value itself"
			}
			l.fail(p)
			return "", source, false
		}
		return text, source, true
	case s.required && value.text == "":
		l.wrong[s.Name] = true
		l.fail(missing(s, value.source))
		return "", orDefault(value.source), false
	case value.source == "" || value.text == "" && s.mayBeEmpty():
		return s.Default, orDefault(value.source), s.Default != ""
	case strings.HasPrefix(value.source, "flag ") && s.Secret:
		l.warn(&Problem{Name: s.Name, Source: value.source,
			Text: "is visible to every user of this machine; give it by the environment or a file"})
	}
	return value.text, value.source, true
}

func orDefault(source string) string {
	if source == "" {
		return SourceDefault
	}
	return source
}

// missing is the error for a required setting. P28_HEAT_LOOKUP_PREFIX is the only one.
func missing(s Setting, source string) *Problem {
	return &Problem{Name: s.Name, Source: source, Text: "is missing: it has no default, because a wrong value looks like heat " +
		"that never comes; its usual value is " + usualLookupPrefix}
}

func (l *loader) reject(i int, text, source string, err error) {
	s := table[i]
	l.wrong[s.Name] = true
	l.fail(&Problem{Name: s.Name, Value: shown(s, text), Source: source, Text: err.Error()})
}

func (l *loader) hostname() (name string, ok bool) {
	name, err := os.Hostname()
	if err != nil || name == "" {
		l.wrong["P28_CONSUMER"] = true
		l.fail(&Problem{Name: "P28_CONSUMER", Text: "is not given and this machine has no host name to stand for it"})
		return "", false
	}
	return name, true
}

// readValue is the content of a file that holds one value, without the line end that editors put there.
func readValue(path string) (string, error) {
	data, err := readFile(path)
	if err != nil {
		return "", problemf("cannot be read: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if text == "" {
		return "", problemf("names an empty file")
	}
	return text, nil
}

// readFile gives errors without the path, which may be a secret in the wrong place.
func readFile(path string) (_ []byte, err error) {
	defer func() {
		if in, ok := errors.AsType[*fs.PathError](err); ok {
			err = in.Err
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(f, maxFile+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if n > maxFile {
		return nil, fmt.Errorf("it is larger than %d bytes", maxFile)
	}
	return b.Bytes(), nil
}

const mask = "***"

// shown is a value as people may see it.
func shown(s Setting, text string) string {
	switch {
	case text == "":
		return ""
	case s.form == formPEM && !s.Secret:
		return fmt.Sprintf("(%d bytes)", len(text)) // the wrong file may have been given: the key
	case s.Name == "REDIS_URL":
		return maskURL(text)
	case s.Secret, s.Group == groupRedis && strings.Contains(text, "@"): // a URL in the wrong place
		return mask
	}
	if r := []rune(text); len(r) > 200 {
		return string(r[:200]) + "…"
	}
	return text
}
