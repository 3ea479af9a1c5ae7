package pixels

import (
	"errors"
	"fmt"
	"image"
	"image/color"
)

// Mode is the layout of an image's pixels, by Pillow's name for it.
type Mode string

// The modes that an Image can have, with the bytes of one pixel.
const (
	Bilevel Mode = "1"    // 1 byte, 0 or 255
	L       Mode = "L"    // 1 byte of grey
	LA      Mode = "LA"   // grey, alpha (not premultiplied)
	P       Mode = "P"    // 1 byte, an index in the palette
	RGB     Mode = "RGB"  // 3 bytes
	RGBA    Mode = "RGBA" // 4 bytes, alpha not premultiplied
	I16     Mode = "I;16" // 2 bytes of grey, little-endian
	CMYK    Mode = "CMYK" // 4 bytes, 255 is full ink
)

// Channels returns the bytes of one pixel, or 0 for a mode that isn't one of this package's.
func (m Mode) Channels() int {
	switch m {
	case Bilevel, L, P:
		return 1
	case LA, I16:
		return 2
	case RGB:
		return 3
	case RGBA, CMYK:
		return 4
	}
	return 0
}

// paletteLen is the bytes of a full palette: 256 entries of R, G, B.
const paletteLen = 256 * 3

// Image is a decoded image: rows from the top, pixels from the left, no padding between rows.
//
// len(Pix) is Width * Height * Mode.Channels(). Palette has 768 bytes (256 times R, G, B) in mode P and is nil in
// every other mode.
type Image struct {
	Mode          Mode
	Width, Height int
	Pix           []byte
	Palette       []byte
}

// newImage returns a black image. The caller has checked the size.
func newImage(m Mode, w, h int) *Image {
	return &Image{Mode: m, Width: w, Height: h, Pix: make([]byte, w*h*m.Channels())}
}

// check returns an error if the image breaks the contract of its fields.
func (im *Image) check() error {
	c := im.Mode.Channels()
	switch {
	case c == 0:
		return fmt.Errorf("pixels: image of mode %q: want one of 1, L, LA, P, RGB, RGBA, I;16, CMYK", im.Mode)
	case im.Width < 1 || im.Height < 1:
		return fmt.Errorf("pixels: image of %dx%d pixels: want at least 1x1", im.Width, im.Height)
	case im.Width > len(im.Pix)/c/im.Height || len(im.Pix) != im.Width*im.Height*c:
		return fmt.Errorf("pixels: image of mode %s, %dx%d pixels: want %d bytes for each, got %d in all",
			im.Mode, im.Width, im.Height, c, len(im.Pix))
	case im.Mode == P && len(im.Palette) != paletteLen:
		return fmt.Errorf("pixels: image of mode P: want a palette of %d bytes, got %d", paletteLen, len(im.Palette))
	}
	return nil
}

// ErrLimit is what errors.Is finds in the error of an image that is larger than the Limits.
var ErrLimit = errors.New("image over the limits")

// ErrFormat is what errors.Is finds in the error of data that is no image of a known format.
var ErrFormat = errors.New("unknown image format")

// Limits bound what Decode accepts. The zero value means the defaults.
type Limits struct {
	MaxPixels int64 // width * height; 0 means DefaultMaxPixels
	MaxSide   int   // the longer side; 0 means DefaultMaxSide
}

// The defaults of Limits.
const (
	DefaultMaxPixels = 64 << 20
	DefaultMaxSide   = 16384
)

// check returns an error that wraps ErrLimit if an image of the given size is over the limits, and another error if
// the size is no size at all. A width and height that passed may be multiplied as ints.
func (l Limits) check(format string, w, h int64) error {
	maxPixels, maxSide := l.MaxPixels, int64(l.MaxSide)
	if maxPixels <= 0 {
		maxPixels = DefaultMaxPixels
	}
	if maxSide <= 0 {
		maxSide = DefaultMaxSide
	}
	switch {
	case w < 1 || h < 1:
		return fmt.Errorf("pixels: %s of %dx%d pixels: want at least 1x1", format, w, h)
	case w > maxSide || h > maxSide:
		return fmt.Errorf("pixels: %s of %dx%d pixels: a side is longer than %d: scale it down or raise MaxSide: %w",
			format, w, h, maxSide, ErrLimit)
	case w > maxPixels/h:
		return fmt.Errorf("pixels: %s of %dx%d pixels: more than %d in all: scale it down or raise MaxPixels: %w",
			format, w, h, maxPixels, ErrLimit)
	}
	return nil
}

// FromImage returns a copy of src in the mode that its type stands for: *image.Gray is L, *image.Gray16 I;16,
// *image.Paletted P, *image.CMYK CMYK, *image.YCbCr RGB (converted as JPEG files are), all else RGB if it is opaque and
// RGBA if not. It fails for a size that Limits' zero value would refuse.
func FromImage(src image.Image) (*Image, error) {
	if src == nil {
		return nil, errors.New("pixels: from image: the image is nil")
	}
	b := src.Bounds()
	w, h := b.Dx(), b.Dy()
	if err := (Limits{}).check("image", int64(w), int64(h)); err != nil {
		return nil, err
	}
	switch s := src.(type) {
	case *image.Gray:
		return copyRows(L, w, h, s.Pix, s.PixOffset(b.Min.X, b.Min.Y), s.Stride), nil
	case *image.CMYK:
		return copyRows(CMYK, w, h, s.Pix, s.PixOffset(b.Min.X, b.Min.Y), s.Stride), nil
	case *image.Paletted:
		im := copyRows(P, w, h, s.Pix, s.PixOffset(b.Min.X, b.Min.Y), s.Stride)
		im.Palette = fromPalette(s.Palette)
		return im, nil
	case *image.Gray16:
		im := copyRows(I16, w, h, s.Pix, s.PixOffset(b.Min.X, b.Min.Y), s.Stride)
		swapBytes(im.Pix)
		return im, nil
	case *image.YCbCr:
		if im, ok := fromYCbCr(s); ok {
			return im, nil
		}
	case *image.NRGBA:
		return opaqueToRGB(copyRows(RGBA, w, h, s.Pix, s.PixOffset(b.Min.X, b.Min.Y), s.Stride)), nil
	}
	return opaqueToRGB(fromColors(src)), nil
}

// copyRows returns an image made of h rows of w pixels that start at offset, stride bytes apart.
func copyRows(m Mode, w, h int, pix []byte, offset, stride int) *Image {
	im := newImage(m, w, h)
	row := w * m.Channels()
	for y := range h {
		copy(im.Pix[y*row:(y+1)*row], pix[offset+y*stride:])
	}
	return im
}

// swapBytes turns big-endian 16-bit samples into little-endian ones.
func swapBytes(pix []byte) {
	for i := 0; i+1 < len(pix); i += 2 {
		pix[i], pix[i+1] = pix[i+1], pix[i]
	}
}

// fromPalette returns the 768 bytes of a palette; entries that aren't there are black, as Pillow has them.
func fromPalette(p color.Palette) []byte {
	out := make([]byte, paletteLen)
	for i, c := range p[:min(len(p), 256)] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		out[3*i], out[3*i+1], out[3*i+2] = n.R, n.G, n.B
	}
	return out
}

// fromColors reads any image, pixel by pixel, as RGBA with unpremultiplied alpha.
func fromColors(src image.Image) *Image {
	b := src.Bounds()
	im := newImage(RGBA, b.Dx(), b.Dy())
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := color.NRGBAModel.Convert(src.At(x, y)).(color.NRGBA)
			im.Pix[i], im.Pix[i+1], im.Pix[i+2], im.Pix[i+3] = c.R, c.G, c.B, c.A
			i += 4
		}
	}
	return im
}

// opaqueToRGB drops the alpha of an RGBA image whose every pixel is opaque.
func opaqueToRGB(im *Image) *Image {
	for i := 3; i < len(im.Pix); i += 4 {
		if im.Pix[i] != 255 {
			return im
		}
	}
	return im.RGB()
}
