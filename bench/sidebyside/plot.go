package main

import (
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plot draws each case as a group of bars, a program each: its rate as a share of the f32 limit, which is the same for all.
// What multiplies bf16 or int8 may pass 1.
func (r *report) plot(path string) error {
	type bar struct {
		label string
		value float64
		ours  bool
	}
	var bars []bar
	limit := r.Limits["f32"].All.Median
	for _, g := range r.Groups {
		if g.Name == "threads" || g.Name == "jpeg" {
			continue
		}
		for _, w := range g.Rows {
			if w.OfLimit.Median > 0 && limit > 0 {
				// w.OfLimit is of the limit that applies to it, beside each sample.
				share := w.OfLimit.Median * r.Limits[w.Limit].All.Median / limit
				bars = append(bars, bar{fmt.Sprintf("%s %s: %s", g.Name, w.What, w.Subject), share, w.Ours})
			}
		}
	}
	p := plot.New()
	p.Title.Text = fmt.Sprintf("%s, %d threads: useful work as a share of the float limit", r.Processor.Name, r.Threads)
	p.X.Label.Text = "operations that the result needs, over register-only float multiply-adds"
	if len(bars) == 0 { // only groups that are not drawn
		return p.Save(6*vg.Inch, 1*vg.Inch, path)
	}
	labels := make([]string, len(bars))
	for side, fill := range map[bool]color.Color{true: color.RGBA{0, 114, 178, 255}, false: color.RGBA{170, 170, 170, 255}} {
		values := make(plotter.Values, len(bars))
		for i, b := range bars {
			at := len(bars) - 1 - i // the first on top
			labels[at] = b.label
			if b.ours == side {
				values[at] = b.value
			}
		}
		chart, err := plotter.NewBarChart(values, vg.Points(9))
		if err != nil {
			return err
		}
		chart.Horizontal, chart.Color, chart.LineStyle.Width = true, fill, 0
		p.Add(chart)
		name := "peers"
		if side {
			name = "bgevl"
		}
		p.Legend.Add(name, chart)
	}
	line, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(bars)) - 0.5}})
	if err != nil {
		return err
	}
	p.Add(line)
	p.X.Min = 0
	p.NominalY(labels...)
	p.Legend.Top, p.Legend.Left = false, false
	height := vg.Points(math.Max(120, 13*float64(len(bars))+60))
	return p.Save(9*vg.Inch, height, strings.TrimSpace(path))
}
