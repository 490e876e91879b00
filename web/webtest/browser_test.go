package webtest

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// browser is one page in a Chromium that ends with the test.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	problems []string // what the console says that is no mere message
}

// long lets a test run beside others, and not at all among the short ones, of which one shows that the page works.
func long(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("one test of the page is among the short ones")
	}
	t.Parallel()
}

// open starts Chromium. Without it the test is skipped, and fails where the environment says CI=true.
func open(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		report := t.Skipf
		if os.Getenv("CI") == "true" {
			report = t.Fatalf
		}
		report("no chromium is on the PATH: install it (make test does, on Debian and Ubuntu)")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.DisableGPU, chromedp.WSURLReadTimeout(startLimit), chromedp.WindowSize(1280, 900),
		chromedp.Flag("lang", "en"))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // its sandbox refuses root
	}
	allocator, endAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, endPage := chromedp.NewContext(allocator)
	b := &browser{t: t, ctx: ctx}
	listening := make(chan struct{})
	t.Cleanup(func() {
		_ = chromedp.Cancel(ctx) // in order; what follows ends it in any case
		endPage()
		endAllocator()
		<-listening
	})
	messages := chromedp.Console(ctx)
	go func() {
		defer close(listening)
		b.listen(messages)
	}()
	return b
}

func (b *browser) listen(messages iter.Seq2[chromedp.ConsoleMessage, error]) {
	for m, err := range messages {
		if err != nil {
			return // it has ended
		}
		switch m.Type {
		case "error", "warning", "assert", chromedp.ConsoleException:
			b.mu.Lock()
			b.problems = append(b.problems, fmt.Sprintf("%s: %s %s:%d", m.Type, m.Text, m.URL, m.Line))
			b.mu.Unlock()
		}
	}
}

// quiet fails the test for what stood in the console.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.problems) > 0 {
		b.t.Errorf("the console is not quiet:\n%s", strings.Join(b.problems, "\n"))
	}
}

// action carries out one action, within a time that a busy machine needs.
func action[T any](b *browser, what string, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 2*startLimit)
	defer cancel()
	value, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return value
}

// call sends a command of the protocol.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.t.Helper()
	result, err := chromedp.Call(b.ctx, command, params)
	if err != nil {
		b.t.Fatalf("call Chromium: %v", err)
	}
	return result
}

// visit opens the page and waits until it is live.
func (b *browser) visit(url string) {
	b.t.Helper()
	action(b, "open "+url, chromedp.Navigate(url))
	b.shows("the state of the connection", `document.getElementById("state").textContent`, "live")
}

// eval evaluates an expression. A promise is waited for.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	return action(b, "evaluate "+expression[:min(80, len(expression))], chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// do carries out statements in which each %s is a quoted string.
func (b *browser) do(format string, values ...any) {
	b.t.Helper()
	for i, v := range values {
		quoted, _ := json.Marshal(v)
		values[i] = string(quoted)
	}
	eval[bool](b, "(() => {"+fmt.Sprintf(format, values...)+"; return true; })()")
}

// shows waits until an expression is the text that is wanted.
func (b *browser) shows(what, expression, want string) {
	b.t.Helper()
	eventually(b.t, what+" is "+want, func() (bool, string) {
		got := eval[string](b, expression)
		return got == want, got
	})
}

// holds waits until an expression is true.
func (b *browser) holds(what, expression string) {
	b.t.Helper()
	eventually(b.t, what, func() (bool, string) { return eval[bool](b, "!!("+expression+")"), "not so" })
}

// text is an expression for the text of an element.
func text(selector string) string {
	quoted, _ := json.Marshal(selector)
	return fmt.Sprintf("(document.querySelector(%s)?.textContent ?? '(none)')", quoted)
}

// fact is an expression for one of the facts beside the headline.
func fact(name string) string {
	quoted, _ := json.Marshal(name)
	return fmt.Sprintf(`([...document.querySelectorAll("#facts dt")].find((dt) => dt.textContent === %s)?.nextSibling.textContent ?? "(none)")`, quoted)
}

// press presses a key as a keyboard does.
func (b *browser) press(key string) {
	b.t.Helper()
	action(b, "press a key", chromedp.KeyEvent(key))
}

func (b *browser) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}}})
}

func (b *browser) phone() {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 360, Height: 740, DeviceScaleFactor: 2, Mobile: true})
}

// fits fails the test when something makes the page wider than its window.
func (b *browser) fits() {
	b.t.Helper()
	if wide := eval[string](b, `(() => {
		const most = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= most) return "";
		return [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > most && !e.closest(".scroll table")).slice(0, 5).map((e) => e.tagName + "#" + e.id + "." + e.className).join(", ") || "something";
	})()`); wide != "" {
		b.t.Errorf("wider than the window: %s", wide)
	}
}

// choose does what a person does with a field or a list.
func (b *browser) choose(selector, value string) {
	b.t.Helper()
	b.do(`const field = document.querySelector(%s); field.value = %s; field.dispatchEvent(new Event("input", { bubbles: true }))`, selector, value)
}

// openPlan clicks the newest row of a plan and waits for its timeline.
func (b *browser) openPlan(plan string) {
	b.t.Helper()
	b.do(`[...document.querySelectorAll("#feed-rows button")].find((e) => e.textContent === %s).click()`, plan)
	b.shows("the title of the timeline", text("#plan-title"), "Plan "+plan)
	b.holds("the timeline of "+plan, `[...document.querySelectorAll("#plan .what")].some((e) => e.textContent === "published")`)
}
