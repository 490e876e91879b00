package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Assignment is one NAME=value of an env file.
type Assignment struct {
	Name  string // as written, blanks around it left out; it need not be a valid name
	Value string
	line  int  // on which the name stands, from 1
	open  bool // the file ended inside quotes, so that all that follows them became the value
}

// EnvFile is what an env file says.
type EnvFile struct {
	Assignments []Assignment
	// strays are the lines that are neither blank nor comment nor assignment. systemd passes over them in
	// silence.
	strays []stray
}

// stray is a line without an equals sign. Its text may be a secret of somebody else's.
type stray struct {
	text string
	line int
}

// ParseEnvFile reads the syntax of systemd's EnvironmentFile= (systemd.exec(5)), to the letter:
//
//   - blank lines and lines that begin with # or ; are left out, also when the comment ends with a backslash;
//   - a value without quotes ends with its line, blanks around it are left out, a backslash keeps the next
//     character as it is, and one at the end of a line joins the next line;
//   - 'single quotes' keep everything, line ends and backslashes too; in "double quotes" a backslash counts
//     only before one of " \ ` $ (which it keeps) and before a line end (which it removes);
//   - quotes count only where a value begins, or where a quoted part has just ended: a="b"c is bc, a=b"c" is b"c";
//   - nothing is expanded, and export is not a word of the syntax.
//
// The error names the line, never what stands on it: bytes that are not UTF-8, or a NUL, make systemd refuse
// the whole file.
func ParseEnvFile(data []byte) (EnvFile, error) {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return EnvFile{}, fmt.Errorf("line %d: holds a NUL byte", 1+bytes.Count(data[:i], []byte{'\n'}))
	}
	s := envScanner{rest: data, line: 1}
	var file EnvFile
	for s.skipToName() {
		line := s.line
		name, assigned := s.name()
		if !assigned {
			file.strays = append(file.strays, stray{text: name, line: line})
			continue
		}
		value, open := s.value()
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return EnvFile{}, fmt.Errorf("line %d: is not UTF-8", line)
		}
		file.Assignments = append(file.Assignments, Assignment{Name: name, Value: value, line: line, open: open})
	}
	return file, nil
}

const (
	envBlanks   = " \t\n\r"
	envNewlines = "\n\r"
	envEscaped  = "\"\\`$" // what a backslash protects inside double quotes
)

// envScanner walks over an env file and counts its lines.
type envScanner struct {
	rest []byte
	line int
}

func (s *envScanner) atEnd() bool { return len(s.rest) == 0 }

// next takes one byte; there must be one.
func (s *envScanner) next() byte {
	c := s.rest[0]
	s.rest = s.rest[1:]
	if c == '\n' {
		s.line++
	}
	return c
}

// skipToName passes over blanks and comments. It is false at the end of the file.
func (s *envScanner) skipToName() bool {
	for !s.atEnd() {
		switch c := s.rest[0]; {
		case c == '#' || c == ';':
			for !s.atEnd() && !isAny(s.next(), envNewlines) {
			}
		case isAny(c, envBlanks):
			s.next()
		default:
			return true
		}
	}
	return false
}

// name reads up to the equals sign; assigned is false when the line or the file ends before one. The first
// byte belongs to the name whatever it is.
func (s *envScanner) name() (name string, assigned bool) {
	text := []byte{s.next()}
	for !s.atEnd() {
		c := s.next()
		if c == '=' {
			return string(trimBlanksRight(text)), true
		}
		if isAny(c, envNewlines) {
			break
		}
		text = append(text, c)
	}
	return string(trimBlanksRight(text)), false
}

// value reads the value after the equals sign, with the end of its line. open is true when the file ended
// inside quotes.
func (s *envScanner) value() (value string, open bool) {
	var text []byte
	for !s.atEnd() {
		switch c := s.next(); {
		case isAny(c, envNewlines):
			return string(text), false
		case isAny(c, envBlanks):
		case c == '\'':
			if text, open = s.singleQuoted(text); open {
				return string(text), true
			}
		case c == '"':
			if text, open = s.doubleQuoted(text); open {
				return string(text), true
			}
		default:
			return string(s.bare(text, c)), false
		}
	}
	return string(text), false
}

// bare appends the unquoted rest of a value that goes on with c.
func (s *envScanner) bare(text []byte, c byte) []byte {
	keep := 0 // length to which blanks at the end may be left out
	for {
		switch {
		case c == '\\':
			if !s.atEnd() {
				if c = s.next(); !isAny(c, envNewlines) {
					text = append(text, c)
				}
			}
			keep = len(text)
		case isAny(c, envNewlines):
			return append(text[:keep], trimBlanksRight(text[keep:])...)
		default:
			text = append(text, c)
			if !isAny(c, envBlanks) {
				keep = len(text)
			}
		}
		if s.atEnd() {
			return append(text[:keep], trimBlanksRight(text[keep:])...)
		}
		c = s.next()
	}
}

func (s *envScanner) singleQuoted(text []byte) (_ []byte, open bool) {
	for !s.atEnd() {
		c := s.next()
		if c == '\'' {
			return text, false
		}
		text = append(text, c)
	}
	return text, true
}

func (s *envScanner) doubleQuoted(text []byte) (_ []byte, open bool) {
	for !s.atEnd() {
		c := s.next()
		switch {
		case c == '"':
			return text, false
		case c != '\\':
			text = append(text, c)
		case s.atEnd():
			return text, true
		default:
			if c = s.next(); isAny(c, envEscaped) {
				text = append(text, c)
			} else if c != '\n' {
				text = append(text, '\\', c)
			}
		}
	}
	return text, true
}

func isAny(c byte, set string) bool { return strings.IndexByte(set, c) >= 0 }

func trimBlanksRight(text []byte) []byte { return bytes.TrimRight(text, envBlanks) }
