package archive

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"heatobserver/entry"
)

// What is written is one line of JSON, and is read back byte for byte, by the quick way.
func FuzzEncode(f *testing.F) {
	f.Add("quantum:stream:apply.plan", uint64(1700000000000), uint64(3), []byte("plan_id"), []byte("a4f3"))
	f.Add("s", uint64(1), uint64(0), []byte("\xff"), []byte("a\"b\\c\n\x00\u2028é\U0001f600"))
	f.Add("é\"", ^uint64(0), ^uint64(0), []byte(""), []byte(""))
	f.Fuzz(func(t *testing.T, stream string, ms, seq uint64, name, value []byte) {
		if !utf8.ValidString(stream) {
			t.Skip()
		}
		id := entry.ID{Ms: ms, Seq: seq}
		fields := entry.Make(string(name), string(value), string(name), "twice", "", string(value))
		b := appendEntry(nil, stream, id, fields)
		require.Equal(t, 1, bytes.Count(b, []byte("\n")))
		require.True(t, json.Valid(b), "%s", b)
		var s scanner
		l, _, err := s.scan(nil, b[:len(b)-1])
		require.NoError(t, err)
		require.Equal(t, stream, string(l.stream))
		require.Equal(t, id, l.id)
		require.Equal(t, string(fields), string(l.fields))
		slowly, _, err := slow(nil, b[:len(b)-1])
		require.NoError(t, err)
		require.Equal(t, string(fields), string(slowly.fields))
	})
}

// Whatever the quick way accepts, encoding/json accepts with the same result; neither panics.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"stream":"s","id":"1-2","fields":["a","b"]}`))
	f.Add([]byte(`{"stream":"s","id":"1-2","fields":["a","\u00e9\u0041\n\/",{"b64":"/w=="},"x"]}`))
	f.Add([]byte(`{"stream":"s","id":"1-2","fields":[]}`))
	f.Add([]byte(`{"stream":"s","gap":{"after":"1-0","before":"2-0"}}`))
	f.Add([]byte(`{"stream":"s","follows":"1-0"}`))
	f.Add([]byte(`{"stream":"s","id":"18446744073709551616-0","fields":["a"]} x`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s scanner
		l, _, ok := s.quick(nil, b)
		want, _, err := slow(nil, b)
		if ok {
			require.NoError(t, err, "%q", b)
			require.Equal(t, want.id, l.id)
			require.Equal(t, string(want.stream), string(l.stream))
			require.Equal(t, string(want.fields), string(l.fields))
		}
		if err == nil && want.gap == nil && want.follows == nil {
			require.NoError(t, want.fields.Check())
		}
	})
}

// Every byte at every place among eight, and beyond them.
func TestRun(t *testing.T) {
	for size := range 20 {
		for at := range size {
			for c := range 256 {
				text := bytes.Repeat([]byte("z"), size)
				text[at] = byte(c)
				want := size
				if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
					want = at
				}
				if got := run(text); got != want {
					t.Fatalf("%q: %d, not %d", text, got, want)
				}
			}
		}
	}
}

func TestLinesThatAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":         ``,
		"spaces":          "  \r",
		"cut short":       `{"stream":"s","id":"1-0","fields":["a","b"`,
		"unknown field":   `{"stream":"s","id":"1-0","fields":[],"more":1}`,
		"odd":             `{"stream":"s","id":"1-0","fields":["a"]}`,
		"no ID":           `{"stream":"s","fields":[]}`,
		"no stream":       `{"id":"1-0","fields":[]}`,
		"bad ID":          `{"stream":"s","id":"x","fields":[]}`,
		"number as value": `{"stream":"s","id":"1-0","fields":["a",1]}`,
		"text behind":     `{"stream":"s","id":"1-0","fields":[]} {}`,
		"not UTF-8":       "{\"stream\":\"s\",\"id\":\"1-0\",\"fields\":[\"a\",\"\xff\"]}",
		"follows no ID":   `{"stream":"s","follows":"x"}`,
		"follows, entry":  `{"stream":"s","id":"1-0","fields":[],"follows":"1-0"}`,
		"follows and gap": `{"stream":"s","follows":"1-0","gap":{"after":"1-0","before":"2-0"}}`,
		"gap and entry":   `{"stream":"s","id":"1-0","fields":[],"gap":{"after":"1-0","before":"2-0"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var s scanner
			_, _, err := s.scan(nil, []byte(text))
			require.ErrorIs(t, err, errLine)
			require.NotErrorIs(t, err, io.EOF, "it is not the end")
		})
	}
}
