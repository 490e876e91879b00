package config

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Setting describes one setting. The zero value of an optional field means what its comment says.
type Setting struct {
	Name     string   // variable: "P28_LATE_OBS_POLL_MS"
	Group    string   // heading under which help and documentation list it
	Default  string   // "" where there is none
	Unit     string   // of the number: "ms", "s", "plans/s", …; "" for anything else
	Min, Max float64  // range of a number, both ends allowed
	Choices  []string // the only words allowed; nil = not a word from a list
	Help     string   // one or two sentences: what it does and what special values mean
	Secret   bool     // never shown

	form     string // what a text must look like
	required bool   // there is no default and a value must be given
	orFile   bool   // may also be given as Name_FILE, the path of a file that holds the value
	dynamic  string // how the default comes about when it is not a constant: "host name"

	at    func(*Config) any  // pointer to the field
	check func(string) error // what form says, for a text or an element of a list; nil = anything
}

// Settings are all settings, in the order in which they are shown. The slice is the caller's.
func Settings() []Setting { return slices.Clone(table) }

// Lookup finds a setting by the name of its variable.
func Lookup(name string) (Setting, bool) {
	i := slices.IndexFunc(table, func(s Setting) bool { return s.Name == name })
	if i < 0 {
		return Setting{}, false
	}
	return table[i], true
}

// Flag is the name of the command-line flag without its dashes, derived from the variable:
// P28_LATE_OBS_POLL_MS is late-obs-poll-ms, REDIS_HOST is redis-host.
func (s Setting) Flag() string { return FlagName(s.Name) }

// FlagName is the flag that stands for a variable.
func FlagName(variable string) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(variable, ownPrefix), "_", "-"))
}

// FileName is the variable that holds the path of a file with the value, "" when there is none.
func (s Setting) FileName() string {
	if !s.orFile {
		return ""
	}
	return s.Name + "_FILE"
}

// Type is the kind of value: text, list, boolean, integer, number or word.
func (s Setting) Type() string {
	if s.Choices != nil {
		return "word"
	}
	switch s.at(new(Config)).(type) {
	case *bool:
		return "boolean"
	case *[]string:
		return "list"
	case *float64:
		return "number"
	case *int, *int64, *time.Duration:
		return "integer"
	}
	return "text"
}

// Allowed says which values are allowed, with their unit: "1 to 60000 ms".
func (s Setting) Allowed() string {
	switch s.Type() {
	case "word":
		return strings.Join(s.Choices, ", ")
	case "boolean":
		return "true/1/yes/on, false/0/no/off"
	case "integer", "number":
		return strings.TrimSpace(fmt.Sprintf("%s to %s %s", formatNumber(s.Min), formatNumber(s.Max), s.Unit))
	}
	return s.form
}

// DefaultText is the default as documentation shows it: "-" where there is none.
func (s Setting) DefaultText() string {
	switch {
	case s.required:
		return "none, required"
	case s.dynamic != "":
		return s.dynamic
	case s.Default == "":
		return "-"
	}
	return s.Default
}

// mayBeEmpty says whether an empty value means "not set". Elsewhere an empty value is refused: what it meant
// would depend on who reads it (to the Python observer an empty switch is off).
func (s Setting) mayBeEmpty() bool { return s.Default == "" && !s.required }

// parse writes the value of text into c, or says what is wrong with it.
func (s Setting) parse(c *Config, text string) error {
	if text == "" && !s.mayBeEmpty() {
		return problemf("is empty; leave it out for the default (%s)", s.DefaultText())
	}
	switch field := s.at(c).(type) {
	case *string:
		return s.parseText(field, text)
	case *[]string:
		list := splitList(text)
		for _, element := range list {
			if err := s.check(element); err != nil {
				return err
			}
		}
		*field = list
	case *bool:
		b, err := parseBool(text)
		if err != nil {
			return err
		}
		*field = b
	case *float64:
		n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(n) || n < s.Min || n > s.Max {
			return problemf("is not a number in the range; allowed: %s", s.Allowed())
		}
		*field = n
	case *int:
		n, err := s.parseInt(text)
		if err != nil {
			return err
		}
		*field = int(n)
	case *int64:
		n, err := s.parseInt(text)
		if err != nil {
			return err
		}
		*field = n
	case *time.Duration:
		n, err := s.parseInt(text)
		if err != nil {
			return err
		}
		*field = time.Duration(n) * durationUnits[s.Unit]
	}
	return nil
}

func (s Setting) parseText(field *string, text string) error {
	if s.Choices != nil {
		text = strings.ToLower(strings.TrimSpace(text))
		if !slices.Contains(s.Choices, text) {
			return problemf("is none of the words allowed: %s", s.Allowed())
		}
	}
	if s.check != nil && text != "" {
		if err := s.check(text); err != nil {
			return err
		}
	}
	*field = text
	return nil
}

func (s Setting) parseInt(text string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrSyntax):
		return 0, problemf("is not a whole number; allowed: %s", s.Allowed())
	case err != nil || float64(n) < s.Min || float64(n) > s.Max:
		return 0, problemf("is out of range; allowed: %s", s.Allowed())
	}
	return n, nil
}

// format is the value in c, in the form in which it is given. Secrets are masked by Shown, not here.
func (s Setting) format(c *Config) string {
	switch field := s.at(c).(type) {
	case *string:
		return *field
	case *[]string:
		return strings.Join(*field, ",")
	case *bool:
		return strconv.FormatBool(*field)
	case *float64:
		return formatNumber(*field)
	case *int:
		return strconv.Itoa(*field)
	case *int64:
		return strconv.FormatInt(*field, 10)
	case *time.Duration:
		return strconv.FormatInt(int64(*field/durationUnits[s.Unit]), 10)
	}
	return ""
}

var durationUnits = map[string]time.Duration{"ms": time.Millisecond, "s": time.Second}

func parseBool(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true", "1", "yes", "on":
		return true, nil
	case "false", "0", "no", "off":
		return false, nil
	}
	return false, problemf("is neither yes nor no; allowed: true/1/yes/on, false/0/no/off")
}

func formatNumber(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
