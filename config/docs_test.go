package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the tables of settings in the documentation anew")

const (
	contractPath = "../docs/wire-contract.md"
	beginTables  = "<!-- settings: the tables below are written by `go test ./config -run WireContract -update` -->\n"
	endTables    = "<!-- end of settings -->\n"
)

// TestWireContract holds the documented settings to the table of settings, in both directions.
func TestWireContract(t *testing.T) {
	data, err := os.ReadFile(contractPath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begun := strings.Cut(string(data), beginTables)
	tables, after, ended := strings.Cut(rest, endTables)
	if !begun || !ended {
		t.Fatalf("%s lacks the marks around the tables of settings", contractPath)
	}
	want := settingTables()
	if *update {
		if err := os.WriteFile(contractPath, []byte(before+beginTables+want+endTables+after), 0o644); err != nil {
			t.Fatal(err)
		}
		tables = want
	}
	if diff := cmp.Diff(want, tables); diff != "" {
		t.Errorf("%s and the table of settings differ (-settings +documented; -update writes it anew):\n%s", contractPath, diff)
	}
	for _, name := range knownWords(before + after) {
		if _, _, ok := byName(name); !ok {
			t.Errorf("%s speaks of %s, which is no setting", contractPath, name)
		}
	}
}

// settingTables is one table of settings for each group, in Markdown.
func settingTables() string {
	var b strings.Builder
	group := ""
	for _, s := range Settings() {
		if s.Group != group {
			group = s.Group
			fmt.Fprintf(&b, "\n### %s\n\n| variable | default | allowed | meaning |\n|---|---|---|---|\n", group)
		}
		name := s.Name
		if s.orFile {
			name += ", " + s.FileName()
		}
		help := s.Help
		if s.Secret {
			help += " A secret."
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, s.DefaultText(), s.Allowed(), help)
	}
	b.WriteString("\n")
	return b.String()
}

// knownWords are the words of text that look like one of our variables.
func knownWords(text string) []string {
	var names []string
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !isName(string(r)) && (r < '0' || r > '9') }) {
		if prefix, rest, _ := strings.Cut(word, "_"); (prefix == "P28" || prefix == "REDIS") && rest != "" {
			names = append(names, word)
		}
	}
	return names
}
