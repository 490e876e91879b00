package webtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/redis/go-redis/v9"

	"heatobserver/internal/redistest"
)

// write publishes plans of which some have heat at once, some after they were read, and some never, and waits until all
// are observed.
func write(t *testing.T, client *redis.Client, atOnce, later, never int) {
	t.Helper()
	before, err := client.XLen(t.Context(), observedStream).Result()
	if err != nil {
		t.Fatal(err)
	}
	for i := range atOnce {
		plan := fmt.Sprintf("now-%d", i)
		heat(t, client, plan)
		publish(t, client, plan)
	}
	for i := range never {
		publish(t, client, fmt.Sprintf("never-%d", i))
	}
	for i := range later {
		plan := fmt.Sprintf("later-%d", i)
		publish(t, client, plan)
		observed(t, client, before+1) // at least one has been read
		heat(t, client, plan)
	}
	observed(t, client, before+2*int64(atOnce+later+never))
}

// The numbers on the page are those of the stream, in the headline, in the reasons and in the rows.
func TestNumbersAreThoseOfTheStream(t *testing.T) {
	srv := redistest.Start(t)
	client := srv.Client()
	w := startWorker(t, srv, "worker-a")
	write(t, client, 4, 8, 3)
	publish(t, client, "", "steps", "[]") // a dead letter in each group
	eventually(t, "two dead letters", func() (bool, string) {
		n, err := client.XLen(t.Context(), deadStream).Result()
		return n == 2, fmt.Sprint(n, err)
	})
	early, late, entries := readObserved(t.Context(), t, client)

	b := open(t)
	b.visit(w.url())
	b.shows("late coverage", `document.getElementById("headline").textContent.replace(/(\d)%/, "$1 %")`, late.coverage())
	b.shows("early coverage", fact("Early coverage"), early.coverage())
	b.shows("late found", fact("Late, found in time"), fmt.Sprint(late.found))
	b.shows("after the deadline", fact("Found after the deadline"), fmt.Sprint(late.after))
	var reasons []string
	for _, reason := range []string{"ok", "timeout", "missing", "redis_error", "parse_error"} {
		if n := late.reasons[reason]; n > 0 {
			reasons = append(reasons, fmt.Sprintf("%s %d", reason, n))
		}
	}
	b.shows("the reasons of the late observations", text("#reasons-words"), strings.Join(reasons, " · "))

	// The rows are the entries of the stream, newest first.
	b.holds("all rows", fmt.Sprintf(`document.querySelectorAll("#feed-rows tr").length === %d`, len(entries)))
	rows := eval[[]string](b, `[...document.querySelectorAll("#feed-rows tr")].map((row) => [row.dataset.id, row.cells[2].textContent, row.cells[4].querySelector(".reason").textContent].join(" "))`)
	for i, row := range rows {
		e := entries[len(entries)-1-i]
		if want := fmt.Sprint(e.ID, " ", e.Values["plan_id"], " ", e.Values["heat_reason"]); row != want {
			t.Errorf("row %d is %q, but entry %q", i, row, want)
		}
	}

	// The flow has both groups at rest, and the fleet its one worker.
	for _, group := range []string{"early", "late"} {
		b.shows(group+" in the flow", text(`[data-node="`+group+`"]`)+`.includes("0 pending") ? "at rest" : `+text(`[data-node="`+group+`"]`), "at rest")
		b.shows("dead letters of "+group, text(`[data-edge="`+group+`-observed"] text:last-child`), "dead 1")
	}
	b.holds("the worker alive", `document.querySelector("#fleet-rows tr")?.dataset.worker.startsWith("`+w.Consumer()+`") && document.querySelector("#fleet-rows tr").dataset.state === "alive"`)

	// What comes now turns up by itself, and the filter asks the whole history.
	publish(t, client, "fresh", "symbol", "ETHUSDT")
	b.holds("the fresh plan on top", `[...document.querySelectorAll("#feed-rows tr")].slice(0, 2).some((row) => row.cells[2].textContent === "fresh")`)
	b.choose("#filter-reason", "timeout")
	b.holds("only timeouts", fmt.Sprintf(`document.querySelectorAll("#feed-rows tr").length === %d && [...document.querySelectorAll("#feed-rows .reason")].every((r) => r.textContent === "timeout")`, late.reasons["timeout"]+1))
	b.quiet()
}

// A worker that was killed turns up as dead, in words and beside those that live.
func TestKilledWorkerTurnsUpAsDead(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	stays := startWorker(t, srv, "stays")
	dies := startWorker(t, srv, "dies")
	write(t, client, 20, 0, 0)
	b := open(t)
	b.visit(stays.url())
	state := func(w worker) string {
		return `(document.querySelector('#fleet-rows tr[data-worker^="` + w.Consumer() + `"]')?.dataset.state ?? "(none)")`
	}
	b.shows("the state of the second worker", state(dies), "alive")
	dies.Kill()
	b.shows("the state of the killed worker", state(dies), "dead")
	b.shows("the state of the other", state(stays), "alive")
	b.shows("the fleet in words", text("#fleet-words"), "1 alive, 1 dead")
	b.quiet()
}

// A part that is stuck is red in the picture, and says why.
func TestStuckPartIsRed(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	// It lets through one plan in ten seconds, and these are ten minutes old.
	w := startWorker(t, srv, "slow", "P28_THROTTLE_PER_SEC=0.1", "P28_THROTTLE_BURST=1", "P28_LATE_OBS_MAX_INFLIGHT=1")
	then := time.Now().Add(-10 * time.Minute).UnixMilli()
	for i := range 50 {
		id := fmt.Sprintf("%d-0", then+int64(i))
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: planStream, ID: id, Values: []string{"plan_id", id, "symbol", "X"}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t)
	b.visit(w.url())
	b.holds("late is red", `document.querySelector('[data-edge="plans-late"]')?.hasAttribute("data-stuck") && document.querySelector('[data-node="late"]').hasAttribute("data-stuck")`)
	b.holds("and says why", `document.getElementById("stuck").textContent.includes("group p28_late of quantum:stream:apply.plan")`)
	b.holds("the verdict is bad", `document.getElementById("verdict").dataset.level === "bad"`)
	b.quiet()
}

// hostile are texts that would do something if a page took them for markup.
var hostile = []string{
	`<img src=x onerror="window.owned=1">`,
	`"><script>window.owned=1</script>`,
	`<svg onload=window.owned=1>`,
	`</td></table><iframe srcdoc="<script>parent.owned=1</script>">`,
	`javascript:window.owned=1//`,
	`../../../summary?x=`,
	`..`,
	`a/../b%2f?c#d&e=f`,
	"\u202egnp.exe",
	strings.Repeat("W", 200),
}

// What comes from plans and dead letters is text, wherever it is shown, and moves nothing.
func TestHostileTextIsText(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	w := startWorker(t, srv, "worker-a")
	for _, s := range hostile {
		publish(t, client, s, "symbol", s, "decision", "<b>"+s[:min(20, len(s))])
		publish(t, client, "", s, s) // a dead letter with a hostile name and value of a field
	}
	observed(t, client, int64(2*len(hostile)))
	b := open(t)
	b.phone() // where there is least room
	b.visit(w.url())
	b.holds("all rows", fmt.Sprintf(`document.querySelectorAll("#feed-rows tr").length === %d`, 2*len(hostile)))
	b.holds("dead letters", `document.querySelectorAll("#dead-rows details").length > 0`)
	b.do(`document.querySelectorAll("details").forEach((d) => (d.open = true))`)
	shown := eval[[]string](b, `[...document.querySelectorAll("#feed-rows button"), ...document.querySelectorAll("#dead-rows dd")].map((e) => e.textContent)`)
	for _, s := range hostile {
		if !slices.Contains(shown, s) {
			t.Errorf("%q is not shown as text", s)
		}
		// Its timeline opens, and is its own.
		b.openPlan(s)
		b.press(kb.Escape)
		b.holds("the timeline closed", `!document.getElementById("plan").open`)
	}
	if eval[bool](b, `"owned" in window || document.querySelector("main img, main iframe, main script, main [onerror], main [onload]") !== null`) {
		t.Error("a text from a stream has become part of the page")
	}
	b.fits()
	b.quiet()
}

// The state of the connection is shown, and it comes back by itself with the numbers of then.
func TestComesBackByItself(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	first := startWorker(t, srv, "first")
	write(t, client, 3, 0, 0)
	front := newFront(t, first.Addr)
	b := open(t)
	b.visit(front.url())
	b.shows("late coverage", fact("Late, found in time"), "3")
	first.Kill()
	b.shows("the state without an observer", text("#state"), "reconnecting")
	second := startWorker(t, srv, "second")
	for i := range 2 {
		plan := fmt.Sprintf("after-%d", i)
		heat(t, client, plan)
		publish(t, client, plan)
	}
	observed(t, client, 10)
	front.to(second.Addr)
	b.shows("the state with one", text("#state"), "live")
	b.shows("late coverage of the streams", fact("Late, found in time"), "5")
}

// What comes by events while an answer is on its way is not lost with it.
func TestSlowAnswerLosesNoRow(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	w := startWorker(t, srv, "worker-a")
	write(t, client, 3, 0, 0)
	b := open(t)
	b.visit(w.url())
	b.holds("all rows", `document.querySelectorAll("#feed-rows tr").length === 6`)
	b.do(`const real = window.fetch;
		window.fetch = async (url, options) => {
			const answer = await real(url, options);
			if (String(url).includes("observations")) await new Promise((resolve) => (window.goOn = resolve));
			return answer;
		}`)
	b.choose("#filter-symbol", "BTCUSDT")
	b.holds("the answer is kept back", `window.goOn`)
	b.do(`document.querySelector("#feed-rows tr").dataset.old = ""`) // the answer draws all rows anew
	publish(t, client, "meanwhile")
	b.holds("the row that came by events", row("meanwhile"))
	b.do(`window.goOn()`)
	b.holds("the answer is drawn", `!document.querySelector("#feed-rows tr[data-old]")`)
	if !eval[bool](b, row("meanwhile")) {
		t.Error("the answer has swept away what was newer")
	}
	b.quiet()
}

// row is an expression for whether a plan is among the observations.
func row(plan string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#feed-rows button")].some((e) => e.textContent === %q)`, plan)
}

// A timeline that is opened before the end of the one before was told stays open and is filled.
func TestTimelinesInQuickSuccession(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	w := startWorker(t, srv, "worker-a")
	write(t, client, 2, 0, 0)
	b := open(t)
	b.visit(w.url())
	b.holds("all rows", `document.querySelectorAll("#feed-rows tr").length === 4`)
	b.openPlan("now-0")
	b.do(`document.getElementById("plan").close(); [...document.querySelectorAll("#feed-rows button")].find((e) => e.textContent === "now-1").click()`)
	b.shows("the title of the timeline", text("#plan-title"), "Plan now-1")
	b.holds("its timeline", `[...document.querySelectorAll("#plan .what")].some((e) => e.textContent === "published")`)
	b.quiet()
}

// The dead letters that a person wants are found by reason and group.
func TestDeadLettersAreFiltered(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	w := startWorker(t, srv, "worker-a")
	publish(t, client, "") // one in each group
	b := open(t)
	b.visit(w.url())
	letters := func(n int) string {
		return fmt.Sprintf(`document.querySelectorAll("#dead-rows details").length === %d`, n)
	}
	b.holds("both dead letters", letters(2))
	b.holds("both groups to choose from", `[...document.querySelectorAll("#dead-groups option")].map((o) => o.value).join() === "p28_early,p28_late"`)
	b.choose("#dead-group", "p28_late")
	b.holds("the one of late", letters(1)+` && document.querySelector("#dead-rows summary").textContent.includes("p28_late")`)
	publish(t, client, "")
	b.holds("and the next", letters(2)+` && !document.getElementById("dead-rows").textContent.includes("p28_early")`)
	b.choose("#dead-reason", "bad_field")
	b.holds("none of another reason", `document.getElementById("dead-rows").textContent === "No dead letter fits."`)
	b.choose("#dead-reason", "no_plan_id")
	b.choose("#dead-group", "")
	b.holds("all of that reason", letters(4))
	b.quiet()
}
