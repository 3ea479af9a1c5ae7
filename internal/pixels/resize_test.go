package pixels_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/bgevl/bgevl/internal/pixels"
)

// plainResize is the textbook: each axis by a weighted mean in floating point, the vertical one second, unrounded.
func plainResize(src []byte, w, h, ow, oh int, weight func(float64) float64, support float64) []float64 {
	across := make([]float64, h*ow)
	for y := range h {
		for x := range ow {
			across[y*ow+x] = plainSample(w, ow, x, weight, support, func(i int) float64 { return float64(src[y*w+i]) })
		}
	}
	out := make([]float64, oh*ow)
	for y := range oh {
		for x := range ow {
			out[y*ow+x] = plainSample(h, oh, y, weight, support, func(i int) float64 { return across[i*ow+x] })
		}
	}
	return out
}

func plainSample(in, out, i int, weight func(float64) float64, support float64, at func(int) float64) float64 {
	scale := float64(in) / float64(out)
	stretch := math.Max(1, scale)
	centre := (float64(i) + 0.5) * scale
	sum, total := 0.0, 0.0
	for j := range in {
		d := (float64(j) + 0.5 - centre) / stretch
		if math.Abs(d) > support {
			continue
		}
		w := weight(d)
		sum += w * at(j)
		total += w
	}
	return sum / total
}

func bilinear(x float64) float64 { return math.Max(0, 1-math.Abs(x)) }

func bicubic(x float64) float64 {
	x = math.Abs(x)
	switch {
	case x < 1:
		return 1.5*x*x*x - 2.5*x*x + 1
	case x < 2:
		return -0.5*x*x*x + 2.5*x*x - 4*x + 2
	}
	return 0
}

func lanczos(x float64) float64 {
	if x == 0 {
		return 1
	}
	if math.Abs(x) >= 3 {
		return 0
	}
	x *= math.Pi
	return math.Sin(x) / x * math.Sin(x/3) / (x / 3)
}

// roundings is how far the fixed-point result may be from the plain one: half a step for the rounding between the passes
// (times what the filter's negative lobes amplify), half for the last, and the clipping of both.
const roundings = 1.4

func TestResizeIsNearThePlainFilter(t *testing.T) {
	filters := []struct {
		f       pixels.Filter
		weight  func(float64) float64
		support float64
	}{{pixels.Bilinear, bilinear, 1}, {pixels.Bicubic, bicubic, 2}, {pixels.Lanczos, lanczos, 3}}
	rapid.Check(t, func(rt *rapid.T) {
		side := rapid.IntRange(1, 24)
		w, h, ow, oh := side.Draw(rt, "w"), side.Draw(rt, "h"), side.Draw(rt, "ow"), side.Draw(rt, "oh")
		if w == ow && h == oh {
			return
		}
		f := rapid.SampledFrom(filters).Draw(rt, "filter")
		// Away from black and white, so that what overshoots isn't clipped between the passes.
		pix := rapid.SliceOfN(rapid.ByteRange(90, 160), w*h, w*h).Draw(rt, "pix")
		im := &pixels.Image{Mode: pixels.L, Width: w, Height: h, Pix: pix}
		got, err := im.Resize(ow, oh, f.f)
		require.NoError(rt, err)
		want := plainResize(pix, w, h, ow, oh, f.weight, f.support)
		for i, v := range got.Pix {
			require.InDelta(rt, want[i], float64(v), roundings, "%s at %d", f.f, i)
		}
	})
}

// TestResizeKeepsChannelsApart holds every mode to the single-channel result.
func TestResizeKeepsChannelsApart(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := rapid.SampledFrom([]pixels.Mode{pixels.RGB, pixels.RGBA, pixels.LA, pixels.CMYK}).Draw(rt, "mode")
		c := m.Channels()
		side := rapid.IntRange(1, 30)
		w, h, ow, oh := side.Draw(rt, "w"), side.Draw(rt, "h"), side.Draw(rt, "ow"), side.Draw(rt, "oh")
		f := rapid.SampledFrom([]pixels.Filter{pixels.Nearest, pixels.Bicubic, pixels.Hamming, pixels.Box}).Draw(rt, "filter")
		im := &pixels.Image{Mode: m, Width: w, Height: h, Pix: rapid.SliceOfN(rapid.Byte(), w*h*c, w*h*c).Draw(rt, "pix")}
		if m == pixels.RGBA || m == pixels.LA {
			for i := c - 1; i < len(im.Pix); i += c {
				im.Pix[i] = 255 // opaque: premultiplication changes nothing
			}
		}
		got, err := im.Resize(ow, oh, f)
		require.NoError(rt, err)
		require.Equal(rt, m, got.Mode)
		for k := range c {
			one := &pixels.Image{Mode: pixels.L, Width: w, Height: h, Pix: make([]byte, w*h)}
			for i := range one.Pix {
				one.Pix[i] = im.Pix[i*c+k]
			}
			want, err := one.Resize(ow, oh, f)
			require.NoError(rt, err)
			for i, v := range want.Pix {
				require.Equal(rt, v, got.Pix[i*c+k], "channel %d at %d", k, i)
			}
		}
	})
}

func TestResizeOfAConstantIsConstant(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := rapid.SampledFrom([]pixels.Mode{pixels.L, pixels.LA, pixels.RGB, pixels.RGBA, pixels.CMYK}).Draw(rt, "mode")
		side := rapid.IntRange(1, 200)
		w, h, ow, oh := side.Draw(rt, "w"), side.Draw(rt, "h"), side.Draw(rt, "ow"), side.Draw(rt, "oh")
		f := pixels.Filter(rapid.IntRange(0, 5).Draw(rt, "filter"))
		v := rapid.Byte().Draw(rt, "value")
		im := &pixels.Image{Mode: m, Width: w, Height: h, Pix: make([]byte, w*h*m.Channels())}
		for i := range im.Pix {
			im.Pix[i] = v
		}
		if m == pixels.LA || m == pixels.RGBA {
			for i := m.Channels() - 1; i < len(im.Pix); i += m.Channels() {
				im.Pix[i] = 255
			}
		}
		got, err := im.Resize(ow, oh, f)
		require.NoError(rt, err)
		require.Equal(rt, [2]int{ow, oh}, [2]int{got.Width, got.Height})
		for i, b := range got.Pix {
			require.Equal(rt, im.Pix[i%m.Channels()], b)
		}
	})
}

func TestResizeOfTransparentPixelsHidesTheirColour(t *testing.T) {
	// A red pixel that cannot be seen beside a blue one that can: the mean is blue.
	im := &pixels.Image{Mode: pixels.RGBA, Width: 2, Height: 1, Pix: []byte{255, 0, 0, 0, 0, 0, 255, 255}}
	got, err := im.Resize(1, 1, pixels.Box)
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 255, 128}, got.Pix)
}

func TestPalettesAreNeverMixed(t *testing.T) {
	for _, m := range []pixels.Mode{pixels.P, pixels.Bilevel} {
		im := &pixels.Image{Mode: m, Width: 4, Height: 1, Pix: []byte{0, 255, 0, 255}}
		if m == pixels.P {
			im.Palette = make([]byte, 768)
		}
		got, err := im.Resize(3, 2, pixels.Bicubic)
		require.NoError(t, err)
		for _, v := range got.Pix {
			require.Contains(t, []byte{0, 255}, v)
		}
	}
}

func TestResizeNamesWhatIsWrong(t *testing.T) {
	im := noise(4, 4)
	for _, c := range []struct {
		w, h int
		f    pixels.Filter
		want string
	}{{0, 4, pixels.Bicubic, "0x4"}, {4, -1, pixels.Bicubic, "4x-1"}, {1 << 20, 4, pixels.Bicubic, "1048576x4"}, {4, 5, 6, "filter 6"}, {4, 5, -1, "filter -1"}} {
		_, err := im.Resize(c.w, c.h, c.f)
		require.ErrorContains(t, err, c.want)
	}
	for _, bad := range []*pixels.Image{
		{Mode: "HSV", Width: 1, Height: 1, Pix: make([]byte, 3)},
		{Mode: pixels.RGB, Width: 2, Height: 2, Pix: make([]byte, 11)},
		{Mode: pixels.L, Width: 0, Height: 1},
		{Mode: pixels.L, Width: 1 << 62, Height: 4, Pix: make([]byte, 16)},
		{Mode: pixels.P, Width: 1, Height: 1, Pix: make([]byte, 1), Palette: make([]byte, 3)},
	} {
		_, err := bad.Resize(3, 3, pixels.Bicubic)
		require.ErrorContains(t, err, "pixels: image of")
	}
}

func TestFilterNames(t *testing.T) {
	require.Equal(t, "bicubic hamming filter 9", fmt.Sprint(pixels.Bicubic, " ", pixels.Hamming, " ", pixels.Filter(9)))
}
