package webtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"heatobserver/event"
	"heatobserver/internal/redistest"
)

// What two partitions have under the same entry ID is two rows, each with what is its own.
func TestRowsOfTwoPartitionsWithTheSameID(t *testing.T) {
	long(t)
	srv := redistest.Start(t)
	client := srv.Client()
	w := startWorker(t, srv, "worker-a", "P28_PLAN_STREAMS="+planStream+":{k}*2")
	now, err := client.Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	at := now.UnixMilli() - 1000
	add := func(stream string, id int64, values ...string) {
		t.Helper()
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: stream, ID: fmt.Sprintf("%d-0", id), Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []string{"{0}", "{1}"} {
		add(observedStream+":"+k, at, "ts_epoch", "1", "plan_id", "of-"+k, "symbol", "BTCUSDT", "apply_component", "apply",
			"obs_point", event.Late.String(), "heat_found", "0", "heat_reason", "timeout", "debug_json", "{}")
		letter := []string{"reason", "bad_field", "error", "of " + k, "stream", planStream + ":" + k, "group", "p28_late", "entry_id", "1-1"}
		add(deadStream+":"+k, at, append(letter, "raw", `{"note":"short `+k+`"}`)...)
		add(deadStream+":"+k, at+1, append(letter, "raw", `{"note":"long `+k+strings.Repeat("x", 5000)+`"}`)...)
	}

	b := open(t)
	b.visit(w.url())
	b.holds("a row of each", row("of-{0}")+" && "+row("of-{1}")+` && document.querySelectorAll("#feed-rows tr").length === 2`)
	const letters = `document.querySelectorAll("#dead-rows details")`
	b.holds("two dead letters of each", letters+`.length === 4`)
	for i, k := range []string{"{0}", "{1}"} { // the newest first, and those are long
		b.do(`const letter = document.querySelectorAll("#dead-rows details")[Number(%s)]; letter.open = true; letter.querySelector("button").click()`, fmt.Sprint(i))
		b.holds("the raw fields of "+k, fmt.Sprintf(`%s[%d].querySelector("dd")?.textContent.startsWith("long %s")`, letters, i, k))
	}
	// One that is open stays so, and it alone, when another comes.
	b.do(`document.querySelectorAll("#dead-rows details").forEach((letter, i) => (letter.open = i === 0 || i === 2))`)
	add(deadStream+":{0}", at+2, "reason", "bad_field", "stream", planStream+":{0}", "group", "p28_late", "entry_id", "1-2")
	b.holds("one more", letters+`.length === 5`)
	if got := eval[string](b, `[...`+letters+`].map((d) => d.open).join()`); got != "false,true,false,true,false" {
		t.Errorf("open are %s", got)
	}
	b.quiet()
}
