package pixels

import (
	"bytes"
	"fmt"
)

// The ways in which a BMP's pixels are stored.
const (
	bmpPlain  = 0
	bmpRLE8   = 1
	bmpRLE4   = 2
	bmpMasked = 3
)

// bmpHeader is what a BMP says before its pixels.
type bmpHeader struct {
	size          int64 // of the header itself
	width, height int64
	bits          int64
	compression   int64
	colours       int64
	entry         int64 // bytes of a palette entry
	topDown       bool
	masks         [4]int64 // R, G, B, A
	offset        int64    // of the pixels
	palette       []byte   // as the file has it
}

// readBMP reads the header, the masks and the palette.
func readBMP(data []byte) (*bmpHeader, error) {
	if len(data) < 26 {
		return nil, errTruncated
	}
	h := &bmpHeader{size: le32(data[14:]), offset: le32(data[10:]), entry: 4}
	switch h.size {
	case 12, 40, 52, 56, 64, 108, 124:
	default:
		return nil, fmt.Errorf("a header of %d bytes: want 12, 40, 52, 56, 64, 108 or 124", h.size)
	}
	if int64(len(data)) < 14+h.size {
		return nil, errTruncated
	}
	b := data[14 : 14+h.size]
	rest := data[14+h.size:]
	if h.size == 12 {
		h.width, h.height, h.bits, h.entry = le16(b[4:]), le16(b[6:]), le16(b[10:]), 3
	} else {
		h.width, h.height, h.bits, h.compression, h.colours = le32(b[4:]), le32(b[8:]), le16(b[14:]), le32(b[16:]), le32(b[32:])
		if b[11] == 0xff {
			h.topDown, h.height = true, 1<<32-h.height
		}
		if h.compression == bmpMasked {
			used, err := h.readMasks(b, rest)
			if err != nil {
				return nil, err
			}
			rest = rest[used:]
		}
	}
	if h.colours == 0 && h.bits < 32 {
		h.colours = 1 << h.bits
	}
	if h.offset == 14+h.size && h.bits <= 8 {
		h.offset += h.entry * h.colours
	}
	if h.bits <= 8 {
		if h.colours > 65536 {
			return nil, fmt.Errorf("a palette of %d colours: want at most 65536", h.colours)
		}
		h.palette = rest[:min(int64(len(rest)), h.entry*h.colours)]
	}
	return h, nil
}

// readMasks reads the bit masks of the channels, which stand in the longer headers or after the short one. It returns
// how many bytes after the header it used.
func (h *bmpHeader) readMasks(header, rest []byte) (int, error) {
	if h.size >= 52 {
		for i := range h.masks {
			if at := 40 + 4*i; at+4 <= len(header) {
				h.masks[i] = le32(header[at:])
			}
		}
		return 0, nil
	}
	if len(rest) < 12 {
		return 0, errTruncated
	}
	for i := range 3 {
		h.masks[i] = le32(rest[4*i:])
	}
	return 12, nil
}

func bmpSize(data []byte) (w, h int64, err error) {
	hd, err := readBMP(data)
	if err != nil {
		return 0, 0, err
	}
	return hd.width, hd.height, nil
}

// decodeBMP decodes to the mode that Pillow chooses: a palette that is a plain ramp of greys makes L or "1".
func decodeBMP(data []byte, _ Limits) (*Image, error) {
	h, err := readBMP(data)
	if err != nil {
		return nil, err
	}
	if h.offset > int64(len(data)) {
		return nil, errTruncated
	}
	body := data[h.offset:]
	switch {
	case h.compression == bmpRLE8 && h.bits == 8, h.compression == bmpRLE4 && h.bits == 4:
		return h.runs(body)
	case h.compression != bmpPlain && h.compression != bmpMasked:
		return nil, fmt.Errorf("compression %d with %d bits: not supported", h.compression, h.bits)
	}
	// The row that is stored last must be there before room is made for all of them.
	last := 0
	if h.topDown {
		last = int(h.height) - 1
	}
	if _, err := h.row(body, last); err != nil {
		return nil, err
	}
	switch h.bits {
	case 1, 4, 8:
		return h.indexed(body)
	case 16, 24, 32:
		return h.direct(body)
	}
	return nil, fmt.Errorf("%d bits a pixel: want 1, 4, 8, 16, 24 or 32", h.bits)
}

// indexedImage returns an image of the mode that the palette makes, and what an index stands for in it.
func (h *bmpHeader) indexedImage() (im *Image, value func(byte) byte) {
	im = newImage(P, int(h.width), int(h.height))
	value = func(v byte) byte { return v }
	grey := true
	im.Palette = make([]byte, paletteLen)
	for i := range int(h.colours) {
		want := byte(i)
		if h.colours == 2 {
			want = byte(255 * i)
		}
		entry := h.palette[min(int64(len(h.palette)), int64(i)*h.entry):]
		if len(entry) < 3 {
			grey = false
			break
		}
		grey = grey && i < 256 && bytes.Equal(entry[:3], []byte{want, want, want})
		if i < 256 {
			im.Palette[3*i], im.Palette[3*i+1], im.Palette[3*i+2] = entry[2], entry[1], entry[0]
		}
	}
	if grey {
		im.Mode, im.Palette = L, nil
		if h.colours <= 2 {
			im.Mode = Bilevel
			value = func(v byte) byte { return 255 * min(v, 1) }
		}
	}
	return im, value
}

// row returns the stored row of image row y.
func (h *bmpHeader) row(body []byte, y int) ([]byte, error) {
	stride := (h.width*h.bits + 31) / 32 * 4
	at := int64(y)
	if !h.topDown {
		at = h.height - 1 - at
	}
	// The last row may lack its padding.
	used := (h.width*h.bits + 7) / 8
	if at*stride+used > int64(len(body)) {
		return nil, errTruncated
	}
	return body[at*stride:][:used], nil
}

func (h *bmpHeader) indexed(body []byte) (*Image, error) {
	im, value := h.indexedImage()
	per := 8 / int(h.bits)
	mask := byte(1<<h.bits - 1)
	for y := range im.Height {
		row, err := h.row(body, y)
		if err != nil {
			return nil, err
		}
		dst := im.Pix[y*im.Width:][:im.Width]
		for x := range dst {
			shift := (per - 1 - x%per) * int(h.bits)
			dst[x] = value(row[x/per] >> shift & mask)
		}
	}
	return im, nil
}

// bmpLayout is where the bytes of a pixel's channels are.
type bmpLayout struct {
	mode Mode
	at   [4]int // R, G, B, A: byte of the pixel, or -1
}

// layout returns the layout of 24 and 32 bits.
func (h *bmpHeader) layout() (bmpLayout, error) {
	if h.compression == bmpPlain || h.masks == [4]int64{0xff0000, 0xff00, 0xff, 0} {
		return bmpLayout{RGB, [4]int{2, 1, 0, -1}}, nil
	}
	if h.bits == 32 {
		switch h.masks {
		case [4]int64{0xff000000, 0xff0000, 0xff00, 0}:
			return bmpLayout{RGB, [4]int{3, 2, 1, -1}}, nil
		case [4]int64{0xff000000, 0xff00, 0xff, 0}:
			return bmpLayout{RGB, [4]int{3, 1, 0, -1}}, nil
		case [4]int64{0xff000000, 0xff0000, 0xff00, 0xff}:
			return bmpLayout{RGBA, [4]int{3, 2, 1, 0}}, nil
		case [4]int64{0xff, 0xff00, 0xff0000, 0xff000000}:
			return bmpLayout{RGBA, [4]int{0, 1, 2, 3}}, nil
		case [4]int64{0xff0000, 0xff00, 0xff, 0xff000000}, [4]int64{}:
			return bmpLayout{RGBA, [4]int{2, 1, 0, 3}}, nil
		case [4]int64{0xff000000, 0xff00, 0xff, 0xff0000}:
			return bmpLayout{RGBA, [4]int{3, 1, 0, 2}}, nil
		}
	} else if [3]int64(h.masks[:3]) == [3]int64{0xff0000, 0xff00, 0xff} {
		return bmpLayout{RGB, [4]int{2, 1, 0, -1}}, nil
	}
	return bmpLayout{}, fmt.Errorf("channel masks %#x with %d bits: not supported", h.masks, h.bits)
}

// direct decodes pixels that hold their colours.
func (h *bmpHeader) direct(body []byte) (*Image, error) {
	if h.bits == 16 {
		return h.direct16(body)
	}
	lay, err := h.layout()
	if err != nil {
		return nil, err
	}
	im := newImage(lay.mode, int(h.width), int(h.height))
	size, c := int(h.bits/8), lay.mode.Channels()
	for y := range im.Height {
		row, err := h.row(body, y)
		if err != nil {
			return nil, err
		}
		dst := im.Pix[y*im.Width*c:][:im.Width*c]
		for x := 0; x < im.Width; x++ {
			for k := range c {
				dst[x*c+k] = row[x*size+lay.at[k]]
			}
		}
	}
	return im, nil
}

// direct16 decodes 5-5-5 and 5-6-5.
func (h *bmpHeader) direct16(body []byte) (*Image, error) {
	green := 5
	if h.compression == bmpMasked {
		switch [3]int64(h.masks[:3]) {
		case [3]int64{0xf800, 0x7e0, 0x1f}:
			green = 6
		case [3]int64{0x7c00, 0x3e0, 0x1f}:
		default:
			return nil, fmt.Errorf("channel masks %#x with 16 bits: not supported", h.masks[:3])
		}
	}
	im := newImage(RGB, int(h.width), int(h.height))
	for y := range im.Height {
		row, err := h.row(body, y)
		if err != nil {
			return nil, err
		}
		dst := im.Pix[3*y*im.Width:][:3*im.Width]
		for x := range im.Width {
			v := int(le16(row[2*x:]))
			dst[3*x] = byte(v >> (5 + green) & 31 * 255 / 31)
			dst[3*x+1] = byte(v >> 5 & (1<<green - 1) * 255 / (1<<green - 1))
			dst[3*x+2] = byte(v & 31 * 255 / 31)
		}
	}
	return im, nil
}

// runs decodes run-length coding; what the file leaves out is 0.
func (h *bmpHeader) runs(body []byte) (*Image, error) {
	im, value := h.indexedImage()
	if h.topDown {
		return nil, fmt.Errorf("run-length coding from the top down: not supported")
	}
	r := bmpRuns{im: im, body: body, four: h.compression == bmpRLE4}
	if err := r.decode(); err != nil {
		return nil, err
	}
	for i, v := range im.Pix {
		im.Pix[i] = value(v)
	}
	// Rows were stored from the bottom.
	w := im.Width
	row := make([]byte, w)
	for y := range im.Height / 2 {
		a, b := im.Pix[y*w:][:w], im.Pix[(im.Height-1-y)*w:][:w]
		copy(row, a)
		copy(a, b)
		copy(b, row)
	}
	return im, nil
}

// bmpRuns is the state of run-length decoding: at is the place of the next pixel, x its column as runs count it.
type bmpRuns struct {
	im    *Image
	body  []byte
	four  bool
	at, x int
}

// put stores n pixels whose indices repeat the bytes of p, or the halves of them.
func (r *bmpRuns) put(p []byte, n int) {
	for i := 0; i < n && r.at < len(r.im.Pix); i++ {
		v := p[i%len(p)]
		if r.four {
			v = p[i/2%len(p)] >> (4 - i%2*4) & 15
		}
		r.im.Pix[r.at] = v
		r.at++
	}
	r.x += n
}

func (r *bmpRuns) decode() error {
	w := r.im.Width
	for r.at < len(r.im.Pix) {
		if len(r.body) < 2 {
			return errTruncated
		}
		n, v := int(r.body[0]), r.body[1]
		r.body = r.body[2:]
		switch {
		case n > 0:
			r.put([]byte{v}, min(n, max(0, w-r.x)))
		case v == 0: // the end of a row
			r.at += (w - r.at%w) % w
			r.x = 0
		case v == 1: // the end of the picture
			return nil
		case v == 2: // a jump
			if len(r.body) < 2 {
				return errTruncated
			}
			r.at = min(len(r.im.Pix), r.at+int(r.body[0])+int(r.body[1])*w)
			r.body = r.body[2:]
			r.x = r.at % w
		default:
			if err := r.literal(int(v)); err != nil {
				return err
			}
		}
	}
	return nil
}

// literal reads n pixels that are no run; they fill whole 16-bit words.
func (r *bmpRuns) literal(n int) error {
	size := n
	if r.four {
		size = (n + 1) / 2
	}
	if size > len(r.body) {
		return errTruncated
	}
	r.put(r.body[:size], n)
	r.body = r.body[min(size+size%2, len(r.body)):]
	return nil
}
