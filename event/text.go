package event

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxPlanText bounds plan_id, symbol and decision, in bytes (wire contract, "Input").
const maxPlanText = 200

// liars are the two names on which the operators' awk one-liner acts, whatever their case: printed as a value
// on a line of its own either of them would be counted as an observation.
var liars = [...]string{"obs_point", "heat_found"}

// textFault says why s must not be copied into an observation, or "" when it may be. The verb comes first, so
// that it reads on after the name of a field.
func textFault(s string, maxBytes int) string {
	if len(s) > maxBytes {
		return "is longer than " + strconv.Itoa(maxBytes) + " bytes"
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f {
			if !utf8.ValidString(s) {
				return "is not UTF-8"
			}
			if strings.ContainsFunc(s, breaksLine) {
				return "has control characters"
			}
			break
		}
	}
	for _, name := range liars {
		if strings.EqualFold(s, name) {
			return "has a field name of the observed stream as its value"
		}
	}
	return ""
}

// breaksLine reports whether r is a control character (C0, DEL, C1) or one of the two Unicode separators that
// many readers take for the end of a line.
func breaksLine(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// quote is s in double quotes, escaped, and cut after 40 bytes: values from messages stay short in errors.
func quote(s string) string {
	const most = 40
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:most]) + "…"
}

// Where an error text may carry a password: the user part of a URL, and the arguments that Redis repeats
// when it does not know a command ("unknown command 'HELLO', with args beginning with: 'AUTH' …").
var (
	urlUser     = regexp.MustCompile(`://\S*@`)
	echoedWords = regexp.MustCompile(`(?s)with args beginning with:.*`)
)

// maxErrorText bounds an error text before debug_json makes it shorter still, in bytes.
const maxErrorText = 1000

// errorText is the text of err made fit for an observation: without secrets, line breaks, control characters
// and broken UTF-8.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	s := err.Error()
	s = urlUser.ReplaceAllString(s, "://***@")
	s = echoedWords.ReplaceAllString(s, "with args ***")
	s = strings.ToValidUTF8(s[:min(len(s), maxErrorText)], "\uFFFD")
	return strings.Map(func(r rune) rune {
		if breaksLine(r) {
			return ' '
		}
		return r
	}, s)
}

// isDecimal reports whether s is a finite decimal number as Python and Redis write one ("0.42", "-1",
// "1e-05"): no hexadecimal, no "inf" or "nan", no underscores, no spaces.
func isDecimal(s string) bool {
	digits, points := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			points++
		case c == '+', c == '-', c == 'e', c == 'E':
		default:
			return false
		}
	}
	if digits > 0 && points < 2 && digits+points == len(s) && len(s) < 300 { // the usual, and never out of range
		return true
	}
	_, err := strconv.ParseFloat(s, 64) // out of range is an error, too small for a float64 is 0
	return err == nil
}
