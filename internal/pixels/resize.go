package pixels

import (
	"fmt"
	"math"
)

// maxResizeSide bounds the sides of a resized image. The sides that configurations ask for are some hundreds; the
// bound is there so that a product of two of them can be computed.
const maxResizeSide = 1 << 15

// Resize returns the image scaled to w by h pixels, every byte as Pillow's Image.resize gives it: the filter is
// widened by the ratio when scaling down, the first of the two passes rounds to 8 bits, LA and RGBA are
// premultiplied around the resize, and modes "1" and P always use Nearest. The result has the image's own mode. It fails
// for an unknown filter and for a side outside 1 to 32,768.
func (im *Image) Resize(w, h int, f Filter) (*Image, error) {
	return im.resizeRegion(w, h, f, region{0, 0, w, h})
}

// region is a rectangle of pixels: [x0, x1) by [y0, y1).
type region struct{ x0, y0, x1, y1 int }

func (r region) width() int  { return r.x1 - r.x0 }
func (r region) height() int { return r.y1 - r.y0 }

// resizeRegion returns the part r of what Resize(w, h, f) returns, and computes no more than that. The part lies
// within w by h and isn't empty; w and h may be larger than Resize allows.
func (im *Image) resizeRegion(w, h int, f Filter, r region) (*Image, error) {
	if err := im.check(); err != nil {
		return nil, err
	}
	if !f.valid() {
		return nil, fmt.Errorf("pixels: resize: filter %d: want 0 to 5 (nearest, lanczos, bilinear, bicubic, box, hamming)", int(f))
	}
	if r.width() < 1 || r.height() < 1 || r.width() > maxResizeSide || r.height() > maxResizeSide {
		return nil, fmt.Errorf("pixels: resize to %dx%d: want sides of 1 to %d", w, h, maxResizeSide)
	}
	if w == im.Width && h == im.Height {
		return im.crop(r), nil
	}
	if im.Mode == Bilevel || im.Mode == P {
		f = Nearest
	}
	if f == Nearest {
		return im.nearest(w, h, r), nil
	}
	switch im.Mode {
	case LA, RGBA:
		out := premultiply(im).resample(w, h, f, r)
		unpremultiply(out)
		return out, nil
	}
	return im.resample(w, h, f, r), nil
}

// crop returns a copy of the region.
func (im *Image) crop(r region) *Image {
	c := im.Mode.Channels()
	out := copyRows(im.Mode, r.width(), r.height(), im.Pix, (r.y0*im.Width+r.x0)*c, im.Width*c)
	out.Palette = im.Palette
	return out
}

// nearest picks the source pixel under each output pixel's centre.
func (im *Image) nearest(w, h int, r region) *Image {
	out := newImage(im.Mode, r.width(), r.height())
	out.Palette = im.Palette
	xs, ys := nearestPositions(im.Width, w, im.Mode == I16), nearestPositions(im.Height, h, im.Mode == I16)
	c := im.Mode.Channels()
	i := 0
	for _, sy := range ys[r.y0:r.y1] {
		row := im.Pix[sy*im.Width*c:][:im.Width*c]
		for _, sx := range xs[r.x0:r.x1] {
			i += copy(out.Pix[i:i+c], row[sx*c:])
		}
	}
	return out
}

// nearestPositions returns the source position of each of out positions. Pillow adds the step up from position to
// position for 8-bit modes and multiplies for 16-bit ones; the two round differently.
func nearestPositions(in, out int, multiply bool) []int {
	step := float64(in) / float64(out)
	pos := make([]int, out)
	at := step * 0.5
	for i := range pos {
		if multiply {
			at = float64(step * (float64(i) + 0.5))
		}
		pos[i] = min(int(at), in-1)
		at += step
	}
	return pos
}

// resample runs the passes that are needed; the image isn't of mode "1" or P. Which comes first matters, since the
// result between them is rounded to 8 bits.
func (im *Image) resample(w, h int, f Filter, r region) *Image {
	if verticalFirst(im.Width, im.Height, w, h) {
		return im.resampleRows(h, f, r.y0, r.y1).resampleColumns(w, f, r.x0, r.x1)
	}
	top, bottom := r.y0, r.y1
	var rows *taps
	if h != im.Height {
		rows = newTaps(im.Height, h, r.y0, r.y1, f)
		top, bottom = rows.bounds()
	}
	part := im.rows(top, bottom).resampleColumns(w, f, r.x0, r.x1)
	if rows != nil {
		part = part.vertical(rows, top)
	}
	return part
}

// verticalFirst reports whether Pillow 13 runs the vertical pass before the horizontal one. The rule was measured on
// its results: the height must shrink, and by more than twice what the width does.
func verticalFirst(w, h, toW, toH int) bool {
	return toH < h && toW != w && h-toH > 2*(w-toW)
}

// rows returns the rows [top, bottom) without copying them.
func (im *Image) rows(top, bottom int) *Image {
	n := im.Width * im.Mode.Channels()
	return &Image{Mode: im.Mode, Width: im.Width, Height: bottom - top, Pix: im.Pix[top*n : bottom*n]}
}

// resampleColumns returns the columns [x0, x1) of the image scaled to a width of w.
func (im *Image) resampleColumns(w int, f Filter, x0, x1 int) *Image {
	if w == im.Width {
		return im.crop(region{x0, 0, x1, im.Height})
	}
	return im.horizontal(newTaps(im.Width, w, x0, x1, f))
}

// resampleRows returns the rows [y0, y1) of the image scaled to a height of h, which isn't its own.
func (im *Image) resampleRows(h int, f Filter, y0, y1 int) *Image {
	t := newTaps(im.Height, h, y0, y1, f)
	top, bottom := t.bounds()
	return im.rows(top, bottom).vertical(t, top)
}

// horizontal resamples each row.
func (im *Image) horizontal(t *taps) *Image {
	out := newImage(im.Mode, len(t.first), im.Height)
	c := im.Mode.Channels()
	var room *pairs
	if c >= 3 {
		room = newPairs(im.Width)
	}
	for y := range im.Height {
		src, dst := im.Pix[y*im.Width*c:][:im.Width*c], out.Pix[y*out.Width*c:][:out.Width*c]
		switch im.Mode {
		case I16:
			horizontal16(dst, src, t)
		case L:
			horizontal1(dst, src, t)
		case LA:
			horizontal2(dst, src, t)
		case RGB:
			room.horizontal3(dst, src, t)
		default:
			room.horizontal4(dst, src, t)
		}
	}
	return out
}

// half is what a fixed-point sum starts from, so that the shift rounds.
const half = 1 << (fixedBits - 1)

// clip8 returns a fixed-point sum as a sample.
func clip8(sum int32) byte {
	v := sum >> fixedBits
	if uint32(v) > 255 {
		// All ones for a positive sum, all zeros for a negative one.
		v = ^(v >> 31)
	}
	return byte(v)
}

func horizontal1(dst, src []byte, t *taps) {
	for i := range dst {
		s := src[t.first[i]:][:t.size[i]]
		k := t.fixed[i*t.width:][:len(s)]
		sum := int32(half)
		for j, v := range s {
			sum += int32(v) * k[j]
		}
		dst[i] = clip8(sum)
	}
}

func horizontal2(dst, src []byte, t *taps) {
	for i := range t.first {
		k := t.fixed[i*t.width:][:t.size[i]]
		s := src[2*t.first[i]:][:2*len(k)]
		a, b := int32(half), int32(half)
		for _, w := range k {
			a += int32(s[0]) * w
			b += int32(s[1]) * w
			s = s[2:]
		}
		dst[2*i], dst[2*i+1] = clip8(a), clip8(b)
	}
}

// pairs is room for a row of pixels as two sums' worth of channels: two 8-bit samples 32 bits apart, so that one
// multiplication serves both.
type pairs struct{ a, b []int64 }

func newPairs(width int) *pairs { return &pairs{make([]int64, width), make([]int64, width)} }

// split takes the two sums out of a pair's. The lower one may be negative and has then borrowed from the upper.
func split(sum int64) (low, high int32) {
	low = int32(sum)
	return low, int32((sum - int64(low)) >> 32)
}

const halves = half + half<<32

func (p *pairs) horizontal3(dst, src []byte, t *taps) {
	a, b := p.a, p.b[:len(p.a)]
	for i := range a {
		s := (*[3]byte)(src)
		src = src[3:]
		a[i], b[i] = int64(s[0])|int64(s[1])<<32, int64(s[2])
	}
	for i, first := range t.first {
		k := t.fixed[i*t.width:][:t.size[i]]
		pa, pb := a[first:][:len(k)], b[first:][:len(k)]
		x, y := int64(halves), int64(half)
		for j, w := range k {
			x += pa[j] * int64(w)
			y += pb[j] * int64(w)
		}
		d := (*[3]byte)(dst)
		dst = dst[3:]
		r, g := split(x)
		d[0], d[1], d[2] = clip8(r), clip8(g), clip8(int32(y))
	}
}

func (p *pairs) horizontal4(dst, src []byte, t *taps) {
	a, b := p.a, p.b[:len(p.a)]
	for i := range a {
		s := (*[4]byte)(src)
		src = src[4:]
		a[i], b[i] = int64(s[0])|int64(s[1])<<32, int64(s[2])|int64(s[3])<<32
	}
	for i, first := range t.first {
		k := t.fixed[i*t.width:][:t.size[i]]
		pa, pb := a[first:][:len(k)], b[first:][:len(k)]
		x, y := int64(halves), int64(halves)
		for j, w := range k {
			x += pa[j] * int64(w)
			y += pb[j] * int64(w)
		}
		d := (*[4]byte)(dst)
		dst = dst[4:]
		r, g := split(x)
		u, v := split(y)
		d[0], d[1], d[2], d[3] = clip8(r), clip8(g), clip8(u), clip8(v)
	}
}

// vertical resamples each column; the image's first row is the row top of what the taps count from.
func (im *Image) vertical(t *taps, top int) *Image {
	out := newImage(im.Mode, im.Width, len(t.first))
	n := im.Width * im.Mode.Channels()
	if im.Mode == I16 {
		for y := range t.first {
			vertical16(out.Pix[y*n:][:n], im.Pix[(int(t.first[y])-top)*n:], n, t.exact[y*t.width:][:t.size[y]])
		}
		return out
	}
	sums := make([]int32, n)
	for y := range t.first {
		for i := range sums {
			sums[i] = half
		}
		src := im.Pix[(int(t.first[y])-top)*n:]
		for j, w := range t.fixed[y*t.width:][:t.size[y]] {
			row := src[j*n:][:len(sums)]
			for i, v := range row {
				sums[i] += int32(v) * w
			}
		}
		dst := out.Pix[y*n:][:len(sums)]
		for i, s := range sums {
			dst[i] = clip8(s)
		}
	}
	return out
}

// horizontal16 resamples a row of 16-bit samples in floating point.
func horizontal16(dst, src []byte, t *taps) {
	for i := range t.first {
		k := t.exact[i*t.width:][:t.size[i]]
		s := src[2*t.first[i]:][:2*len(k)]
		sum := 0.0
		for j, w := range k {
			sum += float64(float64(int(s[2*j])|int(s[2*j+1])<<8) * w)
		}
		put16(dst[2*i:], sum)
	}
}

// vertical16 resamples a row's worth of columns of 16-bit samples; the rows of src are n bytes apart.
func vertical16(dst, src []byte, n int, k []float64) {
	for i := 0; i < n; i += 2 {
		sum := 0.0
		for j, w := range k {
			s := src[j*n+i:]
			sum += float64(float64(int(s[0])|int(s[1])<<8) * w)
		}
		put16(dst[i:], sum)
	}
}

// put16 stores a rounded and clipped sample.
func put16(dst []byte, sum float64) {
	v := int(max(0, min(math.MaxUint16, math.Floor(sum+0.5))))
	dst[0], dst[1] = byte(v), byte(v>>8)
}
