package webtest

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"

	"heatobserver/config"
	"heatobserver/demo"
	"heatobserver/internal/redistest"
	"heatobserver/pipeline"
)

// The pictures of the documentation: a demo on a real Redis that has run for a while.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("HEAT_SCREENSHOTS")
	if dir == "" {
		t.Skip("writes pictures where HEAT_SCREENSHOTS says (make screenshots)")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	url := runDemo(t, 75*time.Second)
	b := open(t)
	for _, shot := range []struct {
		name, scheme  string
		width, height int64
		phone         bool
	}{
		{"status-page", "light", 1280, 1500, false},
		{"status-page-dark", "dark", 1280, 1500, false},
		{"status-page-phone", "light", 360, 780, true},
	} {
		t.Log(shot.name)
		scale := 1.0
		if shot.phone {
			scale = 2
		}
		call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: shot.width, Height: shot.height, DeviceScaleFactor: scale, Mobile: shot.phone,
		})
		b.scheme(shot.scheme)
		b.visit(url)
		b.holds("the charts", `document.querySelectorAll("#coverage canvas, #reasons canvas, #waits canvas, #curve canvas").length === 4`)
		b.holds("every rate", `!document.querySelector("#flow-picture").textContent.includes("–")`) // which takes two readings
		picture := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{Format: page.CaptureScreenshotFormatPng})
		if err := os.WriteFile(filepath.Join(dir, shot.name+".png"), picture.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// runDemo runs a demo on a Redis of its own until it has written plans for a while, and returns the address of its page.
// It goes on until the test ends.
func runDemo(t *testing.T, while time.Duration) (url string) {
	t.Helper()
	const perSecond = 50
	srv := redistest.Start(t)
	cfg, _, err := config.Load(config.Sources{Environ: []string{
		"P28_HEAT_LOOKUP_PREFIX=" + pipeline.LookupPrefix, "P28_HTTP_ADDR=127.0.0.1:0", "REDIS_URL=" + srv.URL(),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var delay pipeline.Delay
	if err := delay.UnmarshalText([]byte(pipeline.Production)); err != nil {
		t.Fatal(err)
	}
	said, out := io.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- demo.Run(ctx, demo.Options{
			Config: cfg, UseRedis: true, Rate: perSecond, Seed: 1, Delay: delay, Out: out, Logger: slog.New(slog.DiscardHandler),
		})
		_ = out.Close()
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the demo: %v", err)
		}
	})
	address := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(said)
		for lines.Scan() {
			if m := regexp.MustCompile(`http://[^/ ]+/`).FindString(lines.Text()); m != "" && len(address) == 0 {
				address <- m
			}
		}
	}()
	url = <-address
	client := srv.Client()
	publish(t, client, "", "source", "a plan without a symbol") // a dead letter in each group
	for began := time.Now(); ; {
		n, err := client.XLen(t.Context(), observedStream).Result()
		if err != nil {
			t.Fatal(err)
		}
		if n >= int64(2*perSecond*while.Seconds()) {
			return url
		}
		if time.Since(began) > 2*while {
			t.Fatalf("%d observations after %v", n, time.Since(began))
		}
		time.Sleep(time.Second)
	}
}
