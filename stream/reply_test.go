package stream

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// TestRawReply: it takes what io.CopyN hands over, in any pieces, and hides no end that came too soon.
func TestRawReply(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "halves": iotest.HalfReader,
	} {
		t.Run(name, func(t *testing.T) {
			r := rawReply{}
			_, err := r.Write([]byte("*1\r\n"))
			require.NoError(t, err)
			n, err := io.CopyN(&r, wrap(strings.NewReader(text)), 7001)
			require.NoError(t, err)
			require.Equal(t, int64(7001), n)
			require.True(t, bytes.Equal(r.bytes, []byte("*1\r\n"+text[:7001])))
		})
	}
	var r rawReply
	n, err := io.CopyN(&r, strings.NewReader("short"), 7)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, int64(5), n)
	broken := errors.New("broken")
	_, err = io.CopyN(&r, iotest.ErrReader(broken), 7)
	require.ErrorIs(t, err, broken)
	n, err = io.Copy(&r, strings.NewReader("of no known length"))
	require.NoError(t, err)
	require.Equal(t, int64(18), n)
	require.Equal(t, "shortof no known length", string(r.bytes))
}
