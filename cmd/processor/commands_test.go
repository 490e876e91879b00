package main

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"heatobserver/config"
)

const commandsPath = "../../docs/commands.md"

// commandNodes are all commands that people use, in the order of --help.
func commandNodes(t *testing.T) (nodes []*kong.Node) {
	t.Helper()
	parser, err := newParser(t.Context(), &system{}, func() {})
	require.NoError(t, err)
	var add func(*kong.Node)
	add = func(node *kong.Node) {
		for _, child := range node.Children {
			if !child.Hidden {
				nodes = append(nodes, child)
				add(child)
			}
		}
	}
	add(parser.Model.Node)
	return nodes
}

// commandWords are the names that lead to a command; one that is meant when none is named may be left out.
func commandWords(node *kong.Node) string {
	var words []string
	for n := node; n.Type == kong.CommandNode; n = n.Parent {
		words = append([]string{n.Name}, words...)
	}
	return strings.Join(words, " ")
}

// TestExamples: the help of every command ends with examples, which are of this command.
func TestExamples(t *testing.T) {
	for _, node := range commandNodes(t) {
		name := commandWords(node)
		t.Run(name, func(t *testing.T) {
			detail := node.Detail
			if node.DefaultCmd != nil && detail == "" {
				detail = node.DefaultCmd.Detail
			}
			if node.Parent.DefaultCmd == node {
				name = commandWords(node.Parent)
			}
			_, examples, found := strings.Cut("\n"+detail, "\nExamples:\n")
			require.True(t, found, "no examples in %q", detail)
			assert.Regexp(t, `(?m)^  .*\bprocessor `+regexp.QuoteMeta(name)+`\b`, examples)
		})
	}
}

// TestExamplesParse: what an example says to type is a command line that there is.
func TestExamplesParse(t *testing.T) {
	word := regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
	parsed := 0
	parser, err := newParser(t.Context(), &system{}, func() {})
	require.NoError(t, err)
	for _, node := range commandNodes(t) {
		for line := range strings.Lines(node.Detail) {
			_, after, found := strings.Cut(line, "processor ")
			if !strings.HasPrefix(line, "  ") || !found {
				continue
			}
			after = strings.NewReplacer("$(which", "", "<(", "").Replace(after)
			command := regexp.MustCompile(` (\|+|>|&&|#).*`).ReplaceAllString(after, "")
			var args []string
			for _, w := range word.FindAllString(strings.TrimRight(command, ")\n &"), -1) {
				args = append(args, strings.Trim(w, `'"`))
			}
			if slices.Contains(args, "--version") {
				continue // it is done before the rest is looked at
			}
			_, err := parser.Parse(hyphenPosition(args))
			assert.NoError(t, err, line)
			parsed++
		}
	}
	assert.Greater(t, parsed, 30)
}

// TestCommandsDocument holds docs/commands.md to the commands that are there.
func TestCommandsDocument(t *testing.T) {
	want := commandsDocument(t)
	if *update {
		require.NoError(t, os.WriteFile(commandsPath, []byte(want), 0o644))
	}
	got, err := os.ReadFile(commandsPath)
	require.NoError(t, err)
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s (-commands +documented; `go test ./cmd/processor -run CommandsDocument -update` writes it anew):\n%s", commandsPath, diff)
	}
}

func commandsDocument(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Commands

Written by ` + "`go test ./cmd/processor -run CommandsDocument -update`" + ` from the command line itself.

Results go to standard output, everything else to standard error. A command that takes *settings* has a flag for each of the
[settings](wire-contract.md#configuration), and ` + "`--env-file`" + `. ` + "`processor completion`" + ` makes the shell complete all of it.

## Exit codes

| code | meaning |
|---|---|
`)
	for _, e := range config.ExitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", e.Code, e.Meaning)
	}
	settings := map[string]bool{"env-file": true}
	for _, name := range settingFlags() {
		settings[name] = true
	}
	for _, node := range commandNodes(t) {
		fmt.Fprintf(&b, "\n## processor %s\n\n%s\n", commandWords(node), node.Help)
		if len(node.Children) > 0 {
			b.WriteString("\nOne of:")
			for _, child := range node.Children {
				fmt.Fprintf(&b, " %s", child.Name)
				if child == node.DefaultCmd {
					b.WriteString(" (when none is named)")
				}
			}
			b.WriteString("\n")
		}
		var rows strings.Builder
		takesSettings := false
		for _, p := range node.Positional {
			fmt.Fprintf(&rows, "| %s | %s |\n", p.Summary(), cell(p.Help))
		}
		for _, f := range node.Flags {
			switch {
			case f.Name == "help":
			case settings[f.Name]:
				takesSettings = true
			default:
				fmt.Fprintf(&rows, "| `%s` | %s |\n", f, cell(f.Help))
			}
		}
		if rows.Len() > 0 {
			b.WriteString("\n| argument | |\n|---|---|\n" + rows.String())
		}
		if takesSettings {
			b.WriteString("\nTakes settings.\n")
		}
		if node.Detail != "" {
			b.WriteString("\n")
			for line := range strings.Lines(node.Detail) {
				if strings.HasPrefix(line, "  ") {
					line = "  " + line
				} else if line == "Examples:\n" {
					line = "Examples:\n\n"
				}
				b.WriteString(line)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// TestExitCodesDocument: the exit codes say the same wherever they stand.
func TestExitCodesDocument(t *testing.T) {
	contract, err := os.ReadFile("../../docs/wire-contract.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(contract), "\n## Exit codes\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \|$`).FindAllStringSubmatch(section, -1)
	require.Len(t, rows, len(config.ExitCodes))
	readme, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	for i, e := range config.ExitCodes {
		assert.Equal(t, []string{fmt.Sprint(e.Code), e.Meaning}, rows[i][1:])
		short, _, _ := strings.Cut(e.Meaning, ":")
		short, _, _ = strings.Cut(short, ",")
		assert.Regexp(t, fmt.Sprintf(`\b%d\s+%s`, e.Code, short), string(readme))
	}
}
