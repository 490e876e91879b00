package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// bar shows how far something is to a person who watches, and nothing to anybody else. A nil bar shows nothing.
type bar struct {
	w     io.Writer
	title string
	total int64
	begin time.Time
	shown time.Time
	width int
}

// newBar is nil unless standard error is a terminal.
func newBar(title string, total int64) *bar {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return nil
	}
	return &bar{w: os.Stderr, title: title, total: max(1, total), begin: time.Now()}
}

// set shows how much is done, ten times a second at most.
func (b *bar) set(done int64) {
	if b == nil || time.Since(b.shown) < 100*time.Millisecond {
		return
	}
	b.shown = time.Now()
	const cells = 30
	done = min(done, b.total)
	full := int(cells * done / b.total)
	line := fmt.Sprintf("%s [%s%s] %3d %%  %.0f/s", b.title, strings.Repeat("=", full), strings.Repeat(" ", cells-full),
		100*done/b.total, float64(done)/time.Since(b.begin).Seconds())
	fmt.Fprintf(b.w, "\r%-*s", b.width, line)
	b.width = len(line)
}

// end wipes it off.
func (b *bar) end() {
	if b != nil {
		fmt.Fprintf(b.w, "\r%*s\r", b.width, "")
	}
}
