package replay

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"

	"heatobserver/event"
)

//go:embed page.html.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": func(share *float64) string {
		if share == nil {
			return "-"
		}
		return fmt.Sprintf("%.2f %%", 100**share)
	},
	"ms": func(n *int64) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	},
	"utc": func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05") },
}).Parse(pageText))

// page is what WritePage shows.
type page struct {
	From, To  string
	MaxWait   time.Duration
	Report    Report
	NotProven []string
	waits     *Histogram
	counted   int64
}

// WritePage writes a result as one page that needs nothing else: no script, no other file.
func WritePage(w io.Writer, r *Result, from, to string, maxWait time.Duration, notProven []string) error {
	late := &r.Points[event.Late]
	p := page{From: from, To: to, MaxWait: maxWait, Report: r.Report(), NotProven: notProven, waits: &late.Waits, counted: late.Total - late.AfterDeadline}
	if err := pageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// The plot area of both pictures, in units of their view box.
const (
	plotWidth, plotHeight = 600.0, 220.0
	bins                  = 60
)

// mark is a labelled place on an axis.
type mark struct {
	At   float64
	Text string
}

// WaitMarks are on the axis of allowed waits.
func (p page) WaitMarks() (marks []mark) {
	for i := range 6 {
		marks = append(marks, mark{At: plotWidth * float64(i) / 5, Text: fmt.Sprint(p.MaxWait.Milliseconds() * int64(i) / 5)})
	}
	return marks
}

// ShareMarks are on the axis of coverage, the highest first.
func (p page) ShareMarks() (marks []mark) {
	for i := range 5 {
		marks = append(marks, mark{At: plotHeight * float64(i) / 4, Text: fmt.Sprintf("%d %%", 100-25*i)})
	}
	return marks
}

// Curve is the coverage for every allowed wait, as the points of a line.
func (p page) Curve() string {
	var b strings.Builder
	var found int64
	longest := max(1, p.MaxWait.Milliseconds())
	last := plotHeight
	for ms := range longest + 1 {
		found += at(p.waits, int(ms))
		y := plotHeight * (1 - float64(found)/float64(max(1, p.counted)))
		x := plotWidth * float64(ms) / float64(longest)
		if ms == 0 || ms == longest || y != last {
			fmt.Fprintf(&b, "%.1f,%.1f %.1f,%.1f ", x, last, x, y) // a step
		}
		last = y
	}
	return strings.TrimSpace(b.String())
}

// bar is one of the distribution of waits.
type bar struct {
	X, Y, Width, Height float64
	FromMs, ToMs, Count int64
}

// Bars are the distribution of the waits.
func (p page) Bars() (bars []bar) {
	longest := max(1, p.MaxWait.Milliseconds())
	step := (longest + bins) / bins
	var most int64 = 1
	for from := int64(0); from <= longest; from += step {
		next := bar{FromMs: from, ToMs: min(longest, from+step-1)}
		for ms := next.FromMs; ms <= next.ToMs; ms++ {
			next.Count += at(p.waits, int(ms))
		}
		most = max(most, next.Count)
		bars = append(bars, next)
	}
	for i := range bars {
		b := &bars[i]
		b.X, b.Width = plotWidth*float64(i)/float64(len(bars)), plotWidth/float64(len(bars))-1
		b.Height = plotHeight * float64(b.Count) / float64(most)
		b.Y = plotHeight - b.Height
	}
	return bars
}

// Most is the height of the highest bar.
func (p page) Most() (most int64) {
	for _, b := range p.Bars() {
		most = max(most, b.Count)
	}
	return most
}
