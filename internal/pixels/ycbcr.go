package pixels

import (
	"image"

	"github.com/bgevl/bgevl/csrc"
)

// fromYCbCr converts as libjpeg-turbo does: chroma is interpolated where it does so, and the colours go through the
// same fixed-point tables. It reports false for a subsampling that it can't express, or an origin off the chroma grid.
func fromYCbCr(s *image.YCbCr) (*Image, bool) {
	h, v := 1, 1
	switch s.SubsampleRatio {
	case image.YCbCrSubsampleRatio444:
	case image.YCbCrSubsampleRatio422:
		h = 2
	case image.YCbCrSubsampleRatio420:
		h, v = 2, 2
	case image.YCbCrSubsampleRatio440:
		v = 2
	case image.YCbCrSubsampleRatio411:
		h = 4
	case image.YCbCrSubsampleRatio410:
		h, v = 4, 2
	default:
		return nil, false
	}
	r := s.Rect
	if r.Min.X%h != 0 || r.Min.Y%v != 0 {
		return nil, false
	}
	w, ht := r.Dx(), r.Dy()
	cw, ch := ceilDiv(w, h), ceilDiv(ht, v)
	yo, co := s.YOffset(r.Min.X, r.Min.Y), s.COffset(r.Min.X, r.Min.Y)
	planes := []csrc.Plane{
		{Pix: s.Y[yo:], Stride: s.YStride, Width: w, Height: ht, H: 1, V: 1},
		{Pix: s.Cb[co:], Stride: s.CStride, Width: cw, Height: ch, H: h, V: v},
		{Pix: s.Cr[co:], Stride: s.CStride, Width: cw, Height: ch, H: h, V: v},
	}
	out := newImage(RGB, w, ht)
	return out, csrc.FastestJPEG().Join(planes, true, out.Pix, w, ht) == nil
}
