package replay

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestLooksInOrder: the earliest look comes first, of one millisecond that of the plan which was read first, and none is lost.
func TestLooksInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var heap looks
	var sorted []look
	for round := range 1000 {
		if round < 300 || random.IntN(2) == 0 {
			v := look{at: random.Int64N(50), w: &waiter{order: random.IntN(1 << 30)}}
			heap.push(v)
			sorted = append(sorted, v)
			slices.SortFunc(sorted, func(a, b look) int { return cmp.Or(cmp.Compare(a.at, b.at), a.w.order-b.w.order) })
		} else if len(sorted) > 0 {
			require.Same(t, sorted[0].w, heap.pop().w, "round %d", round)
			sorted = sorted[1:]
		}
	}
	require.Len(t, heap, len(sorted))
}
