package pixels_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/pixels"
)

// within returns the part of an image that leaves a margin, so that its origin isn't (0, 0) and rows have gaps.
func within(src image.Image, margin int) image.Image {
	return src.(interface {
		SubImage(image.Rectangle) image.Image
	}).SubImage(src.Bounds().Inset(margin))
}

// TestFromImageOfDecodedFiles compares the standard library's images with what Decode makes of the same file.
func TestFromImageOfDecodedFiles(t *testing.T) {
	for name, mode := range map[string]pixels.Mode{"grey8.png": pixels.L, "grey16.png": pixels.I16, "rgb8.png": pixels.RGB,
		"rgba8.png": pixels.RGBA, "palette8.png": pixels.P, "palette_short.png": pixels.P} {
		data := picture(t, name)
		want, err := pixels.Decode(data, pixels.Limits{})
		require.NoError(t, err)
		src, err := png.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		got, err := pixels.FromImage(src)
		require.NoError(t, err)
		require.Equal(t, mode, got.Mode)
		require.Equal(t, want, got, name)
	}
}

func TestFromImageReadsAPartOfAnImage(t *testing.T) {
	r := image.Rect(-3, 2, 9, 12)
	for _, src := range []image.Image{image.NewGray(r), image.NewGray16(r), image.NewCMYK(r), image.NewNRGBA(r),
		image.NewRGBA(r), image.NewRGBA64(r), image.NewPaletted(r, color.Palette{color.Black, color.White})} {
		set := src.(interface {
			Set(x, y int, c color.Color)
		})
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				set.Set(x, y, color.NRGBA{uint8(20 * (x + 3)), uint8(20 * (y - 2)), 200, 255})
			}
		}
		got, err := pixels.FromImage(within(src, 2))
		require.NoError(t, err)
		require.Equal(t, [2]int{8, 6}, [2]int{got.Width, got.Height})
		rgb := got.RGB()
		if got.Mode == pixels.I16 {
			continue // its conversion clips; the samples are checked elsewhere
		}
		for y := range 6 {
			for x := range 8 {
				want := color.NRGBAModel.Convert(src.At(x-1, y+4)).(color.NRGBA)
				at := 3 * (y*8 + x)
				// CMYK's two conversions differ by a rounding.
				require.InDelta(t, want.R, rgb.Pix[at], 1, "%T", src)
				require.InDelta(t, want.G, rgb.Pix[at+1], 1, "%T", src)
				require.InDelta(t, want.B, rgb.Pix[at+2], 1, "%T", src)
			}
		}
	}
}

// maxJPEGDifference is what the standard library's inverse DCT may differ from libjpeg's by, after the colours.
const maxJPEGDifference = 4

func TestFromImageConvertsYCbCrAsJPEGFiles(t *testing.T) {
	for _, name := range []string{"420_q95.jpg", "422_q75.jpg", "444_q75.jpg", "sample_1x2.jpg", "sample_4x1.jpg", "sample_4x2.jpg"} {
		data := picture(t, name)
		want, err := pixels.Decode(data, pixels.Limits{})
		require.NoError(t, err)
		src, err := jpeg.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		got, err := pixels.FromImage(src)
		require.NoError(t, err)
		require.Equal(t, pixels.RGB, got.Mode)
		for i, v := range got.Pix {
			require.InDelta(t, want.Pix[i], v, maxJPEGDifference, name)
		}
		// An origin between chroma samples is converted too, by the general way.
		part, err := pixels.FromImage(within(src, 3))
		require.NoError(t, err)
		require.Equal(t, src.Bounds().Dx()-6, part.Width)
	}
}

func TestFromImageKeepsAlphaOnlyWhereItIsUsed(t *testing.T) {
	src := image.NewRGBA(image.Rect(0, 0, 1, 1))
	src.SetRGBA(0, 0, color.RGBA{64, 0, 0, 128}) // premultiplied
	im, err := pixels.FromImage(src)
	require.NoError(t, err)
	require.Equal(t, pixels.RGBA, im.Mode)
	require.Equal(t, []byte{127, 0, 0, 128}, im.Pix)
}

func TestFromImageRefuses(t *testing.T) {
	_, err := pixels.FromImage(nil)
	require.ErrorContains(t, err, "nil")
	_, err = pixels.FromImage(image.NewGray(image.Rect(0, 0, 0, 4)))
	require.ErrorContains(t, err, "0x4")
	_, err = pixels.FromImage(image.NewUniform(color.White)) // without bounds
	require.ErrorIs(t, err, pixels.ErrLimit)
}
