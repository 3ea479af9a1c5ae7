package pixels

import "image"

// plane is one component of a subsampled image.
type plane struct {
	pix           []byte
	stride        int
	width, height int
}

func (p plane) row(y int) []byte {
	y = max(0, min(y, p.height-1))
	return p.pix[y*p.stride:][:p.width]
}

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
	cw, ch := (w+h-1)/h, (ht+v-1)/v
	yo, co := s.YOffset(r.Min.X, r.Min.Y), s.COffset(r.Min.X, r.Min.Y)
	luma := plane{s.Y[yo:], s.YStride, w, ht}
	cb, cr := newUpsampler(plane{s.Cb[co:], s.CStride, cw, ch}, h, v), newUpsampler(plane{s.Cr[co:], s.CStride, cw, ch}, h, v)
	out := newImage(RGB, w, ht)
	tables := newYCCTables()
	for y := range ht {
		tables.row(out.Pix[3*y*w:][:3*w], luma.row(y), cb.row(y), cr.row(y))
	}
	return out, true
}

// upsampler gives the full-width rows of a subsampled plane, one after another.
type upsampler struct {
	p    plane
	h, v int
	buf  []byte
}

func newUpsampler(p plane, h, v int) *upsampler {
	return &upsampler{p: p, h: h, v: v, buf: make([]byte, p.width*h)}
}

// minFancyWidth is the narrowest plane that libjpeg interpolates across.
const minFancyWidth = 3

// row returns row y of the full image; it is valid until the next call.
func (u *upsampler) row(y int) []byte {
	in := u.p.row(y / u.v)
	switch {
	case u.h == 1 && u.v == 1:
		return in
	case u.h == 2 && u.v == 1 && u.p.width >= minFancyWidth:
		fancyH2V1(u.buf, in)
	case u.h == 2 && u.v == 2 && u.p.width >= minFancyWidth:
		fancyH2V2(u.buf, in, u.p.row(u.neighbour(y)))
	case u.h == 1 && u.v == 2:
		bias := int32(1 + y%2)
		far := u.p.row(u.neighbour(y))
		for i, near := range in {
			u.buf[i] = byte((3*int32(near) + int32(far[i]) + bias) >> 2)
		}
	default:
		for i, v := range in {
			for k := range u.h {
				u.buf[i*u.h+k] = v
			}
		}
	}
	return u.buf
}

// neighbour returns the plane's row that is second nearest to row y of the full image.
func (u *upsampler) neighbour(y int) int {
	return y/2 - 1 + y%2*2
}

// fancyH2V1 doubles a row by a triangle filter. The rounding alternates, so that it has no bias.
func fancyH2V1(out, in []byte) {
	n := len(in)
	out[0], out[2*n-1] = in[0], in[n-1]
	for i := 1; i < n; i++ {
		a, b := int32(in[i-1]), int32(in[i])
		out[2*i-1] = byte((3*a + b + 2) >> 2)
		out[2*i] = byte((3*b + a + 1) >> 2)
	}
}

// fancyH2V2 doubles a row by the same filter, of the sums of each column's nearer and further sample. Four times a sum
// over 16 is the sample.
func fancyH2V2(out, near, far []byte) {
	n := len(near)
	far = far[:n]
	last := 3*uint32(near[0]) + uint32(far[0])
	out[0] = byte((4*last + 8) >> 4)
	o := out[1:]
	for i := 1; i < n; i++ {
		sum := 3*uint32(near[i]) + uint32(far[i])
		p := (*[2]byte)(o)
		p[0], p[1] = byte((3*last+sum+7)>>4), byte((3*sum+last+8)>>4)
		o = o[2:]
		last = sum
	}
	out[2*n-1] = byte((4*last + 7) >> 4)
}

// yccTables are the products of the conversion from Y, Cb, Cr to R, G, B: full-range BT.601 in 16-bit fixed point.
type yccTables struct {
	crR, cbB, crG, cbG [256]int32
}

// newYCCTables computes the tables from JFIF's coefficients.
func newYCCTables() *yccTables {
	const (
		half = 1 << 15
		cR   = 91881  // 1.402 * 65536, rounded
		cB   = 116130 // 1.772
		cGr  = 46802  // 0.71414
		cGb  = 22554  // 0.34414
	)
	t := new(yccTables)
	for i := range int32(256) {
		x := i - 128
		t.crR[i] = (cR*x + half) >> 16
		t.cbB[i] = (cB*x + half) >> 16
		t.crG[i] = -cGr * x
		t.cbG[i] = -cGb*x + half
	}
	return t
}

// row converts len(y) pixels.
func (t *yccTables) row(dst, y, cb, cr []byte) {
	cb, cr = cb[:len(y)], cr[:len(y)]
	for i, v := range y {
		l, b, r := int32(v), cb[i], cr[i]
		d := (*[3]byte)(dst)
		dst = dst[3:]
		d[0] = clamp8(l + t.crR[r])
		d[1] = clamp8(l + (t.cbG[b]+t.crG[r])>>16)
		d[2] = clamp8(l + t.cbB[b])
	}
}

// clamp8 returns v as a sample.
func clamp8(v int32) byte {
	if uint32(v) > 255 {
		v = ^(v >> 31)
	}
	return byte(v)
}

// row4 converts a row of Y, Cb, Cr and K to C, M, Y and K: the inks are the complement of the colours.
func (t *yccTables) row4(dst []byte, rows [][]byte) {
	cb, cr, k := rows[1], rows[2], rows[3]
	for i, v := range rows[0] {
		l, b, r := int32(v), cb[i], cr[i]
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0] = clamp8(255 - (l + t.crR[r]))
		d[1] = clamp8(255 - (l + (t.cbG[b]+t.crG[r])>>16))
		d[2] = clamp8(255 - (l + t.cbB[b]))
		d[3] = k[i]
	}
}
