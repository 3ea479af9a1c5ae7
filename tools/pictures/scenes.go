package main

import (
	"image"
	"image/color"

	"github.com/bgevl/bgevl/internal/canvas"
)

// Short names for what nearly every line draws with.
type point = canvas.Point

func rgb(r, g, b uint8) color.NRGBA               { return canvas.RGB(r, g, b) }
func fade(c color.NRGBA, a float64) color.NRGBA   { return canvas.Fade(c, a) }
func mix(a, b color.NRGBA, t float64) color.NRGBA { return canvas.Mix(a, b, t) }

// A scene is one file of the folder.
type scene struct {
	file string
	draw func() image.Image
}

// width and height are the size of every scene: an ordinary photograph's shape, larger than a model's input.
const width, height = 480, 320

func scenes() []scene {
	return []scene{
		{"harbour_day.jpg", func() image.Image { return harbour(daylight()) }},
		{"harbour_night.jpg", func() image.Image { return harbour(moonlight()) }},
		{"forest.jpg", forest},
		{"desert.jpg", desert},
		{"balloon.png", balloon},
		{"street.png", street},
	}
}

// A light is the palette of the harbour at one hour.
type light struct {
	skyTop, skyLow, seaFar, seaNear color.NRGBA
	hills, hull, sail, house, roof  color.NRGBA
	lamp, window                    color.NRGBA // the body in the sky, and what shines in the houses
	night                           bool
}

func daylight() light {
	return light{
		skyTop: rgb(70, 140, 215), skyLow: rgb(200, 225, 245), seaFar: rgb(80, 150, 190), seaNear: rgb(25, 85, 130),
		hills: rgb(95, 135, 95), hull: rgb(170, 50, 40), sail: rgb(250, 248, 240), house: rgb(235, 220, 190),
		roof: rgb(175, 85, 60), lamp: rgb(255, 245, 200), window: rgb(90, 100, 115),
	}
}

func moonlight() light {
	return light{
		skyTop: rgb(6, 8, 24), skyLow: rgb(28, 34, 66), seaFar: rgb(20, 28, 52), seaNear: rgb(6, 10, 24),
		hills: rgb(14, 20, 28), hull: rgb(48, 18, 20), sail: rgb(105, 110, 130), house: rgb(52, 50, 56),
		roof: rgb(36, 24, 26), lamp: rgb(240, 240, 225), window: rgb(255, 205, 110), night: true,
	}
}

// harbour is a boat before a village on a hill.
func harbour(l light) image.Image {
	c := canvas.New(width, height, 1)
	c.Gradient(0, 200, l.skyTop, l.skyLow)
	if l.night {
		for range 90 {
			c.Ellipse(fade(l.lamp, 0.8), c.Rnd.Float64()*width, c.Rnd.Float64()*130, 0.8, 0.8)
		}
	}
	c.Glow(l.lamp, 380, 60, 80, 0.9)
	c.Ellipse(l.lamp, 380, 60, 20, 20)
	c.Ridge(l.hills, 165, 28, 420, 0.4)
	for i, h := range []float64{34, 46, 38, 52, 36, 44} {
		x := 30 + float64(i)*46
		c.Rect(l.house, x, 198-h, 36, h)
		c.Polygon(l.roof, point{x - 4, 198 - h}, point{x + 18, 178 - h}, point{x + 40, 198 - h})
		for j := range 2 {
			c.Rect(l.window, x+6+float64(j)*16, 206-h, 8, 10)
		}
	}
	sea := canvas.New(width, height, 2)
	sea.Gradient(198, height, l.seaFar, l.seaNear)
	copy(c.Im.Pix[198*c.Im.Stride:], sea.Im.Pix[198*sea.Im.Stride:])
	for range 260 {
		y := 204 + c.Rnd.Float64()*112
		c.Ellipse(fade(l.skyLow, 0.25), c.Rnd.Float64()*width, y, 4+(y-200)/6, 0.8)
	}
	for i := range 24 {
		c.Ellipse(fade(l.lamp, 0.35), 380+(c.Rnd.Float64()-0.5)*50, 206+float64(i)*4.5, 12, 1.2)
	}
	c.Polygon(l.hull, point{150, 250}, point{290, 250}, point{268, 278}, point{176, 278})
	c.Rect(rgb(80, 60, 45), 216, 110, 4, 140)
	c.Polygon(l.sail, point{224, 116}, point{286, 240}, point{224, 240})
	c.Polygon(mix(l.sail, l.seaFar, 0.15), point{212, 130}, point{212, 240}, point{164, 240})
	return c.Grain(4)
}

// forest is a path between spruces in the mist.
func forest() image.Image {
	c := canvas.New(width, height, 3)
	c.Gradient(0, height, rgb(205, 220, 205), rgb(90, 115, 70))
	for layer := range 4 {
		depth := float64(layer) / 3
		col := mix(rgb(150, 175, 155), rgb(22, 56, 34), depth)
		for x := -20.0; x < width+20; x += 34 - depth*4 {
			tx := x + c.Rnd.Float64()*16
			if layer > 1 && tx > 190 && tx < 290 {
				continue // the path
			}
			base, size := 170+depth*120, (70+c.Rnd.Float64()*50)*(0.7+depth*0.8)
			c.Rect(mix(rgb(95, 75, 60), col, 0.5), tx-2-depth*2, base-8, 4+depth*4, 14)
			for k := range 4 {
				w := size * (0.10 + 0.07*float64(k))
				top := base - size + size*0.22*float64(k)
				c.Polygon(col, point{tx, top}, point{tx + w, top + size*0.34}, point{tx - w, top + size*0.34})
			}
		}
		c.Mist(rgb(225, 232, 222), 190, 110, 0.3)
	}
	c.Polygon(rgb(165, 140, 105), point{236, 190}, point{248, 190}, point{330, height}, point{150, height})
	for range 500 {
		y := 200 + c.Rnd.Float64()*118
		c.Ellipse(fade(rgb(60, 85, 40), 0.4), c.Rnd.Float64()*width, y, 3, 1)
	}
	return c.Grain(5)
}

// desert is dunes and a cactus at dusk.
func desert() image.Image {
	c := canvas.New(width, height, 4)
	c.Gradient(0, 220, rgb(95, 70, 130), rgb(250, 170, 95))
	c.Glow(rgb(255, 220, 150), 130, 190, 110, 0.9)
	c.Ellipse(rgb(255, 235, 185), 130, 190, 30, 30)
	for i := range 5 {
		t := float64(i) / 4
		c.Ridge(mix(rgb(215, 140, 95), rgb(120, 60, 45), t), 205+t*90, 14+t*10, 300+t*160, 1.7*float64(i))
	}
	green := rgb(30, 62, 44)
	c.Rect(green, 350, 130, 24, 150)
	c.Ellipse(green, 362, 130, 12, 12)
	for _, arm := range []struct{ x, y, h float64 }{{318, 190, 46}, {392, 170, 40}} {
		c.Rect(green, min(arm.x, 356), arm.y, max(arm.x+16-356, 372-arm.x+16)*0.8, 14)
		c.Rect(green, arm.x, arm.y-arm.h, 15, arm.h+10)
		c.Ellipse(green, arm.x+7.5, arm.y-arm.h, 7.5, 7.5)
	}
	return c.Grain(5)
}

// balloon is a striped balloon over fields. It has no grain: as a PNG it is small.
func balloon() image.Image {
	c := canvas.New(width, height, 5)
	c.Gradient(0, 260, rgb(120, 180, 235), rgb(225, 238, 248))
	for _, p := range []point{{80, 60}, {330, 40}, {420, 110}} {
		for i, r := range []float64{18, 26, 20} {
			c.Ellipse(fade(rgb(255, 255, 255), 0.85), p[0]+float64(i)*24, p[1], r*1.3, r*0.7)
		}
	}
	for i := range 4 {
		t := float64(i) / 3
		c.Ridge(mix(rgb(150, 185, 110), rgb(205, 180, 90), t), 225+t*60, 8, 380, 2.1*float64(i))
	}
	stripes := []color.NRGBA{rgb(205, 50, 45), rgb(250, 205, 70), rgb(205, 50, 45), rgb(40, 90, 160), rgb(250, 205, 70)}
	for i, col := range stripes {
		c.Ellipse(col, 240, 115, 72-float64(i)*15, 78)
	}
	c.Polygon(rgb(165, 40, 40), point{200, 178}, point{280, 178}, point{256, 212}, point{224, 212})
	for _, x := range []float64{226, 254} {
		c.Rect(rgb(90, 70, 50), x-1, 212, 2, 22)
	}
	c.Rect(rgb(140, 95, 55), 222, 232, 36, 24)
	return c.Im
}

// street is a row of town houses with a bus.
func street() image.Image {
	c := canvas.New(width, height, 6)
	c.Gradient(0, 200, rgb(170, 195, 215), rgb(225, 228, 225))
	fronts := []color.NRGBA{rgb(190, 110, 85), rgb(225, 205, 165), rgb(150, 165, 150), rgb(205, 150, 120), rgb(120, 130, 150)}
	for i, col := range fronts {
		x, h := float64(i)*96, 150+float64(i*37%60)
		c.Rect(col, x, 250-h, 96, h)
		c.Rect(mix(col, rgb(40, 40, 40), 0.5), x, 246-h, 96, 8)
		for row := 0.0; row < (h-60)/40; row++ {
			for k := range 3 {
				c.Rect(rgb(245, 242, 232), x+10+float64(k)*28, 264-h+row*40, 20, 27)
				c.Rect(rgb(70, 85, 100), x+12+float64(k)*28, 266-h+row*40, 16, 23)
			}
		}
		c.Rect(rgb(85, 55, 40), x+38, 212, 22, 38)
	}
	c.Rect(rgb(165, 162, 155), 0, 250, width, 16)
	c.Rect(rgb(75, 76, 80), 0, 266, width, 54)
	for x := 10.0; x < width; x += 60 {
		c.Rect(rgb(235, 235, 225), x, 292, 32, 4)
	}
	c.Rect(rgb(200, 35, 35), 130, 196, 190, 80)
	for i := range 6 {
		c.Rect(rgb(195, 215, 225), 138+float64(i)*30, 206, 24, 26)
	}
	c.Rect(rgb(250, 225, 120), 130, 240, 190, 5)
	for _, x := range []float64{170, 282} {
		c.Ellipse(rgb(25, 25, 28), x, 276, 16, 16)
		c.Ellipse(rgb(140, 140, 145), x, 276, 7, 7)
	}
	return c.Im
}
