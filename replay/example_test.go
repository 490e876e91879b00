package replay_test

import (
	"context"
	"fmt"
	"time"

	"heatobserver/archive"
	"heatobserver/replay"
)

// What the observer should have seen, and whether half the allowed wait would have been enough.
func Example() {
	ctx := context.Background()
	source, err := archive.Open("testdata/history")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, wait := range []time.Duration{2 * time.Second, time.Second} {
		settings := replay.Settings{MaxWait: wait, Poll: 100 * time.Millisecond, Notify: true, DedupeTTL: 10 * time.Minute}
		result, err := replay.Run(ctx, source, replay.Everything, replay.Options{}, settings, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, p := range result.Report().Points {
			fmt.Printf("max wait %v, %s: %d of %d found\n", wait, p.Name, p.Found, p.Observations)
		}
	}
	// Output:
	// max wait 2s, create_apply_plan: 0 of 397 found
	// max wait 2s, publish_plan_post: 381 of 396 found
	// max wait 1s, create_apply_plan: 0 of 397 found
	// max wait 1s, publish_plan_post: 378 of 396 found
}
