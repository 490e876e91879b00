package entry_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"heatobserver/entry"
)

func pairs(f entry.Fields) (out []string) {
	for name, value := range f.All() {
		out = append(out, string(name), string(value))
	}
	return out
}

func TestFields(t *testing.T) {
	f := entry.Make("plan_id", "a4f3", "note", "", "note", "line\r\n$3\r\n")
	assert.Equal(t, "*6\r\n$7\r\nplan_id\r\n$4\r\na4f3\r\n$4\r\nnote\r\n$0\r\n\r\n$4\r\nnote\r\n$10\r\nline\r\n$3\r\n\r\n", string(f))
	require.NoError(t, f.Check())
	assert.Equal(t, 3, f.Len())
	value, ok := f.Get("note")
	assert.True(t, ok)
	assert.Equal(t, "line\r\n$3\r\n", value, "the last one counts")
	_, ok = f.Get("absent")
	assert.False(t, ok)
	for name := range f.All() {
		assert.Equal(t, "plan_id", string(name), "a loop may be left")
		break
	}
	for name, value := range f.Strings() {
		assert.Equal(t, "plan_id a4f3", name+" "+value)
		break
	}
	odd := []string{"name"}
	assert.Panics(t, func() { entry.Make(odd...) })
}

// TestFieldsRoundTrip: what was put in comes out, by every way in which it can be read, and Cut takes it off whatever follows.
func TestFieldsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "\r\n", "*2\r\n", "\x00"})), 0, 12).Draw(t, "strings")
		in = in[:len(in)/2*2]
		f := entry.Make(in...)
		require.NoError(t, f.Check())
		require.Equal(t, len(in)/2, f.Len())
		require.Equal(t, append([]string{}, in...), append([]string{}, pairs(f)...))
		require.Equal(t, pairs(f), append([]string(nil), f.Values()...))
		var texts []string
		for name, value := range f.Strings() {
			texts = append(texts, name, value)
		}
		require.Equal(t, pairs(f), texts)
		for i := 0; i < len(in); i += 2 {
			_, ok := f.Get(in[i])
			require.True(t, ok)
		}

		tail := rapid.SliceOf(rapid.Byte()).Draw(t, "tail")
		cut, rest, err := entry.Cut(append(bytes.Clone(f), tail...))
		require.NoError(t, err)
		require.Equal(t, string(f), string(cut))
		require.Equal(t, string(tail), string(rest))
		require.Equal(t, len(cut), cap(cut), "who appends to fields must not write into what follows")

		short := f[:rapid.IntRange(0, len(f)-1).Draw(t, "cut at")]
		require.ErrorIs(t, short.Check(), entry.ErrFields)
		_, _, err = entry.Cut(short)
		require.ErrorIs(t, err, entry.ErrFields)
	})
}

func TestMalformedFields(t *testing.T) {
	for _, text := range []string{
		"", "*", "*\r\n", "*1\r\n$1\r\na\r\n", "*-1\r\n", "*2\r\n", "*2\r\n$1\r\na\r\n", "*2\r\n$1\r\na\r\n$5\r\nab\r\n", "*2\r\n$1\r\na\r\n$1\r\nb\n\n",
		"*2\r\n:1\r\n$1\r\nb\r\n", "*2\r\n$-1\r\n$1\r\nb\r\n", "*2\n$1\na\n$1\nb\n", "$2\r\nab\r\n", "*99999999999\r\n", "*0\r\nx",
	} {
		f := entry.Fields(text)
		assert.ErrorIs(t, f.Check(), entry.ErrFields, "%q", text)
		assert.Empty(t, pairs(f), "%q", text)
		assert.Empty(t, f.Values(), "%q", text)
	}
	assert.Equal(t, []string{"a", "b"}, pairs(entry.Fields("*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n")), "what can be read is read")
	assert.Zero(t, entry.Fields("*3\r\n").Len())
}

// FuzzFields: nothing that can arrive makes reading panic, or read beyond what is there.
func FuzzFields(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n$1\r\nb\r\n"))
	f.Add([]byte("*2\r\n$1\r\na\r\n$999999999\r\nb\r\n"))
	f.Add([]byte("*2000000000\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fields := entry.Fields(b)
		read := pairs(fields)
		if values := fields.Values(); len(values) != len(read) {
			t.Fatalf("%d and %d strings", len(values), len(read))
		}
		cut, rest, err := entry.Cut(b)
		if (err == nil && len(rest) == 0) != (fields.Check() == nil) {
			t.Fatalf("Cut says %v with %d bytes left, Check says %v", err, len(rest), fields.Check())
		}
		if err == nil && (cut.Check() != nil || len(cut)+len(rest) != len(b)) {
			t.Fatalf("%q was cut into %q and %q", b, cut, rest)
		}
	})
}
