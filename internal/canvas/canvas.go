// Package canvas draws pictures from shapes: those of the examples, and those that the demo models are trained on.
//
// # What it is
//
// A [Canvas] is an RGBA picture and a source of random numbers, with a brush for polygons, ellipses, gradients and haze.
// What is drawn depends on the seed and the calls alone.
//
// # Goroutines, life and stopping
//
// A Canvas is used by one goroutine at a time and is garbage when nobody refers to it.
package canvas

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"math/rand/v2"

	"golang.org/x/image/vector"
)

// A Canvas is a picture under the brush. Coordinates are pixels from the upper left corner.
type Canvas struct {
	Im  *image.RGBA
	Rnd *rand.Rand
}

// New returns a transparent canvas whose random numbers depend on the seed alone.
func New(w, h int, seed uint64) *Canvas {
	return &Canvas{image.NewRGBA(image.Rect(0, 0, w, h)), rand.New(rand.NewPCG(seed, 1))}
}

// A Point is a place on the canvas: x and y.
type Point [2]float64

// RGB returns an opaque colour.
func RGB(r, g, b uint8) color.NRGBA { return color.NRGBA{r, g, b, 255} }

// Fade returns c with the opacity a, from 0 to 1.
func Fade(c color.NRGBA, a float64) color.NRGBA {
	c.A = uint8(math.Round(a * 255))
	return c
}

// Mix returns the colour that lies the share t of the way from a to b.
func Mix(a, b color.NRGBA, t float64) color.NRGBA {
	m := func(x, y uint8) uint8 { return uint8(math.Round(float64(x) + (float64(y)-float64(x))*t)) }
	return color.NRGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), m(a.A, b.A)}
}

// Gradient fills the rows from top to bottom with colours that run from a to b.
func (c *Canvas) Gradient(top, bottom int, a, b color.NRGBA) {
	for y := top; y < bottom; y++ {
		row := image.Rect(0, y, c.Im.Rect.Dx(), y+1)
		t := float64(y-top) / float64(max(1, bottom-top-1))
		draw.Draw(c.Im, row, image.NewUniform(Mix(a, b, t)), image.Point{}, draw.Src)
	}
}

// Polygon fills the closed outline with a colour.
func (c *Canvas) Polygon(col color.NRGBA, outline ...Point) { c.Fill(image.NewUniform(col), outline) }

// Fill fills closed outlines with what src shows at the same place. Where outlines overlap, one that turns the other way
// is a hole.
func (c *Canvas) Fill(src image.Image, outlines ...[]Point) {
	box := c.bounds(outlines)
	if box.Empty() {
		return
	}
	r := vector.NewRasterizer(box.Dx(), box.Dy())
	for _, outline := range outlines {
		for i, p := range outline {
			// Rounded before it is moved: where the box lies then changes nothing.
			x, y := float32(p[0])-float32(box.Min.X), float32(p[1])-float32(box.Min.Y)
			if i == 0 {
				r.MoveTo(x, y)
			} else {
				r.LineTo(x, y)
			}
		}
		r.ClosePath()
	}
	r.Draw(c.Im, box, src, box.Min)
}

// bounds returns the pixels that outlines can touch.
func (c *Canvas) bounds(outlines [][]Point) image.Rectangle {
	low, high := Point{math.Inf(1), math.Inf(1)}, Point{math.Inf(-1), math.Inf(-1)}
	for _, outline := range outlines {
		for _, p := range outline {
			low, high = Point{min(low[0], p[0]), min(low[1], p[1])}, Point{max(high[0], p[0]), max(high[1], p[1])}
		}
	}
	size := c.Im.Rect.Max
	clamp := func(v float64, most int) int { return int(min(max(v, 0), float64(most))) }
	return image.Rect(clamp(math.Floor(low[0]), size.X), clamp(math.Floor(low[1]), size.Y),
		clamp(math.Ceil(high[0]), size.X), clamp(math.Ceil(high[1]), size.Y))
}

// Rect fills a rectangle.
func (c *Canvas) Rect(col color.NRGBA, x, y, w, h float64) {
	c.Polygon(col, Point{x, y}, Point{x + w, y}, Point{x + w, y + h}, Point{x, y + h})
}

// Ellipse fills an ellipse around its centre.
func (c *Canvas) Ellipse(col color.NRGBA, x, y, rx, ry float64) {
	const corners = 64 // rounder than a pixel shows at these sizes
	outline := make([]Point, corners)
	for i := range outline {
		s, k := math.Sincos(2 * math.Pi * float64(i) / corners)
		outline[i] = Point{x + rx*k, y + ry*s}
	}
	c.Polygon(col, outline...)
}

// Glow lays a soft disc of light over the canvas.
func (c *Canvas) Glow(col color.NRGBA, x, y, radius, strength float64) {
	const rings = 24
	for i := rings; i > 0; i-- {
		c.Ellipse(Fade(col, strength/rings), x, y, radius*float64(i)/rings, radius*float64(i)/rings)
	}
}

// Mist lays a band of haze around the row y: strength at y, nothing from reach pixels away.
func (c *Canvas) Mist(col color.NRGBA, y, reach int, strength float64) {
	for row := max(0, y-reach); row < min(c.Im.Rect.Dy(), y+reach); row++ {
		far := math.Abs(float64(row-y)) / float64(reach)
		band := image.Rect(0, row, c.Im.Rect.Dx(), row+1)
		draw.Draw(c.Im, band, image.NewUniform(Fade(col, strength*(1-far))), image.Point{}, draw.Over)
	}
}

// Ridge fills everything below a line of hills: a sum of sines around the height y.
func (c *Canvas) Ridge(col color.NRGBA, y, height, length, phase float64) {
	w, h := float64(c.Im.Rect.Dx()), float64(c.Im.Rect.Dy())
	outline := []Point{{0, h}}
	for x := 0.0; x <= w; x += 4 {
		a := 2*math.Pi*x/length + phase
		outline = append(outline, Point{x, y - height*(0.6*math.Sin(a)+0.3*math.Sin(2.3*a+1)+0.1*math.Sin(6.1*a))})
	}
	c.Polygon(col, append(outline, Point{w, h})...)
}

// Grain adds the noise of a sensor: up to n steps of 255 either way, the same in all three channels.
func (c *Canvas) Grain(n int) *image.RGBA {
	for i := 0; i < len(c.Im.Pix); i += 4 {
		d := c.Rnd.IntN(2*n+1) - n
		for j := range 3 {
			c.Im.Pix[i+j] = uint8(min(255, max(0, int(c.Im.Pix[i+j])+d)))
		}
	}
	return c.Im
}
