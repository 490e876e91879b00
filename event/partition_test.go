package event

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPartition(t *testing.T) {
	// FNV-1a of "a" is 0xe40c292c: whoever publishes plans in another language has to find the same partition.
	require.Equal(t, int(uint32(0xe40c292c)%7), Partition("a", 7))
	require.Equal(t, 1, Partition("b", 2), "two partitions are two")
	require.Zero(t, Partition("a", 1))
	require.Zero(t, Partition("a", 0))
	counts := make([]int, 8)
	for i := range 8000 {
		counts[Partition(fmt.Sprintf("%016x", i*7919), 8)]++
	}
	for k, n := range counts {
		require.InDelta(t, 1000, n, 200, "partition %d", k)
	}
}
