package pixels

import (
	"fmt"
	"math"

	"github.com/bgevl/bgevl/csrc"
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
		out, err := premultiply(im).resample(w, h, f, r)
		if err == nil {
			unpremultiply(out)
		}
		return out, err
	}
	return im.resample(w, h, f, r)
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
func (im *Image) resample(w, h int, f Filter, r region) (*Image, error) {
	if verticalFirst(im.Width, im.Height, w, h) {
		part, err := im.resampleRows(h, f, r.y0, r.y1)
		if err != nil {
			return nil, err
		}
		return part.resampleColumns(w, f, r.x0, r.x1)
	}
	top, bottom := r.y0, r.y1
	var rows *taps
	if h != im.Height {
		rows = newTaps(im.Height, h, r.y0, r.y1, f)
		top, bottom = rows.bounds()
	}
	part, err := im.rows(top, bottom).resampleColumns(w, f, r.x0, r.x1)
	if err != nil || rows == nil {
		return part, err
	}
	rows.shift(top)
	return part.vertical(rows)
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
func (im *Image) resampleColumns(w int, f Filter, x0, x1 int) (*Image, error) {
	if w == im.Width {
		return im.crop(region{x0, 0, x1, im.Height}), nil
	}
	return im.horizontal(newTaps(im.Width, w, x0, x1, f))
}

// resampleRows returns the rows [y0, y1) of the image scaled to a height of h, which isn't its own.
func (im *Image) resampleRows(h int, f Filter, y0, y1 int) (*Image, error) {
	t := newTaps(im.Height, h, y0, y1, f)
	top, bottom := t.bounds()
	t.shift(top)
	return im.rows(top, bottom).vertical(t)
}

// horizontal resamples each row.
func (im *Image) horizontal(t *taps) (*Image, error) {
	out := newImage(im.Mode, len(t.First), im.Height)
	if im.Mode != I16 {
		return out, csrc.FastestResizer().Across(im.samples(), out.Pix, &t.Taps)
	}
	for y := range im.Height {
		horizontal16(out.Pix[2*y*out.Width:][:2*out.Width], im.Pix[2*y*im.Width:][:2*im.Width], t)
	}
	return out, nil
}

// vertical resamples each column.
func (im *Image) vertical(t *taps) (*Image, error) {
	out := newImage(im.Mode, im.Width, len(t.First))
	if im.Mode != I16 {
		return out, csrc.FastestResizer().Down(im.samples(), out.Pix, &t.Taps)
	}
	n := 2 * im.Width
	for y, first := range t.First {
		vertical16(out.Pix[y*n:][:n], im.Pix[int(first)*n:], n, t.exact[y*t.Width:][:t.Size[y]])
	}
	return out, nil
}

// samples describes the image, of a mode with samples of 8 bits, to C.
func (im *Image) samples() csrc.Samples {
	return csrc.Samples{Pix: im.Pix, Width: im.Width, Height: im.Height, Channels: im.Mode.Channels()}
}

// horizontal16 resamples a row of 16-bit samples in floating point.
func horizontal16(dst, src []byte, t *taps) {
	for i, first := range t.First {
		k := t.exact[i*t.Width:][:t.Size[i]]
		s := src[2*first:][:2*len(k)]
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
