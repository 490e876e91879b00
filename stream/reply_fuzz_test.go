package stream

import (
	"bytes"
	"testing"
)

// FuzzParseRead: whatever stands where the reply of XREADGROUP should is entries with whole fields, or an error.
func FuzzParseRead(f *testing.F) {
	for _, raw := range []string{
		"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
		"%1\r\n$2\r\nin\r\n*2\r\n*2\r\n$3\r\n1-1\r\n*-1\r\n*2\r\n$3\r\n1-2\r\n_\r\n",
		"*-1\r\n", "_\r\n", "-NOGROUP no such group\r\n", "!5\r\nERR x\r\n", "*1\r\n*2\r\n+in\r\n*1\r\n*2\r\n:1\r\n*1\r\n$-1\r\n",
		"*1\r\n*2\r\n$2\r\nin\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*1\r\n$1\r\na\r\n", "*1\r\n*2\r\n$2\r\nin\r\n*9223372036854775807\r\n*-1\r\n", "*1\r\n*2\r\n$9223372036854775807\r\nin\r\n",
	} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		entries, err := parseRead(raw, "in")
		if !bytes.Equal(before, raw) {
			t.Fatal("the reply was changed")
		}
		if err != nil && len(entries) > 0 {
			t.Fatalf("entries beside %v", err)
		}
		for _, e := range entries {
			if e.Fields != nil && e.Fields.Check() != nil {
				t.Fatalf("entry %v: %v", e.ID, e.Fields.Check())
			}
		}
	})
}
