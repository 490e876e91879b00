package deploy

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/config"
	"heatobserver/pipeline"
)

// files are the texts of the repository by their path, without tests, what tests hold, and what is made.
func files(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	require.NoError(t, fs.WalkDir(os.DirFS(".."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"bin", "testdata", "images", "uplot"}, d.Name())):
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(name, "_test.go") || path.Ext(name) == ".sum" || path.Ext(name) == ".test":
			return nil
		}
		content, err := os.ReadFile("../" + name)
		texts[name] = string(content)
		return err
	}))
	return texts
}

// TestNamesOfContract: every variable and every key that any file names is one of ours, or known to be another's.
func TestNamesOfContract(t *testing.T) {
	variable := regexp.MustCompile(`\b(?:P28|REDIS)_[A-Z0-9_]*[A-Z0-9]\b`)
	key := regexp.MustCompile(`\bquantum:[a-z][a-z0-9_.:]*`)
	known := []string{
		pipeline.LookupPrefix,
		"quantum:heat:bridge:by_plan:",    // the known wrong prefix
		"quantum:stream:harvest.proposal", // what gates are known to read by mistake
	}
	variables := map[string]bool{}
	for _, s := range config.Settings() {
		variables[s.Name], variables[s.FileName()] = true, true
		if strings.HasPrefix(s.Default, "quantum:") {
			known = append(known, s.Default)
		}
	}
	seen := 0
	for file, text := range files(t) {
		for _, name := range variable.FindAllString(text, -1) {
			seen++
			if !variables[name] {
				t.Errorf("%s names %s, which is no setting", file, name)
			}
		}
		for _, name := range key.FindAllString(text, -1) {
			seen++
			ours := slices.ContainsFunc(known, func(k string) bool {
				return strings.HasPrefix(name, k) || strings.HasPrefix(k, name) && strings.ContainsAny(k[len(name)-1:][:2], ":.") // a whole part
			})
			if !ours {
				t.Errorf("%s names %s, which nobody writes", file, name)
			}
		}
	}
	require.Greater(t, seen, 500)
}

// TestDefaultsInProse: a default that stands behind its variable in brackets, or in the table of the README, is the default.
func TestDefaultsInProse(t *testing.T) {
	count := 0
	same := func(file, name, said string) {
		t.Helper()
		s, ok := config.Lookup(name)
		require.True(t, ok, name)
		count++
		want := s.DefaultText()
		if s.Unit != "" {
			said = strings.ReplaceAll(said, ",", "")
		}
		if d, err := time.ParseDuration(strings.ReplaceAll(said, " ", "")); err == nil { // in whatever unit
			of, err := time.ParseDuration(s.Default + s.Unit)
			require.NoError(t, err, name)
			said, want = d.String(), of.String()
		}
		if said != want {
			t.Errorf("%s: %s is said to be %s, it is %s", file, name, said, want)
		}
	}
	prose := regexp.MustCompile("`(P28_[A-Z_]+)`(?: \\(|, )(\\d[\\d,]*(?: m?s)?)\\)")
	for file, text := range files(t) {
		if path.Ext(file) == ".md" {
			for _, m := range prose.FindAllStringSubmatch(text, -1) {
				same(file, m[1], m[2])
			}
		}
	}
	require.GreaterOrEqual(t, count, 7, "prose with defaults")
	readme := files(t)["README.md"]
	server := setting(t, "REDIS_HOST") + ":" + setting(t, "REDIS_PORT")
	require.Contains(t, readme, "\n| `REDIS_URL`, or `REDIS_HOST` and `REDIS_PORT` | "+server+" |")
	rows := regexp.MustCompile("(?m)^\\| `(P28_\\w+)` \\| ([^|]*) \\|").FindAllStringSubmatch(readme, -1)
	require.NotEmpty(t, rows)
	for _, m := range rows {
		same("README.md", m[1], m[2])
	}
}

// TestLinks: what a page points to is there, and so is the heading; and so is every page of docs that a page names.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	page := regexp.MustCompile(`\bdocs/[\w-]+\.md\b`)
	all, count := files(t), 0
	for file, text := range all {
		if path.Ext(file) != ".md" {
			continue
		}
		for _, name := range page.FindAllString(text, -1) {
			_, there := all[name]
			require.True(t, there, "%s names %s", file, name)
		}
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			count++
			target, anchor, _ := strings.Cut(m[1], "#")
			if target == "" {
				target = path.Base(file)
			}
			target = path.Join(path.Dir(file), target)
			_, err := os.Stat("../" + target)
			require.NoError(t, err, "%s points to %s", file, m[1])
			if anchor != "" {
				require.Contains(t, anchors(all[target]), anchor, "%s points to %s", file, m[1])
			}
		}
	}
	require.Greater(t, count, 30)
}

// anchors are those that the headings of a page make.
func anchors(page string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		bare := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(bare, " ", "-"))
	}
	return all
}
