package main

import (
	"image"
	"image/color"
	"image/draw"
	"math"
	"math/rand/v2"

	"golang.org/x/image/vector"
)

// A canvas is a picture under the brush. Coordinates are pixels from the upper left corner.
type canvas struct {
	im  *image.RGBA
	rnd *rand.Rand
}

func newCanvas(w, h int, seed uint64) *canvas {
	return &canvas{image.NewRGBA(image.Rect(0, 0, w, h)), rand.New(rand.NewPCG(seed, 1))}
}

// A point is a place on the canvas.
type point struct{ x, y float64 }

// rgb returns an opaque colour.
func rgb(r, g, b uint8) color.NRGBA { return color.NRGBA{r, g, b, 255} }

// fade returns c with the opacity a, from 0 to 1.
func fade(c color.NRGBA, a float64) color.NRGBA {
	c.A = uint8(math.Round(a * 255))
	return c
}

// mix returns the colour that lies the share t of the way from a to b.
func mix(a, b color.NRGBA, t float64) color.NRGBA {
	m := func(x, y uint8) uint8 { return uint8(math.Round(float64(x) + (float64(y)-float64(x))*t)) }
	return color.NRGBA{m(a.R, b.R), m(a.G, b.G), m(a.B, b.B), m(a.A, b.A)}
}

// gradient fills the rows from top to bottom with colours that run from a to b.
func (c *canvas) gradient(top, bottom int, a, b color.NRGBA) {
	for y := top; y < bottom; y++ {
		row := image.Rect(0, y, c.im.Rect.Dx(), y+1)
		t := float64(y-top) / float64(max(1, bottom-top-1))
		draw.Draw(c.im, row, image.NewUniform(mix(a, b, t)), image.Point{}, draw.Src)
	}
}

// polygon fills the closed outline.
func (c *canvas) polygon(col color.NRGBA, outline ...point) {
	r := vector.NewRasterizer(c.im.Rect.Dx(), c.im.Rect.Dy())
	for i, p := range outline {
		if i == 0 {
			r.MoveTo(float32(p.x), float32(p.y))
		} else {
			r.LineTo(float32(p.x), float32(p.y))
		}
	}
	r.ClosePath()
	r.Draw(c.im, c.im.Rect, image.NewUniform(col), image.Point{})
}

// rect fills a rectangle.
func (c *canvas) rect(col color.NRGBA, x, y, w, h float64) {
	c.polygon(col, point{x, y}, point{x + w, y}, point{x + w, y + h}, point{x, y + h})
}

// ellipse fills an ellipse around its centre.
func (c *canvas) ellipse(col color.NRGBA, x, y, rx, ry float64) {
	const corners = 64 // rounder than a pixel shows at these sizes
	outline := make([]point, corners)
	for i := range outline {
		s, k := math.Sincos(2 * math.Pi * float64(i) / corners)
		outline[i] = point{x + rx*k, y + ry*s}
	}
	c.polygon(col, outline...)
}

// glow lays a soft disc of light over the canvas.
func (c *canvas) glow(col color.NRGBA, x, y, radius, strength float64) {
	const rings = 24
	for i := rings; i > 0; i-- {
		c.ellipse(fade(col, strength/rings), x, y, radius*float64(i)/rings, radius*float64(i)/rings)
	}
}

// mist lays a band of haze around the row y: strength at y, nothing from reach pixels away.
func (c *canvas) mist(col color.NRGBA, y, reach int, strength float64) {
	for row := max(0, y-reach); row < min(c.im.Rect.Dy(), y+reach); row++ {
		far := math.Abs(float64(row-y)) / float64(reach)
		band := image.Rect(0, row, c.im.Rect.Dx(), row+1)
		draw.Draw(c.im, band, image.NewUniform(fade(col, strength*(1-far))), image.Point{}, draw.Over)
	}
}

// ridge fills everything below a line of hills: a sum of sines around the height y.
func (c *canvas) ridge(col color.NRGBA, y, height, length, phase float64) {
	w, h := float64(c.im.Rect.Dx()), float64(c.im.Rect.Dy())
	outline := []point{{0, h}}
	for x := 0.0; x <= w; x += 4 {
		a := 2*math.Pi*x/length + phase
		outline = append(outline, point{x, y - height*(0.6*math.Sin(a)+0.3*math.Sin(2.3*a+1)+0.1*math.Sin(6.1*a))})
	}
	c.polygon(col, append(outline, point{w, h})...)
}

// grain adds the noise of a sensor: up to n steps of 255 either way, the same in all three channels.
func (c *canvas) grain(n int) *image.RGBA {
	for i := 0; i < len(c.im.Pix); i += 4 {
		d := c.rnd.IntN(2*n+1) - n
		for j := range 3 {
			c.im.Pix[i+j] = uint8(min(255, max(0, int(c.im.Pix[i+j])+d)))
		}
	}
	return c.im
}
