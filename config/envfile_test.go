package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestParseEnvFile holds the parser to systemd.exec(5) and to what systemd's own parser makes of the corners
// that the manual page leaves open.
func TestParseEnvFile(t *testing.T) {
	one := func(name, value string) []Assignment { return []Assignment{{Name: name, Value: value, line: 1}} }
	for _, tc := range []struct {
		name, text string
		want       []Assignment
	}{
		{"empty", "", nil},
		{"comments and blank lines", "# a=1\n\n  ; b=2\n\t\n", nil},
		{"comment after blanks", "   # a=1\n", nil},
		{"a comment does not continue", "# note \\\na=1", []Assignment{{Name: "a", Value: "1", line: 2}}},
		{"plain", "a=1\n", one("a", "1")},
		{"no line end", "a=1", one("a", "1")},
		{"empty value", "a=\n", one("a", "")},
		{"empty value at the end", "a=", one("a", "")},
		{"empty quotes", `a=""`, one("a", "")},
		{"blanks around name and value", "  a \t=  1 2  \t\n", one("a", "1 2")},
		{"carriage returns", "a=1\r\nb=2\r\n", []Assignment{{Name: "a", Value: "1", line: 1}, {Name: "b", Value: "2", line: 2}}},
		{"equals sign in the value", "a=b=c", one("a", "b=c")},
		{"hash in the value", "a=b #c", one("a", "b #c")},
		{"dollar is not expanded", "a=$HOME/${X}", one("a", "$HOME/${X}")},
		{"continuation", "a=b\\\nc", one("a", "bc")},
		{"continuation keeps blanks", "a=b \\\n  c  \n", one("a", "b   c")},
		{"continuation first", "a=\\\n  b\n", one("a", "  b")},
		{"escape outside quotes", `a=b\nc\\d\ e`, one("a", `bnc\d e`)},
		{"escaped blank at the end stays", "a=b\\ \n", one("a", "b ")},
		{"escaped quote begins no quotation", `a=\"b c`, one("a", `"b c`)},
		{"backslash at the end", `a=b \`, one("a", "b ")},
		{"single quotes", `a='b  "\n$c'`, one("a", `b  "\n$c`)},
		{"single quotes over lines", "a='b\\\nc'\nd=1", []Assignment{{Name: "a", Value: "b\\\nc", line: 1}, {Name: "d", Value: "1", line: 3}}},
		{"double quotes", `a="  b 'c'  "`, one("a", "  b 'c'  ")},
		{"double quotes over lines", "a=\"b\nc\"", one("a", "b\nc")},
		{"escapes in double quotes", `a="\"\\\$\` + "`" + `"`, one("a", "\"\\$`")},
		{"no C escapes in double quotes", `a="b\n\t\x41"`, one("a", `b\n\t\x41`)},
		{"continuation in double quotes", "a=\"b\\\nc\"", one("a", "bc")},
		{"quoted parts join", `a="b" 'c'"d"`, one("a", "bcd")},
		{"bare text after quotes", `a="b" c `, one("a", "bc")},
		{"comment after quotes is no comment", `a="b" # c`, one("a", "b# c")},
		{"quotes after bare text stay", `a=b"c"`, one("a", `b"c"`)},
		{"blanks after quotes", "a=\"b \"  \n", one("a", "b ")},
		{"quoted blanks before bare text", "a=\"b \"c  \n", one("a", "b c")},
		{"export is part of the name", "export a=1", one("export a", "1")},
		{"later line of the same name", "a=1\na=2", []Assignment{{Name: "a", Value: "1", line: 1}, {Name: "a", Value: "2", line: 2}}},
		{"equals sign first", "=a=b", one("=a", "b")},
		{"lines are counted over continuations", "a=b\\\nc\n\nd=1", []Assignment{{Name: "a", Value: "bc", line: 1}, {Name: "d", Value: "1", line: 4}}},
		{"open double quotes", "a=\"b\nc=1\n", []Assignment{{Name: "a", Value: "b\nc=1\n", line: 1, open: true}}},
		{"open single quotes", "a='b", []Assignment{{Name: "a", Value: "b", line: 1, open: true}}},
		{"open double quotes after a backslash", `a="b\`, []Assignment{{Name: "a", Value: "b", line: 1, open: true}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ParseEnvFile([]byte(tc.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Assignments, whole); diff != "" {
				t.Errorf("%q (-want +got):\n%s", tc.text, diff)
			}
			if got.strays != nil {
				t.Errorf("strays: %+v", got.strays)
			}
		})
	}
}

func TestParseEnvFileStrays(t *testing.T) {
	got, err := ParseEnvFile([]byte("a=1\nP28_PPROF \nb=2\nlast"))
	if err != nil {
		t.Fatal(err)
	}
	want := EnvFile{
		Assignments: []Assignment{{Name: "a", Value: "1", line: 1}, {Name: "b", Value: "2", line: 3}},
		strays:      []stray{{text: "P28_PPROF", line: 2}, {text: "last", line: 4}},
	}
	if diff := cmp.Diff(want, got, whole); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseEnvFileRefuses(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"NUL", "a=1\nsecret=hunter2\x00\n", "line 2: holds a NUL byte"},
		{"value not UTF-8", "a=1\n\nsecret=hunter2\xff\n", "line 3: is not UTF-8"},
		{"name not UTF-8", "hunter2\xff=1\n", "line 1: is not UTF-8"},
	} {
		_, err := ParseEnvFile([]byte(tc.text))
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.want)
		}
	}
}

// quoteEnv writes a value so that it is read back as it is.
func quoteEnv(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`).Replace(value) + `"`
}

func FuzzParseEnvFile(f *testing.F) {
	for _, seed := range []string{"", "a=1", "a=\"b\\\nc\" 'd' e \\\n f\n# x\\\n;y\nz", "export P28_PPROF=\"", "=\\", "a\r=\r\n\\=\\", "\xff=\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := ParseEnvFile(data)
		if err != nil {
			return
		}
		lines := 1 + strings.Count(string(data), "\n")
		for _, a := range file.Assignments {
			if a.line < 1 || a.line > lines || a.Name == "" {
				t.Errorf("%q: assignment %+v of a file of %d lines", data, a, lines)
			}
			again, err := ParseEnvFile([]byte(a.Name + "=" + quoteEnv(a.Value) + "\n"))
			if err != nil || len(again.Assignments) != 1 || again.Assignments[0].Value != a.Value || again.Assignments[0].Name != a.Name {
				t.Errorf("%q: %+v is read back as %+v, %v", data, a, again, err)
			}
		}
	})
}
