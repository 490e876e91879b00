package main

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// draw draws plans/s of every variant: a bar for the median, a line from the least to the most.
func (f *throughputFigures) draw(files ...string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = fmt.Sprintf("Plans observed per second, %d cores for Redis and all clients", f.Machine.Cores), "plans/s"
	p.Title.Padding, p.X.Padding = vg.Points(8), vg.Points(4)
	p.X.Min = 0
	p.Add(plotter.NewGrid())
	var names []string
	var spreads errorBars
	for _, v := range slices.Backward(variants) {
		speed := f.figures(v.Key, perSecond)
		if len(speed) == 0 {
			continue
		}
		at := float64(len(names))
		names = append(names, v.Name+" ("+v.Key+")")
		bar, err := plotter.NewBarChart(plotter.Values{median(speed)}, vg.Points(14))
		if err != nil {
			return fmt.Errorf("draw %s: %w", v.Key, err)
		}
		bar.Horizontal, bar.XMin, bar.LineStyle.Width = true, at, 0
		bar.Color = curveColors[1]
		if v.peer != "" {
			bar.Color = curveColors[3]
		}
		p.Add(bar)
		spreads.XYs = append(spreads.XYs, plotter.XY{X: median(speed), Y: at})
		spreads.XErrors = append(spreads.XErrors, struct{ Low, High float64 }{slices.Min(speed) - median(speed), slices.Max(speed) - median(speed)})
	}
	if len(names) == 0 {
		return nil
	}
	lines, err := plotter.NewXErrorBars(spreads)
	if err != nil {
		return fmt.Errorf("draw the spreads: %w", err)
	}
	p.Add(lines)
	p.NominalY(names...)
	for _, file := range files {
		if err := p.Save(24*vg.Centimeter, 13*vg.Centimeter, file); err != nil {
			return fmt.Errorf("save the picture: %w", err)
		}
	}
	return nil
}

type errorBars struct {
	plotter.XYs
	plotter.XErrors
}
