package deploy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sources are the Go files of the project with the names that they declare: package.Func, package.Type, package.Type.Method.
func sources(t *testing.T) (files []string, names map[string]bool, tests map[string]bool) {
	t.Helper()
	names, tests = map[string]bool{}, map[string]bool{}
	root := os.DirFS("..")
	require.NoError(t, fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata" || d.Name() == "kubernetes"):
			return fs.SkipDir // the manifests are a module of their own
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", name), nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		isTest := strings.HasSuffix(name, "_test.go")
		if !isTest && path.Base(name) != "doc.go" {
			files = append(files, name)
		}
		for _, decl := range file.Decls {
			for _, declared := range declares(decl) {
				if isTest {
					tests[declared] = true
				} else {
					names[file.Name.Name+"."+declared] = true
				}
			}
		}
		return nil
	}))
	return files, names, tests
}

func declares(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		name := d.Name.Name
		if d.Recv != nil {
			name = receiver(d.Recv.List[0].Type) + "." + name
		}
		names = append(names, name)
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if s, ok := spec.(*ast.TypeSpec); ok {
				names = append(names, s.Name.Name)
			}
		}
	}
	return names
}

func receiver(expr ast.Expr) string {
	switch e := expr.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// TestArchitecture: what ARCHITECTURE.md names is there under that name. Every file has its line in the map of files, every
// function of the walks exists, and so does every test that is said to guard something.
func TestArchitecture(t *testing.T) {
	files, names, tests := sources(t)
	content, err := os.ReadFile("../ARCHITECTURE.md")
	require.NoError(t, err)
	text := string(content)

	packages := map[string]bool{}
	for name := range names {
		packages[name[:strings.IndexByte(name, '.')]] = true
	}
	checked := 0
	for _, m := range regexp.MustCompile("`([a-z]+)((?:\\.[A-Za-z]+)+)`").FindAllStringSubmatch(text, -1) {
		if name := m[1] + m[2]; packages[m[1]] && !slices.Contains([]string{".md", ".go", ".lua", ".yml"}, path.Ext(name)) {
			assert.True(t, names[name], "there is no %s", name)
			checked++
		}
	}
	assert.Greater(t, checked, 40, "the walks name functions")

	for _, name := range regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]*)`").FindAllStringSubmatch(text, -1) {
		assert.True(t, tests[name[1]], "there is no test %s", name[1])
	}
	_, hard, ok := strings.Cut(text, "## Non-obvious")
	require.True(t, ok)
	hard, _, _ = strings.Cut(hard, "\n## ")
	for _, item := range regexp.MustCompile(`(?m)^\d+\. `).Split(hard, -1)[1:] {
		assert.Regexp(t, "`(Test|Fuzz)[A-Za-z]+`", item, "an invariant that no test guards")
	}

	var mapped []string
	for _, m := range regexp.MustCompile("(?m)^- `([a-z0-9_/]+\\.go)`: .+$").FindAllStringSubmatch(text, -1) {
		mapped = append(mapped, m[1])
	}
	slices.Sort(files)
	assert.True(t, slices.IsSorted(mapped), "the map of files is in order")
	assert.Equal(t, files, mapped, "the map of files")
}
