package scenes

import (
	"image"
	"image/color"
	"math"

	"github.com/bgevl/bgevl/internal/canvas"
)

// Side is the width and the height of a drawn picture.
const Side = 192

// Draw draws the scene. The seed moves, turns and shades everything a little, and never so far that it is another scene.
func (s Scene) Draw(seed uint64) *image.RGBA {
	p := painter{canvas.New(Side, Side, seed), s}
	p.sky()
	p.ground()
	p.objects()
	return p.Grain(3)
}

type painter struct {
	*canvas.Canvas
	scene Scene
}

// between returns a number from low to high.
func (p painter) between(low, high float64) float64 { return low + (high-low)*p.Rnd.Float64() }

// lit returns a colour of the scene's surroundings as the hour shows it, a little lighter or darker each time.
func (p painter) lit(r, g, b uint8) color.NRGBA {
	c := canvas.Mix(canvas.RGB(r, g, b), canvas.RGB(255, 255, 255), p.between(0, 0.12))
	if p.scene[Time] == night {
		return canvas.Mix(c, canvas.RGB(8, 10, 34), 0.66)
	}
	return c
}

func (p painter) sky() {
	if p.scene[Time] == day {
		p.Gradient(0, Side, p.lit(110, 170, 230), p.lit(215, 232, 245))
		p.Glow(canvas.RGB(255, 245, 205), p.between(0, Side), 0, 50, 0.5)
		return
	}
	p.Gradient(0, Side, canvas.RGB(5, 7, 24), canvas.RGB(24, 30, 70))
	for range 50 {
		r := p.between(0.5, 1)
		p.Ellipse(canvas.Fade(canvas.RGB(235, 238, 255), p.between(0.4, 1)), p.between(0, Side), p.between(0, 120), r, r)
	}
}

// ground draws the place below the horizon, and what stands on it.
func (p painter) ground() {
	horizon, phase := p.between(112, 128), p.between(0, 6)
	switch p.scene[Place] {
	case meadow:
		p.Ridge(p.lit(110, 165, 85), horizon, 10, 190, phase)
		p.Ridge(p.lit(80, 140, 60), horizon+24, 8, 150, phase+2)
		for range 60 {
			x, y := p.between(0, Side), p.between(horizon+30, Side)
			p.Polygon(p.lit(55, 110, 40), canvas.Point{x, y}, canvas.Point{x + 2, y - 7}, canvas.Point{x + 4, y})
		}
	case sea:
		p.Rect(p.lit(45, 110, 165), 0, horizon, Side, Side)
		for range 45 {
			y := p.between(horizon+4, Side)
			p.Ellipse(canvas.Fade(p.lit(190, 220, 240), 0.6), p.between(0, Side), y, 3+(y-horizon)/6, 0.9)
		}
	case desert:
		for i := range 3 {
			t := float64(i)
			p.Ridge(p.lit(uint8(235-18*t), uint8(195-22*t), uint8(130-18*t)), horizon+22*t, 9+2*t, 160+30*t, phase+1.7*t)
		}
	case snow:
		for range 4 {
			x, h := p.between(0, Side), p.between(30, 56)
			p.Polygon(p.lit(140, 150, 170), canvas.Point{x - h, horizon + 6}, canvas.Point{x, horizon - h}, canvas.Point{x + h, horizon + 6})
			p.Polygon(p.lit(245, 248, 252), canvas.Point{x - h*0.4, horizon - h*0.6}, canvas.Point{x, horizon - h}, canvas.Point{x + h*0.4, horizon - h*0.6})
		}
		p.Ridge(p.lit(232, 238, 246), horizon+4, 5, 170, phase)
	case city:
		p.houses(horizon)
	}
}

// houses draws a skyline with windows, and a road before it.
func (p painter) houses(horizon float64) {
	window := p.lit(205, 215, 225)
	if p.scene[Time] == night {
		window = canvas.RGB(250, 205, 110)
	}
	for x := p.between(-16, 0); x < Side; {
		w, h := p.between(22, 34), p.between(30, 80)
		grey := uint8(p.between(110, 165))
		p.Rect(p.lit(grey, grey-4, grey-2), x, horizon-h, w, h+12)
		for wy := horizon - h + 5; wy < horizon; wy += 11 {
			for wx := x + 4; wx+5 < x+w; wx += 9 {
				if p.Rnd.IntN(4) > 0 {
					p.Rect(window, wx, wy, 4, 5)
				}
			}
		}
		x += w
	}
	p.Rect(p.lit(95, 96, 102), 0, horizon+10, Side, Side)
	for x := p.between(-20, 0); x < Side; x += 34 {
		p.Rect(p.lit(225, 225, 215), x, horizon+38, 18, 3)
	}
}

// objects draws the scene's shapes as one group: a pair side by side, three as two below one, four in a square.
func (p painter) objects() {
	r := [...]float64{14, 20, 28}[p.scene[Size]] * p.between(0.94, 1.06)
	centre := [...]canvas.Point{{0.31, 0.5}, {0.69, 0.5}, {0.5, 0.31}, {0.5, 0.69}, {0.5, 0.5}}[p.scene[Position]]
	cx, cy := centre[0]*Side+p.between(-3, 3), centre[1]*Side+p.between(-3, 3)
	places := [...][]canvas.Point{{{0, 0}}, {{-1, 0}, {1, 0}}, {{0, -1}, {-1, 1}, {1, 1}}, {{-1, -1}, {1, -1}, {-1, 1}, {1, 1}}}[p.scene[Count]]
	ink := p.ink()
	dark := canvas.Mix(ink, canvas.RGB(15, 15, 35), 0.75)
	for _, at := range places {
		x, y := cx+at[0]*r*1.12+p.between(-1, 1), cy+at[1]*r*1.12+p.between(-1, 1)
		turn := p.between(-0.15, 0.15)
		p.Fill(image.NewUniform(dark), placed(p.scene[Shape], x, y, r+1.6, turn)...)
		fill := pattern{kind: p.scene[Texture], a: ink, b: dark, dx: p.Rnd.IntN(12), dy: p.Rnd.IntN(12)}
		p.Fill(fill, placed(p.scene[Shape], x, y, r, turn)...)
	}
}

// ink returns the colour of the shapes, a little different each time.
func (p painter) ink() color.NRGBA {
	c := [...]color.NRGBA{{214, 36, 38, 255}, {245, 132, 24, 255}, {250, 218, 50, 255}, {44, 160, 60, 255}, {40, 80, 215, 255},
		{130, 55, 175, 255}, {248, 140, 190, 255}, {246, 246, 246, 255}}[p.scene[Colour]]
	c = canvas.Mix(c, color.NRGBA{uint8(p.Rnd.IntN(256)), uint8(p.Rnd.IntN(256)), uint8(p.Rnd.IntN(256)), 255}, p.between(0, 0.07))
	if p.scene[Time] == night {
		return canvas.Mix(c, canvas.RGB(8, 10, 34), 0.18)
	}
	return c
}

// pattern is an endless texture of two colours.
type pattern struct {
	kind   int
	a, b   color.Color
	dx, dy int
}

// ColorModel is that of color.NRGBA.
func (pattern) ColorModel() color.Model { return color.NRGBAModel }

// Bounds holds any canvas.
func (pattern) Bounds() image.Rectangle { return image.Rect(-1e9, -1e9, 1e9, 1e9) }

// At returns one of the two colours.
func (p pattern) At(x, y int) color.Color {
	x, y = x+p.dx, y+p.dy
	second := false
	switch p.kind {
	case striped:
		second = x/7%2 == 0
	case dotted:
		dx, dy := float64(x%12)-5.5, float64(y%12)-5.5
		second = dx*dx+dy*dy < 13
	case checked:
		second = x/9%2 == y/9%2
	}
	if second {
		return p.b
	}
	return p.a
}

// placed returns the outlines of a shape of the radius r around a place, turned.
func placed(shape int, x, y, r, turn float64) [][]canvas.Point {
	sin, cos := math.Sincos(turn)
	outlines := outlines(shape)
	for _, o := range outlines {
		for i, q := range o {
			o[i] = canvas.Point{x + r*(q[0]*cos-q[1]*sin), y + r*(q[0]*sin+q[1]*cos)}
		}
	}
	return outlines
}

// outlines returns a shape of about the radius 1 around the origin.
func outlines(shape int) [][]canvas.Point {
	switch shape {
	case circle:
		return [][]canvas.Point{arc(0, 0, 1, 0, 360)}
	case square:
		return [][]canvas.Point{{{-0.86, -0.86}, {0.86, -0.86}, {0.86, 0.86}, {-0.86, 0.86}}}
	case triangle:
		return [][]canvas.Point{{{0, -1.05}, {1.05, 0.8}, {-1.05, 0.8}}}
	case star:
		var o []canvas.Point
		for i := range 10 {
			radius := [...]float64{1.12, 0.46}[i%2]
			sin, cos := math.Sincos(float64(i)*math.Pi/5 - math.Pi/2)
			o = append(o, canvas.Point{radius * cos, radius * sin})
		}
		return [][]canvas.Point{o}
	case heart:
		var o []canvas.Point
		for i := range 48 {
			t := 2 * math.Pi * float64(i) / 48
			o = append(o, canvas.Point{math.Pow(math.Sin(t), 3),
				-(13*math.Cos(t) - 5*math.Cos(2*t) - 2*math.Cos(3*t) - math.Cos(4*t) + 2) / 16})
		}
		return [][]canvas.Point{o}
	case cross:
		const arm = 0.34
		return [][]canvas.Point{{{-arm, -1}, {arm, -1}, {arm, -arm}, {1, -arm}, {1, arm}, {arm, arm}, {arm, 1}, {-arm, 1},
			{-arm, arm}, {-1, arm}, {-1, -arm}, {-arm, -arm}}}
	case ring:
		return [][]canvas.Point{arc(0, 0, 1, 0, 360), arc(0, 0, 0.5, 360, 0)}
	default: // crescent: what a smaller circle leaves of a larger one
		return [][]canvas.Point{append(arc(-0.1, 0, 1.05, 50, 310), arc(0.425, 0, 0.818, 280.6, 79.4)...)}
	}
}

// arc returns points on a circle between two angles in degrees.
func arc(x, y, r, from, to float64) []canvas.Point {
	const steps = 40
	var o []canvas.Point
	for i := range steps + 1 {
		sin, cos := math.Sincos((from + (to-from)*float64(i)/steps) * math.Pi / 180)
		o = append(o, canvas.Point{x + r*cos, y + r*sin})
	}
	return o
}
