package pixels

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The tags of a page that matter here.
const (
	tiffWidth        = 256
	tiffHeight       = 257
	tiffBits         = 258
	tiffCompression  = 259
	tiffPhotometric  = 262
	tiffFillOrder    = 266
	tiffStripOffsets = 273
	tiffOrientation  = 274
	tiffSamples      = 277
	tiffRowsPerStrip = 278
	tiffStripCounts  = 279
	tiffPlanar       = 284
	tiffT4Options    = 292
	tiffPredictor    = 317
	tiffColourMap    = 320
	tiffTileWidth    = 322
	tiffTileHeight   = 323
	tiffTileOffsets  = 324
	tiffTileCounts   = 325
	tiffExtraSamples = 338
	tiffSampleFormat = 339
)

// The most values that a tag may have. Most hold a few, the colour map 768; the places of strips and tiles are as many
// as tiles of 16x16 in the largest image that the default limits allow, twice.
const (
	maxTIFFValues = 1 << 10
	maxTIFFPieces = 1 << 19
)

// tiffFile is the first page of a file: the values of its tags.
type tiffFile struct {
	data  []byte
	order binary.ByteOrder
	tags  map[int][]int64
}

// readTIFF reads the tags of the first page.
func readTIFF(data []byte) (*tiffFile, error) {
	f := &tiffFile{data: data, order: binary.LittleEndian, tags: map[int][]int64{}}
	if len(data) < 8 {
		return nil, errTruncated
	}
	if data[0] == 'M' {
		f.order = binary.BigEndian
	}
	at := int64(f.order.Uint32(data[4:]))
	if at+2 > int64(len(data)) {
		return nil, errTruncated
	}
	n := int64(f.order.Uint16(data[at:]))
	if at+2+12*n > int64(len(data)) {
		return nil, errTruncated
	}
	for e := data[at+2 : at+2+12*n]; len(e) > 0; e = e[12:] {
		if err := f.readTag(e[:12]); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// readTag reads one entry. Tags that aren't of integers, or that nothing here asks for, are passed over.
func (f *tiffFile) readTag(e []byte) error {
	tag, kind, n := int(f.order.Uint16(e)), f.order.Uint16(e[2:]), int64(f.order.Uint32(e[4:]))
	if tag < tiffWidth || tag > tiffSampleFormat {
		return nil
	}
	size := map[uint16]int64{1: 1, 3: 2, 4: 4}[kind] // bytes, shorts, longs
	if size == 0 {
		return nil
	}
	most := int64(maxTIFFValues)
	switch tag {
	case tiffStripOffsets, tiffStripCounts, tiffTileOffsets, tiffTileCounts:
		most = maxTIFFPieces
	}
	if n > most {
		return fmt.Errorf("tag %d has %d values: want at most %d", tag, n, most)
	}
	b := e[8:]
	if n*size > 4 {
		at := int64(f.order.Uint32(b))
		if at+n*size > int64(len(f.data)) {
			return errTruncated
		}
		b = f.data[at:]
	}
	values := make([]int64, n)
	for i := range values {
		switch size {
		case 1:
			values[i] = int64(b[i])
		case 2:
			values[i] = int64(f.order.Uint16(b[2*i:]))
		default:
			values[i] = int64(f.order.Uint32(b[4*i:]))
		}
	}
	f.tags[tag] = values
	return nil
}

// value returns the first value of a tag, or def where there is none.
func (f *tiffFile) value(tag int, def int64) int64 {
	if v := f.tags[tag]; len(v) > 0 {
		return v[0]
	}
	return def
}

func tiffSize(data []byte) (w, h int64, err error) {
	f, err := readTIFF(data)
	if err != nil {
		return 0, 0, err
	}
	return f.value(tiffWidth, 0), f.value(tiffHeight, 0), nil
}

// The ways in which samples make a colour.
const (
	tiffWhiteIsZero = 0
	tiffBlackIsZero = 1
	tiffRGB         = 2
	tiffPaletted    = 3
	tiffInks        = 5
)

// tiffLayout is how a page's samples make pixels.
type tiffLayout struct {
	mode     Mode
	bits     int
	samples  int  // stored for each pixel
	premul   bool // colours are stored multiplied by alpha
	inverted bool // 0 is white
}

// layout chooses the mode as Pillow does. It fails for what Pillow decodes to a mode that this package doesn't have.
func (f *tiffFile) layout() (tiffLayout, error) {
	l := tiffLayout{bits: int(f.value(tiffBits, 1)), samples: int(f.value(tiffSamples, 1))}
	photo, extra := f.value(tiffPhotometric, 0), f.tags[tiffExtraSamples]
	unsupported := fmt.Errorf("photometric %d with %d samples of %v bits, extra %v: not supported",
		photo, l.samples, f.tags[tiffBits], extra)
	for _, b := range f.tags[tiffBits] {
		if b != int64(l.bits) {
			return l, unsupported
		}
	}
	if format := f.value(tiffSampleFormat, 1); format != 1 {
		return l, fmt.Errorf("sample format %d: want 1, unsigned integers", format)
	}
	colours := map[int64]int{tiffWhiteIsZero: 1, tiffBlackIsZero: 1, tiffRGB: 3, tiffPaletted: 1, tiffInks: 4}[photo]
	if colours == 0 || l.samples < colours || l.samples > colours+3 || len(extra) > l.samples-colours {
		return l, unsupported
	}
	first := int64(-1) // what the first extra sample is: 0 nothing, 1 premultiplied alpha, 2 alpha
	if len(extra) > 0 {
		first = extra[0]
	} else if l.samples > colours {
		first = 2
	}
	switch {
	case photo == tiffRGB && (l.bits == 8 || l.bits == 16):
		l.mode = RGB
		if l.samples > 3 && first != 0 {
			l.mode, l.premul = RGBA, first == 1
		}
	case photo == tiffInks && (l.bits == 8 || l.bits == 16) && first <= 0:
		l.mode = CMYK
	case photo == tiffPaletted && (l.bits <= 4 && l.samples == 1 || l.bits == 8 && first <= 0):
		l.mode = P
	case photo > tiffBlackIsZero, l.samples > 1 && (l.bits != 8 || photo != tiffBlackIsZero):
		return l, unsupported
	case l.samples > 1 && first == 2:
		l.mode = LA
	case l.samples > 1 && first == 1:
		return l, unsupported
	default:
		l.mode = map[int]Mode{1: Bilevel, 2: L, 4: L, 8: L, 16: I16}[l.bits]
		l.inverted = photo == tiffWhiteIsZero && l.bits < 16
	}
	if l.mode == "" || l.bits != 1 && l.bits != 2 && l.bits != 4 && l.bits != 8 && l.bits != 16 {
		return l, unsupported
	}
	return l, nil
}

// decodeTIFF decodes the first page to the mode that Pillow gives it, turned as its orientation tag says: the one format
// where Pillow heeds it.
func decodeTIFF(data []byte, _ Limits) (*Image, error) {
	f, err := readTIFF(data)
	if err != nil {
		return nil, err
	}
	l, err := f.layout()
	if err != nil {
		return nil, err
	}
	w, h := f.value(tiffWidth, 0), f.value(tiffHeight, 0)
	ratio := map[int64]int64{tiffPlain: 1, tiffLZW: lzwRatio, tiffDeflate: deflateRatio, tiffDeflateOld: deflateRatio,
		tiffPackBits: packRatio}[f.value(tiffCompression, 1)]
	if ratio > 0 {
		if err := plausible(len(data), h*((w*int64(l.bits*l.samples)+7)/8), ratio); err != nil {
			return nil, err
		}
	}
	im := newImage(l.mode, int(w), int(h))
	if l.mode == P {
		if im.Palette, err = f.palette(l.bits); err != nil {
			return nil, err
		}
	}
	if err := f.pieces(l, im); err != nil {
		return nil, err
	}
	if l.premul {
		for i := 0; i < len(im.Pix); i += 4 {
			if im.Pix[i+3] == 0 {
				im.Pix[i], im.Pix[i+1], im.Pix[i+2] = 0, 0, 0
			}
		}
		unpremultiply(im)
	}
	return im.turned(int(f.value(tiffOrientation, 1))), nil
}

// palette reads the colour map: all reds, all greens, all blues, in 16 bits.
func (f *tiffFile) palette(bits int) ([]byte, error) {
	m := f.tags[tiffColourMap]
	n := 1 << bits
	if len(m) < 3*n {
		return nil, errors.New("the colour map is missing or too short")
	}
	n = len(m) / 3
	out := make([]byte, paletteLen)
	for i := range min(n, 256) {
		out[3*i], out[3*i+1], out[3*i+2] = byte(m[i]>>8), byte(m[n+i]>>8), byte(m[2*n+i]>>8)
	}
	return out, nil
}

// turned returns the image as it looks with an orientation of 1 to 8 undone.
func (im *Image) turned(orientation int) *Image {
	if orientation < 2 || orientation > 8 {
		return im
	}
	w, h := im.Width, im.Height
	if orientation >= 5 {
		w, h = h, w
	}
	out := newImage(im.Mode, w, h)
	out.Palette = im.Palette
	c := im.Mode.Channels()
	lastX, lastY := im.Width-1, im.Height-1
	for y := range h {
		for x := range w {
			sx, sy := x, y
			switch orientation {
			case 2:
				sx = lastX - x
			case 3:
				sx, sy = lastX-x, lastY-y
			case 4:
				sy = lastY - y
			case 5:
				sx, sy = y, x
			case 6:
				sx, sy = y, lastY-x
			case 7:
				sx, sy = lastX-y, lastY-x
			case 8:
				sx, sy = lastX-y, x
			}
			copy(out.Pix[(y*w+x)*c:][:c], im.Pix[(sy*im.Width+sx)*c:])
		}
	}
	return out
}
