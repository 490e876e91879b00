package webtest

import (
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/memory"
	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
)

// A page that stays open does not grow, however many observations, dead letters and looks at timelines go by.
func TestOpenPageDoesNotGrow(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	w := startWorker(t, srv, "worker-a", "P28_LATE_OBS_MAX_WAIT_MS=100")
	b := open(t)
	b.visit(w.url())
	sent := 0
	pass := func() (nodes, listeners int64, elements float64) {
		for range 5 {
			for range 60 {
				sent++
				publish(t, client, fmt.Sprintf("plan-%d", sent))
			}
			publish(t, client, "") // two dead letters
			observed(t, client, int64(2*sent))
			newest := newestPlan(t, client) // more came at once than are listed
			b.holds("the newest on the page", row(newest))
			b.openPlan(newest)
			b.do(`document.getElementById("plan").close(); document.activeElement.blur()`)
		}
		call(b, heapprofiler.CollectGarbage, cdp.Empty{})
		counters := call(b, memory.GetDOMCounters, cdp.Empty{})
		return counters.Nodes, counters.JsEventListeners, eval[float64](b, `document.getElementsByTagName("*").length`)
	}
	pass() // fills the tables
	nodes, listeners, elements := pass()
	for range 2 {
		nodesNow, listenersNow, elementsNow := pass()
		t.Logf("after %d plans: %d nodes, %d listeners, %g elements", sent, nodesNow, listenersNow, elementsNow)
		// What waits for the collector makes the counters swing; growth would add hundreds in each pass.
		if nodesNow > nodes+nodes/5 || listenersNow > listeners+20 || elementsNow > elements+50 {
			t.Fatalf("it grows: from %d nodes, %d listeners and %g elements to %d, %d and %g",
				nodes, listeners, elements, nodesNow, listenersNow, elementsNow)
		}
	}
	b.quiet()
}

// newestPlan is the plan of the newest observation.
func newestPlan(t *testing.T, client *redis.Client) string {
	t.Helper()
	found, err := client.XRevRangeN(t.Context(), observedStream, "+", "-", 1).Result()
	if err != nil || len(found) == 0 {
		t.Fatalf("read the newest observation: %v, %v", found, err)
	}
	return fmt.Sprint(found[0].Values["plan_id"])
}
