package main

import (
	"fmt"
	"image/color"
	"slices"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// curve is one distribution in a picture.
type curve struct {
	name   string
	sample []time.Duration
	dashed bool
}

// Colours that stay apart in print and for the colour-blind (Okabe and Ito).
var curveColors = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff}, color.RGBA{0xd5, 0x5e, 0x00, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff},
}

// drawDistributions draws the cumulated share over the time, which is logarithmic, into each of the files; the kind of
// picture follows from their names.
func drawDistributions(title, xAxis string, curves []curve, files ...string) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, xAxis, "observations, %"
	p.Title.Padding, p.X.Padding, p.Y.Padding = vg.Points(8), vg.Points(4), vg.Points(4)
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Y.Min, p.Y.Max = 0, 100
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = vg.Points(8), vg.Points(-4), vg.Points(3)
	p.Add(plotter.NewGrid())
	for i, c := range curves {
		line, err := plotter.NewLine(cumulate(c.sample))
		if err != nil {
			return fmt.Errorf("draw %s: %w", c.name, err)
		}
		line.Color, line.Width = curveColors[i%len(curveColors)], vg.Points(2)
		if c.dashed {
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
		}
		p.Add(line)
		p.Legend.Add(c.name, line)
	}
	for _, file := range files {
		if err := p.Save(20*vg.Centimeter, 12*vg.Centimeter, file); err != nil {
			return fmt.Errorf("save the picture: %w", err)
		}
	}
	return nil
}

// cumulate takes 400 quantiles of a sample; more than that no picture shows.
func cumulate(sample []time.Duration) plotter.XYs {
	const steps = 400
	sorted := slices.Sorted(slices.Values(sample))
	points := make(plotter.XYs, 0, steps+1)
	for i := range steps + 1 {
		q := float64(i) / steps
		points = append(points, plotter.XY{X: max(0.01, quantile(sorted, q)), Y: 100 * q})
	}
	return points
}
