package pixels

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
)

const pngMagic = "\x89PNG\r\n\x1a\n"

// The colour types of a PNG header.
const (
	pngGrey      = 0
	pngRGB       = 2
	pngPalette   = 3
	pngGreyAlpha = 4
	pngRGBA      = 6
)

// pngHeader is the part of the IHDR chunk that chooses the mode.
type pngHeader struct {
	width, height int64
	depth, colour byte
}

// bitsPerPixel returns the bits that a pixel takes in the file, 0 for a colour type that there isn't.
func (h pngHeader) bitsPerPixel() int64 {
	samples := map[byte]int64{pngGrey: 1, pngRGB: 3, pngPalette: 1, pngGreyAlpha: 2, pngRGBA: 4}[h.colour]
	return samples * int64(h.depth)
}

func readPNGHeader(data []byte) (pngHeader, error) {
	// The magic, the length and the name of the first chunk, its 13 bytes and its checksum.
	if len(data) < 33 {
		return pngHeader{}, errTruncated
	}
	if be32(data[8:]) != 13 || string(data[12:16]) != "IHDR" {
		return pngHeader{}, errors.New("the first chunk isn't a header")
	}
	return pngHeader{width: be32(data[16:]), height: be32(data[20:]), depth: data[24], colour: data[25]}, nil
}

func pngSize(data []byte) (w, h int64, err error) {
	hd, err := readPNGHeader(data)
	return hd.width, hd.height, err
}

// decodePNG decodes by the standard library and brings the samples to Pillow's modes.
func decodePNG(data []byte, _ Limits) (*Image, error) {
	hd, err := readPNGHeader(data)
	if err != nil {
		return nil, err
	}
	if err := plausible(len(data), hd.height*(hd.width*hd.bitsPerPixel()+7)/8, deflateRatio); err != nil {
		return nil, err
	}
	src, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	switch {
	case hd.colour == pngGrey && hd.depth == 16:
		return pngGrey16(src)
	case hd.colour == pngGrey && hd.depth == 1:
		return pngGrey8(src, Bilevel)
	case hd.colour == pngGrey:
		return pngGrey8(src, L)
	case hd.colour == pngPalette:
		s, ok := src.(*image.Paletted)
		if !ok {
			break
		}
		im := copyRows(P, s.Rect.Dx(), s.Rect.Dy(), s.Pix, 0, s.Stride)
		im.Palette, err = pngPaletteBytes(data)
		return im, err
	case hd.colour == pngGreyAlpha && hd.depth == 8:
		return pngChannels(src, LA)
	case hd.colour == pngGreyAlpha, hd.colour == pngRGBA:
		return pngChannels(src, RGBA)
	case hd.colour == pngRGB:
		return pngChannels(src, RGB)
	}
	return nil, fmt.Errorf("colour type %d with %d bits: not supported", hd.colour, hd.depth)
}

// pngSamples returns the samples of a decoded image, the channels of a pixel and the bytes of a sample.
func pngSamples(src image.Image) (pix []byte, channels, bytes int, err error) {
	switch s := src.(type) {
	case *image.Gray:
		return s.Pix, 1, 1, nil
	case *image.Gray16:
		return s.Pix, 1, 2, nil
	case *image.RGBA: // what the decoder gives for opaque files; the alpha is 255 throughout
		return s.Pix, 4, 1, nil
	case *image.NRGBA:
		return s.Pix, 4, 1, nil
	case *image.RGBA64:
		return s.Pix, 4, 2, nil
	case *image.NRGBA64:
		return s.Pix, 4, 2, nil
	}
	return nil, 0, 0, fmt.Errorf("the decoder gave a %T: not supported", src)
}

// pngGrey8 takes the grey of an image whose file has grey of up to 8 bits. A transparent grey in the file made the
// decoder widen it to four channels; Pillow doesn't.
func pngGrey8(src image.Image, m Mode) (*Image, error) {
	pix, channels, _, err := pngSamples(src)
	if err != nil {
		return nil, err
	}
	im := newImage(m, src.Bounds().Dx(), src.Bounds().Dy())
	for i := range im.Pix {
		im.Pix[i] = pix[i*channels]
	}
	return im, nil
}

func pngGrey16(src image.Image) (*Image, error) {
	pix, channels, _, err := pngSamples(src)
	if err != nil {
		return nil, err
	}
	im := newImage(I16, src.Bounds().Dx(), src.Bounds().Dy())
	for i := 0; i < len(im.Pix); i += 2 {
		im.Pix[i], im.Pix[i+1] = pix[i*channels+1], pix[i*channels]
	}
	return im, nil
}

// pngChannels takes the channels of mode m, LA, RGB or RGBA, from four. Of a 16-bit sample Pillow keeps the high byte.
func pngChannels(src image.Image, m Mode) (*Image, error) {
	pix, channels, size, err := pngSamples(src)
	if err != nil {
		return nil, err
	}
	if channels != 4 {
		return nil, fmt.Errorf("the decoder gave a %T: not supported", src)
	}
	im := newImage(m, src.Bounds().Dx(), src.Bounds().Dy())
	from := []int{0, 1, 2, 3}
	if m == LA {
		from = []int{0, 3}
	}
	from = from[:m.Channels()]
	i := 0
	for p := 0; i < len(im.Pix); p += 4 * size {
		for _, c := range from {
			im.Pix[i] = pix[p+c*size]
			i++
		}
	}
	return im, nil
}

// pngPaletteBytes reads the palette as the file has it: the decoder has already mixed transparency into its own.
func pngPaletteBytes(data []byte) ([]byte, error) {
	out := make([]byte, paletteLen)
	for at := int64(8); at+12 <= int64(len(data)); {
		n := be32(data[at:])
		if n > int64(len(data))-at-12 {
			break
		}
		if string(data[at+4:at+8]) == "PLTE" {
			copy(out, data[at+8:at+8+n])
			return out, nil
		}
		at += n + 12
	}
	return nil, errors.New("there is no palette")
}
