package web

import "testing"

// Bins begin at 0, follow each other without gaps, grow, hold what they should and stay as few as the document says.
func TestBinsFollowEachOther(t *testing.T) {
	for _, reach := range []int64{0, 1, 110, 2200, 60_000, 660_000, 1 << 40} {
		bins := binsTo(reach)
		if bins[0].From != 0 || len(bins) > 120 {
			t.Errorf("to %d: %d bins from %d", reach, len(bins), bins[0].From)
		}
		for i, b := range bins {
			if b.To <= b.From || i > 0 && (b.From != bins[i-1].To || b.To-b.From < (bins[i-1].To-bins[i-1].From)*2/3) {
				t.Errorf("to %d: bin %d is %+v", reach, i, b)
			}
		}
		if last := bins[len(bins)-1]; last.To <= min(reach, 800_000) {
			t.Errorf("to %d: the last bin is %+v", reach, last)
		}
	}
}
