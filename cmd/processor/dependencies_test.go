package main

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// licences are those that we take, each with words that only its text has. The last ones only for what is not in the
// processor: tests and pictures.
var licences = []struct{ name, words string }{
	{"Apache-2.0", `Apache License\s+Version 2\.0`},
	{"BSD-3-Clause", `Redistribution and use in source and binary forms(?s:.*)(Neither the name|may be used to endorse)`},
	{"BSD-2-Clause", `Redistribution and use in source and binary forms`},
	{"MIT", `Permission is hereby granted, free of charge`},
	{"ISC", `Permission to use, copy, modify, and(/or)? distribute this software`},
	{"MPL-2.0", `Mozilla Public License,? [Vv]ersion 2\.0`},
	{"FTL", `FreeType License`},
	{"CC-BY-4.0", `(?i)creative commons attribution 4\.0`},
}

var notInProcessor = []string{"MPL-2.0", "FTL", "CC-BY-4.0"}

// licenceOf reads the licence file of a module; "" when it is none of ours. Where a file has several the first counts, which
// is that of the module as a whole.
func licenceOf(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		file := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(file, "LICEN") && !strings.HasPrefix(file, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		first, name := len(text), ""
		for _, l := range licences {
			if at := regexp.MustCompile(l.words).FindIndex(text); len(at) > 0 && at[0] < first {
				first, name = at[0], l.name
			}
		}
		if name != "" {
			return name
		}
	}
	return ""
}

type module struct {
	Path, Version, Dir string
	Main, Indirect     bool
}

// modules are those whose packages are compiled into what the arguments of go list name.
func modules(t *testing.T, args ...string) []module {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=Module"}, args...)...)
	cmd.Dir = "../.."
	out, err := cmd.Output()
	require.NoError(t, err)
	all := map[string]module{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct{ Module *module }
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if p.Module != nil && !p.Module.Main {
			all[p.Module.Path] = *p.Module
		}
	}
	require.NotEmpty(t, all)
	return slices.SortedFunc(maps.Values(all), func(a, b module) int { return strings.Compare(a.Path, b.Path) })
}

// TestDependencies: everything that is compiled in has a licence that permits it, and docs/dependencies.md gives a reason
// for each module that is used directly, and for no other.
func TestDependencies(t *testing.T) {
	text, err := os.ReadFile("../../docs/dependencies.md")
	require.NoError(t, err)
	table, _, found := strings.Cut(string(text), "\n## Rejected")
	require.True(t, found)
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| [^|]{20,} \\|$").FindAllStringSubmatch(table, -1) {
		documented[row[1]] = row[2]
	}
	for _, m := range modules(t, "./cmd/processor") {
		assert.NotContains(t, notInProcessor, licenceOf(t, m.Dir), m.Path)
	}
	for _, m := range modules(t, "-test", "./...") {
		licence := licenceOf(t, m.Dir)
		assert.NotEmpty(t, licence, "%s %s has no licence of the allowed ones: look at %s", m.Path, m.Version, m.Dir)
		if m.Indirect {
			continue
		}
		assert.Equal(t, licence, documented[m.Path], "docs/dependencies.md needs a row of %s: licence, reason", m.Path)
		delete(documented, m.Path)
	}
	assert.Empty(t, documented, "docs/dependencies.md has rows of modules that are not used directly")
}
