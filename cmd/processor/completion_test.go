package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCandidates(t *testing.T) {
	parser, err := newParser(t.Context(), &system{}, func() {})
	require.NoError(t, err)
	for _, c := range []struct {
		words string // separated by single spaces
		want  string
	}{
		{"de", "deadletter demo"},
		{"deadletter re", "redrive"},
		{"completion ", "bash fish zsh"},
		{"completion z", "zsh"},
		{"run --late-obs-max-w", "--late-obs-max-wait-ms --late-obs-max-workers"},
		{"run --log-level ", "debug error info warn"},
		{"run --log-level=d", "--log-level=debug"},
		{"run --log-level = d", "debug"},
		{"run --pprof --log-format j", "json"},
		{"archive --rotate-s", "--rotate-size"},
		{"archive ver", "verify"},
		{"trace some-plan --js", "--json"},
		{"run nothing-", ""},
		{"comple", "completion"},
	} {
		assert.Equal(t, c.want, strings.Join(candidates(parser.Model.Node, strings.Split(c.words, " ")), " "), c.words)
	}
	assert.Contains(t, candidates(parser.Model.Node, nil), "run")
}

// TestCompletionScripts has each shell that is here complete with the script and the program itself.
func TestCompletionScripts(t *testing.T) {
	bin := t.TempDir()
	self, err := os.Executable()
	require.NoError(t, err)
	// A link, because what has just been written may be "text file busy": a process that another test starts meanwhile
	// has it open until it becomes another program.
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "processor")))
	for shell, ask := range map[string]string{
		"bash": `source <(processor completion bash)
			COMP_WORDS=(processor deadletter p) COMP_CWORD=2
			_processor && echo "${COMPREPLY[@]}"`,
		"zsh": `compdef() { : }
			source <(processor completion zsh)
			compadd() { shift; echo "$@" }
			words=(processor deadletter p) CURRENT=3
			_processor`,
		"fish": `processor completion fish | source
			complete -C "processor deadletter p"`,
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skip("no " + shell + " here")
			}
			cmd := exec.Command(path, "-c", ask)
			cmd.Env = append(os.Environ(), asProcessor+"=1", "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+t.TempDir())
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			assert.Equal(t, "purge", strings.TrimSpace(string(out)))
		})
	}
}
