package stream_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"heatobserver/entry"
	"heatobserver/stream"
)

// What a dead letter holds whole comes back byte for byte; what it does not is refused.
func TestRawComesBack(t *testing.T) {
	text := rapid.OneOf(
		rapid.String(),
		rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 3), func(b []byte) string { return "b64:" + string(b) }),
		rapid.SampledFrom([]string{"", "b64:", "b64:QQ==", "_left_out", "plan_id", `{"b64":"QQ=="}`}),
	)
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(text, 0, 12).Draw(t, "values")
		want := entry.Make(values[:len(values)/2*2]...)
		got, err := stream.ParseRaw(stream.RawJSON(want))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got), "%q became %q", want, got)
	})
	for _, long := range []entry.Fields{
		entry.Make("a", string(make([]byte, 2*stream.MaxRaw))),
		entry.Make("a", "b", string(make([]byte, 2*stream.MaxRaw)), "c"),
	} {
		_, err := stream.ParseRaw(stream.RawJSON(long))
		require.ErrorIs(t, err, stream.ErrCut)
	}
}

// What is too long is cut and never longer than it may be; it can be read, and says how much was there.
func TestRawIsCut(t *testing.T) {
	long := strings.Repeat("0123456789", stream.MaxRaw/10)
	for _, before := range []int{0, 1000, stream.MaxRaw - 160, stream.MaxRaw - 150, stream.MaxRaw - 140, stream.MaxRaw - 130} {
		raw := stream.RawJSON(entry.Make("a", strings.Repeat("x", before), "b", long, "c", "d"))
		require.LessOrEqual(t, len(raw), stream.MaxRaw)
		var got struct {
			B struct {
				Cut   []byte `json:"cut"`
				Bytes int    `json:"bytes"`
			} `json:"b"`
			LeftOut int `json:"_left_out"`
		}
		require.NoError(t, json.Unmarshal([]byte(raw), &got), "%d bytes before", before)
		if got.B.Bytes == 0 {
			require.Equal(t, 2, got.LeftOut, "%d bytes before leave no room", before)
			require.Greater(t, before, stream.MaxRaw-160)
			continue
		}
		require.Equal(t, 1, got.LeftOut)
		require.Equal(t, len(long), got.B.Bytes)
		require.True(t, strings.HasPrefix(long, string(got.B.Cut)))
		require.Greater(t, len(raw), stream.MaxRaw-160, "as much as there is room for")
	}
}

// TestRawThatIsNone: nothing but what RawJSON writes is taken, and what was cut is told apart.
func TestRawThatIsNone(t *testing.T) {
	for raw, cut := range map[string]bool{
		``: false, `[]`: false, `"a"`: false, `{"a":"b"`: false, `{"a":"b"} {}`: false, `{"a":1}`: true, `{"a":null}`: false, `{"a":true}`: false,
		`{"a":["b"]}`: false, `{"a":{}}`: false, `{"a":{"b64":1}}`: false, `{"a":{"b64":"!"}}`: false, `{"a":{"b64":"QQ==","more":1}}`: false,
		`{"a":{"cut":"QQ==","bytes":9}}`: true, `{"b64:!":"x"}`: false, `{"a" "b"}`: false,
	} {
		fields, err := stream.ParseRaw(raw)
		require.Error(t, err, raw)
		require.Equal(t, cut, errors.Is(err, stream.ErrCut), raw)
		require.Nil(t, fields)
	}
	fields, err := stream.ParseRaw(`{"a":{"b64":"QQ=="},"b64:YjY0":"x"}`)
	require.NoError(t, err)
	require.Equal(t, entry.Make("a", "A", "b64", "x"), fields)
}

func FuzzParseRaw(f *testing.F) {
	for _, raw := range []string{`{}`, `{"a":"b"}`, `{"a":{"b64":"QQ=="},"a":""}`, `{"a":{"cut":"QQ==","bytes":9},"_left_out":2}`, `[`, `{"b64:!":"x"}`} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		fields, err := stream.ParseRaw(raw)
		if err != nil {
			return
		}
		require.NoError(t, fields.Check())
		if again := stream.RawJSON(fields); len(again) < stream.MaxRaw/2 {
			back, err := stream.ParseRaw(again)
			require.NoError(t, err)
			require.Equal(t, fields, back)
		}
	})
}
