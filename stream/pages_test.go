package stream

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// However a reply is cut, its end is found when the last byte has come and not before.
func TestReplyIsWhole(t *testing.T) {
	for _, text := range []string{
		"*0\r\n", "*-1\r\n", "$-1\r\n", "$0\r\n\r\n", "-ERR no\r\n", ":7\r\n", "+OK\r\n", "$3\r\n\n\r\n\r\n",
		"*2\r\n*2\r\n$3\r\n1-0\r\n*4\r\n$1\r\na\r\n$0\r\n\r\n$1\r\nb\r\n$2\r\n\r\n\r\n*2\r\n$3\r\n2-0\r\n*-1\r\n",
	} {
		whole := extent{at: 2, open: 1}
		for size := range len(text) {
			done, err := whole.reach([]byte("xx" + text[:size]))
			require.NoError(t, err)
			require.False(t, done, "%q after %d", text, size)
		}
		done, err := whole.reach([]byte("xx" + text))
		require.NoError(t, err)
		require.True(t, done, "%q", text)
		require.Equal(t, len(text)+2, whole.at)
	}
	for _, text := range []string{">1\r\n", "%1\r\n", "\n", "\r\n", "$x\r\n", "*\r\n"} {
		whole := extent{open: 1}
		_, err := whole.reach([]byte(text))
		require.ErrorIs(t, err, errReply, "%q", text)
	}
}
