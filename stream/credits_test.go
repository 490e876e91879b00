package stream

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCreditsAreShared: of several takers each leaves most of what is free to the others, none takes nothing, and nobody more than
// is free.
func TestCreditsAreShared(t *testing.T) {
	for _, c := range []struct {
		free, takers, most int
		want               []int
	}{
		{12, 1, 100, []int{12}},
		{12, 0, 5, []int{5, 5, 2}},
		{12, 3, 100, []int{4, 2, 2, 1, 1, 1, 1}},
		{12, 3, 2, []int{2, 2, 2, 2, 1, 1, 1, 1}},
	} {
		credits := newCredits(c.free).shared(c.takers)
		var got []int
		for left := c.free; left > 0; left -= got[len(got)-1] {
			got = append(got, credits.take(t.Context(), c.most))
		}
		require.Equal(t, c.want, got, "%+v", c)
		require.Zero(t, credits.free)
	}
}

// TestCreditsInTheirTurn: those that wait are served in the order in which they came, also where what is free would do for one
// that came later; and one that goes away holds nobody up.
func TestCreditsInTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		credits := newCredits(2)
		require.Equal(t, 2, credits.take(t.Context(), 2))
		type served struct{ who, n int }
		order := make(chan served, 10)
		wait := func(ctx context.Context, who, most int) {
			go func() { order <- served{who, credits.take(ctx, most)} }()
			synctest.Wait()
		}
		impatient, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		wait(impatient, 0, 1)
		wait(t.Context(), 1, 1)
		wait(t.Context(), 2, 3)
		wait(t.Context(), 3, 1)
		require.Empty(t, order)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, served{0, 0}, <-order)

		credits.give(2) // one each for the first two; each wakes the next
		synctest.Wait()
		require.Equal(t, served{1, 1}, <-order)
		require.Equal(t, served{2, 1}, <-order)
		require.Empty(t, order, "the third waits")
		credits.give(0)
		synctest.Wait()
		require.Empty(t, order)
		credits.give(1)
		synctest.Wait()
		require.Equal(t, served{3, 1}, <-order)
		require.Zero(t, credits.queue.Len())
	})
}

// TestCreditsPassNobody: one that was woken and has not yet taken comes before one that takes now.
func TestCreditsPassNobody(t *testing.T) {
	credits := newCredits(1)
	credits.queue.PushBack(make(chan struct{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // or it would wait
	require.Zero(t, credits.take(ctx, 1))
	require.Equal(t, 1, credits.free)
}

// TestCreditsOfOneThatLeft: what was free for one that went away goes to the next.
func TestCreditsOfOneThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		credits := newCredits(1)
		require.Equal(t, 1, credits.take(t.Context(), 1))
		ctx, leave := context.WithCancel(t.Context())
		left, got := make(chan int, 1), make(chan int, 1)
		go func() { left <- credits.take(ctx, 1) }()
		synctest.Wait()
		go func() { got <- credits.take(t.Context(), 1) }()
		synctest.Wait()
		leave()
		credits.give(1) // either may be seen first: that it has left, or that it is its turn
		require.Zero(t, <-left)
		require.Equal(t, 1, <-got)
	})
}
