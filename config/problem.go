package config

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong with the configuration, as an error or as a warning.
type Problem struct {
	Name   string // variable; "" when the problem has none, or one that is not ours to name
	Value  string // as shown, masked if secret; "" when there is none to show
	Source string // where the value or the name came from; "" when it came from nowhere
	Text   string // what is wrong, what is allowed, how to mend it
}

// Error is NAME="value" (source): text.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Name)
	if p.Value != "" {
		fmt.Fprintf(&b, "=%q", p.Value)
	}
	if p.Source != "" {
		if b.Len() > 0 {
			fmt.Fprintf(&b, " (%s)", p.Source)
		} else {
			b.WriteString(p.Source)
		}
	}
	b.WriteString(": ")
	b.WriteString(p.Text)
	return b.String()
}

var _ error = (*Problem)(nil)

// problemf says what is wrong with a value, without naming it: the Problem around it does.
func problemf(format string, args ...any) error { return fmt.Errorf(format, args...) }
