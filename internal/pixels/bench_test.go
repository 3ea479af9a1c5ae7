package pixels_test

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
)

// photo is a JPEG of 640x480 pixels with about as much detail as a photograph: 4:2:0, some 2 bits a pixel.
func photo(b *testing.B) []byte {
	b.Helper()
	src := image.NewNRGBA(image.Rect(0, 0, 640, 480))
	grain := noise(640, 480).Pix
	for i := range 640 * 480 {
		x, y := i%640, i/640
		wave := math.Sin(float64(x)/9) * math.Cos(float64(y)/13)
		for c := range 3 {
			src.Pix[4*i+c] = byte(110 + 50*wave + float64(x*y%(97+c)/3) + float64(grain[3*i+c])/12)
		}
		src.Pix[4*i+3] = 255
	}
	var file bytes.Buffer
	require.NoError(b, jpeg.Encode(&file, src, &jpeg.Options{Quality: 90}))
	return file.Bytes()
}

func BenchmarkDecodeJPEG(b *testing.B) {
	data := photo(b)
	b.ReportAllocs()
	for b.Loop() {
		_, err := pixels.Decode(data, pixels.Limits{})
		require.NoError(b, err)
	}
}

func BenchmarkCLIP(b *testing.B) {
	im, err := pixels.Decode(photo(b), pixels.Limits{})
	require.NoError(b, err)
	c, err := pixels.ParseConfig([]byte(`{}`))
	require.NoError(b, err)
	dst := make([]float32, 3*224*224)
	b.ReportAllocs()
	for b.Loop() {
		require.NoError(b, c.CLIP(im, dst))
	}
}

func BenchmarkDecodeAndCLIP(b *testing.B) {
	data := photo(b)
	c, err := pixels.ParseConfig([]byte(`{}`))
	require.NoError(b, err)
	dst := make([]float32, 3*224*224)
	b.ReportAllocs()
	for b.Loop() {
		im, err := pixels.Decode(data, pixels.Limits{})
		require.NoError(b, err)
		require.NoError(b, c.CLIP(im, dst))
	}
}

func BenchmarkResize(b *testing.B) {
	for _, m := range []pixels.Mode{pixels.L, pixels.RGB, pixels.RGBA} {
		im := &pixels.Image{Mode: m, Width: 640, Height: 480, Pix: make([]byte, 640*480*m.Channels())}
		copy(im.Pix, noise(640, 480).Pix)
		for _, f := range []pixels.Filter{pixels.Bicubic, pixels.Lanczos} {
			b.Run(fmt.Sprintf("%s/%s", m, f), func(b *testing.B) {
				for b.Loop() {
					_, err := im.Resize(298, 224, f)
					require.NoError(b, err)
				}
			})
		}
	}
}

func BenchmarkLlavaNext(b *testing.B) {
	im := noise(512, 512)
	c, err := pixels.ParseConfig([]byte(`{"size":{"shortest_edge":336},"crop_size":336,"image_grid_pinpoints":[[336,672],[672,336],[672,672],[1008,336],[336,1008]]}`))
	require.NoError(b, err)
	dst := make([]float32, 5*3*336*336)
	for b.Loop() {
		require.NoError(b, c.LlavaNext(im, dst))
	}
}
