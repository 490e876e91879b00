package stream_test

import (
	"bytes"
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
