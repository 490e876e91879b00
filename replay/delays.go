package replay

import (
	"context"
	"fmt"

	"heatobserver/event"
)

// Delays are those from the publishing of a plan to the entry of its late observation, both by the clock of the Redis
// server. Those that found heat in time count.
type Delays struct {
	Found    Histogram
	Negative int64 // the plan's ID is later than the observation's
	Foreign  int64 // observations without source_id: not ours
}

// MeasureDelays reads the observations of r.
func MeasureDelays(ctx context.Context, source Source, r Range) (*Delays, error) {
	c, err := open(ctx, source, Observations, r, r.From)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.r.Close() }()
	d := &Delays{}
	for n := 1; ; n++ {
		item := c.peek()
		if item == nil {
			return d, c.failure()
		}
		if n%8192 == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("measure delays: %w", ctx.Err())
		}
		o, err := event.DecodeObservation(item.Fields)
		made := item.ID.Ms
		c.next()
		switch {
		case err != nil || o.Point != event.Late || !o.Found() || o.AfterDeadline:
		case o.SourceID == zeroID:
			d.Foreign++
		case made < o.SourceID.Ms:
			d.Negative++
		default:
			d.Found.Add(int64(made - o.SourceID.Ms))
		}
	}
}
