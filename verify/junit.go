package verify

import (
	"encoding/xml"
	"io"
)

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitMessage `xml:"failure"`
	Skipped *junitMessage `xml:"skipped"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as CI systems read it. They know no warnings: those are passed tests that print.
func (r Report) WriteJUnit(w io.Writer) error {
	suite := junitSuite{Name: "processor verify", Tests: len(r.Checks)}
	for _, c := range r.Checks {
		test := junitCase{Class: "verify", Name: c.Name}
		switch c.Verdict {
		case Fail:
			suite.Failures++
			test.Failure = &junitMessage{Message: c.Seen, Text: c.Hint}
		case Skip:
			suite.Skipped++
			test.Skipped = &junitMessage{Message: c.Seen}
		case Warn:
			test.Out = "warning: " + c.Seen + "\n" + c.Hint
		default:
			test.Out = c.Seen
		}
		suite.Cases = append(suite.Cases, test)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	return e.Encode(suite)
}
