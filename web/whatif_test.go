package web

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"heatobserver/replay"
)

// TestCurveReachesTheLongestWait has no gaps on a logarithmic axis up to the longest wait that may be allowed.
func TestCurveReachesTheLongestWait(t *testing.T) {
	for _, longest := range []int64{1, 2, 30_000, 170_000, 600_000} {
		c := curve{Curve: replay.Curve{Longest: time.Duration(longest) * time.Millisecond, Decided: 1, Delays: &replay.Histogram{}}}
		table := c.whatIf(1).Curve
		require.LessOrEqual(t, len(table.WaitMs), 400, "as the document says")
		require.Len(t, table.Coverage, len(table.WaitMs))
		last := int64(0)
		for _, ms := range table.WaitMs {
			require.Greater(t, ms, last)
			require.LessOrEqual(t, ms-last, max(1, last/32))
			last = ms
		}
		require.Equal(t, longest, last)
	}
}

var errReleased = errors.New("released")

// waiting is a history that answers only when it is let go.
type waiting struct {
	replay.Source
	release chan struct{}
}

func (h *waiting) Extent(ctx context.Context, _ replay.Kind) (replay.Extent, error) {
	select {
	case <-h.release:
		return replay.Extent{}, errReleased
	case <-ctx.Done():
		return replay.Extent{}, ctx.Err()
	}
}

// TestWhoLeavesTakesNoCurveFromOthers has a client leave while the curve is made that it asked for.
func TestWhoLeavesTakesNoCurveFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &waiting{release: make(chan struct{})}
		c := curves{opts: &Options{History: h, CurveLifetime: time.Minute}, work: make(gate, 1)}
		ctx, leave := context.WithCancel(t.Context())
		go func() { _, _ = c.get(ctx) }()
		synctest.Wait()
		leave()
		synctest.Wait()
		close(h.release)
		_, err := c.get(t.Context())
		require.ErrorIs(t, err, errReleased)
	})
}

func TestCurveEndsWithThePage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan struct{})
		c := curves{opts: &Options{History: &waiting{}}, work: make(gate, 1), ended: ended}
		close(ended)
		began := time.Now()
		_, err := c.get(t.Context())
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, time.Since(began))
	})
}
