package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVerdicts tries all mutants of a small module whose tests are known: each line of it says in a comment what becomes
// of its mutants, of which a test that fails by chance or a mutant that does not compile must be none.
func TestVerdicts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"go.mod.txt", "small.go.txt", "small_test.go.txt"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, strings.TrimSuffix(name, ".txt")), text, 0o600))
	}
	t.Chdir(dir)

	b, err := build(t.Context(), ".", t.TempDir())
	require.NoError(t, err)
	require.NoError(t, b.rehearse(t.Context(), 2))

	source, err := os.ReadFile("small.go")
	require.NoError(t, err)
	lines := strings.Split(string(source), "\n")
	got := map[int][]string{}
	for _, m := range b.mutants {
		result := "not reached"
		if len(b.reaching(m)) > 0 {
			v, err := b.verdict(t.Context(), m)
			require.NoError(t, err)
			result = string(v)
		}
		got[m.at.Line] = append(got[m.at.Line], string(m.kind)+" "+result)
	}
	for i, line := range lines {
		_, comment, _ := strings.Cut(line, "// = ")
		var want []string
		if comment != "" {
			want = strings.Split(comment, ", ")
		}
		slices.Sort(want)
		slices.Sort(got[i+1])
		require.Equal(t, want, got[i+1], "line %d: %s", i+1, line)
	}
}

// TestRehearsalFails: with a test that fails before anything is broken every verdict would be worth nothing.
func TestRehearsalFails(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":    "module broken\n\ngo 1.26\n",
		"a.go":      "package broken\n\nfunc F() bool { return true }\n",
		"a_test.go": "package broken\n\nimport \"testing\"\n\nfunc TestF(t *testing.T) { t.Fatal(F()) }\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	t.Chdir(dir)
	b, err := build(t.Context(), ".", t.TempDir())
	require.NoError(t, err)
	require.ErrorContains(t, b.rehearse(t.Context(), 1), "TestF fails with nothing broken")
}
