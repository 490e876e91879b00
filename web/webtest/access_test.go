package webtest

import (
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"heatobserver/internal/redistest"
)

// busy is an observer with something in every part of the page, and a browser on it.
func busy(t *testing.T) (*browser, worker) {
	t.Helper()
	srv := redistest.Start(t)
	client := srv.Client()
	w := startWorker(t, srv, "worker-a")
	write(t, client, 3, 3, 2)
	publish(t, client, "")
	b := open(t)
	b.visit(w.url())
	b.holds("rows", `document.querySelectorAll("#feed-rows tr").length >= 16`)
	b.holds("dead letters", `document.querySelectorAll("#dead-rows details").length === 2`)
	b.holds("the picture", `document.querySelector("#flow-picture svg") !== null`)
	b.holds("the charts", `document.querySelectorAll("#coverage canvas, #reasons canvas, #waits canvas").length === 3`)
	return b, w
}

// axe finds nothing serious or critical, in both colour schemes, on a phone, and in the timeline.
func TestAccessible(t *testing.T) {
	long(t)
	source, err := os.ReadFile("testdata/axe-core/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	b, _ := busy(t)
	action(b, "load axe", chromedp.Evaluate[chromedp.Void](string(source)))
	look := func(where string) {
		t.Helper()
		for _, finding := range eval[[]string](b, `axe.run({ resultTypes: ["violations"] }).then(({ violations }) => violations
			.filter((v) => ["serious", "critical"].includes(v.impact))
			.flatMap((v) => v.nodes.map((n) => v.impact + " " + v.id + ": " + n.html.slice(0, 160) + " " + n.failureSummary)))`) {
			t.Errorf("%s: %s", where, finding)
		}
	}
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		look(scheme)
		b.openPlan("now-0")
		look(scheme + " timeline")
		b.press(kb.Escape)
	}
	b.phone()
	look("phone")
	b.quiet()
}

// Everything can be reached and left with the keyboard alone.
func TestKeyboardAlone(t *testing.T) {
	long(t)
	b, _ := busy(t)
	const focused = `(document.activeElement.id || document.activeElement.textContent.trim() || document.activeElement.tagName)`
	b.press(kb.Tab)
	b.shows("the first stop", focused, "Skip to the content")
	if !eval[bool](b, `document.activeElement.getBoundingClientRect().top >= 0`) {
		t.Error("the skip link is not seen while it has the focus")
	}
	b.press(kb.Enter)
	b.shows("behind the skip link", focused, "main")

	// Once round the page: every stop shows that it has the focus, and the walk comes out at the end.
	b.do(`document.activeElement.blur(); window.stops = new Set()`)
	slider, rows := false, 0
	end := false
	for range 200 {
		b.press(kb.Tab)
		stop := eval[string](b, `document.activeElement === document.body || document.activeElement.classList.contains("skip") && stops.size > 5 ? "" : (stops.add(document.activeElement), `+focused+`)`)
		if stop == "" {
			end = true
			break
		}
		if !eval[bool](b, `(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== "none" && parseFloat(s.outlineWidth) >= 2; })()`) {
			t.Errorf("nothing shows that %q has the focus", stop)
		}
		if stop == "whatif-wait" {
			slider = true
		}
		if eval[bool](b, `document.activeElement.closest("#feed-rows") !== null`) {
			rows++
		}
	}
	if !end {
		t.Errorf("the walk does not end: it stops at %s", eval[string](b, focused))
	}
	if rows < 16 || !slider && eval[bool](b, `!document.getElementById("whatif-wait").disabled`) {
		t.Errorf("the walk met %d rows, the slider: %v", rows, slider)
	}

	// A timeline opens with Enter, closes with Escape, and gives the focus back.
	b.do(`[...document.querySelectorAll("#feed-rows button")].find((e) => e.textContent === "never-1").focus()`)
	b.press(kb.Enter)
	b.holds("the timeline", `document.getElementById("plan").open && document.querySelector("#plan .what") !== null`)
	b.press(kb.Tab)
	b.holds("the focus in the timeline", `document.activeElement.closest("#plan") !== null || document.activeElement === document.body`)
	b.press(kb.Escape)
	b.holds("the timeline closed", `!document.getElementById("plan").open`)
	b.shows("the focus", focused, "never-1")
	b.quiet()
}

// On a phone nothing is cut off, and fingers hit what they aim at.
func TestPhone(t *testing.T) {
	long(t)
	b, w := busy(t)
	b.phone()
	b.visit(w.url())
	b.holds("rows", `document.querySelectorAll("#feed-rows tr").length >= 16`)
	b.fits()
	for _, small := range eval[[]string](b, `[...document.querySelectorAll("main button, main input, main select, main summary")]
		.map((e) => [e, e.getBoundingClientRect()]).filter(([, r]) => r.height < 24 || r.width < 24)
		.map(([e, r]) => e.tagName + " " + e.textContent.slice(0, 20) + " " + r.width + "x" + r.height)`) {
		t.Errorf("too small for a finger: %s", small)
	}
	b.openPlan("now-0")
	if got := eval[string](b, `(() => { const r = document.getElementById("plan").getBoundingClientRect(); return r.left >= 0 && r.right <= 360 && r.bottom <= 740 ? "" : JSON.stringify(r); })()`); got != "" {
		t.Errorf("the timeline does not fit: %s", got)
	}
	b.fits()
	b.quiet()
}

// A slow connection loads little: everything before the first event is under 100 kB.
func TestSmall(t *testing.T) {
	long(t)
	b, _ := busy(t)
	got := eval[[]float64](b, `[[...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")]
		.filter((e) => !e.name.includes("/api/")).reduce((sum, e) => sum + e.encodedBodySize, 0)]`)
	if got[0] <= 20_000 || got[0] > 100_000 {
		t.Errorf("page and assets are %s", fmt.Sprint(got[0], " bytes"))
	}
}
