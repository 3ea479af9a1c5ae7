package csrc

// #include "jpeg.h"
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// JPEGKernels are the arithmetic of JPEG files by the instructions that they are named after. All give the same samples.
// The methods may be called by many goroutines at once.
type JPEGKernels struct{ c *C.bge_jpeg }

// FastestJPEG returns those to use on this processor.
func FastestJPEG() JPEGKernels { return JPEGKernels{C.bge_jpeg_at(0)} }

// AllJPEG returns all that this processor can run, the fastest first and the plain ones, which the others are tested
// against, last.
func AllJPEG() []JPEGKernels {
	var all []JPEGKernels
	for i := C.int32_t(0); ; i++ {
		c := C.bge_jpeg_at(i)
		if c == nil {
			return all
		}
		all = append(all, JPEGKernels{c})
	}
}

// Name returns the name of the instruction set, "plain" for none in particular.
func (j JPEGKernels) Name() string { return C.GoString(C.bge_jpeg_name(j.c)) }

// What is known of a block of coefficients: it was not read; its first one alone may not be 0; nothing.
const (
	BlockNone  = C.BGE_BLOCK_NONE
	BlockFlat  = C.BGE_BLOCK_FLAT
	BlockWhole = C.BGE_BLOCK_WHOLE
)

// Transform writes the samples of blocks that lie side by side to dst, in rows that are stride apart, by the inverse
// DCT. coeffs holds 64 dequantised coefficients a block, in rows. The samples of a block that was not read stay as they
// are. coeffs and kinds are left zeroed. It fails with ErrArgument where sizes do not fit each other.
func (j JPEGKernels) Transform(coeffs []int32, kinds, dst []byte, stride int) error {
	n := len(kinds)
	switch {
	case n == 0:
		return nil
	case n > math.MaxInt/64 || len(coeffs) != 64*n || stride < 8*n || stride > math.MaxInt/8 || len(dst) < 7*stride+8*n:
		return argumentError(fmt.Sprintf("jpeg: %d coefficients and room for %d samples in rows of %d: want those of %d blocks",
			len(coeffs), len(dst), stride, n))
	}
	C.bge_jpeg_blocks(j.c, (*C.int32_t)(unsafe.SliceData(coeffs)), (*C.uint8_t)(unsafe.SliceData(kinds)), C.int64_t(n),
		(*C.uint8_t)(unsafe.SliceData(dst)), C.int64_t(stride))
	return nil
}

// A Plane is one component of an image: Height rows of Width samples, Stride bytes apart, each standing for H by V
// samples of the image.
type Plane struct {
	Pix                   []byte
	Stride, Width, Height int
	H, V                  int
}

// Join makes an image of width by height pixels of its 1 to 4 components, interpolating those that are subsampled as
// libjpeg-turbo does. With ycc, three components are Y, Cb and Cr and become RGB, four are Y, Cb, Cr and K and become
// CMYK. A component that ends before the image does repeats its last row. It fails with ErrArgument where sizes do not fit
// each other.
func (j JPEGKernels) Join(planes []Plane, ycc bool, dst []byte, width, height int) error {
	n := len(planes)
	if n < 1 || n > C.BGE_JPEG_PLANES || width < 1 || height < 1 || width > math.MaxInt32 || height > math.MaxInt32 ||
		width > math.MaxInt/n/height || len(dst) != n*width*height {
		return argumentError(fmt.Sprintf("jpeg: room for %d samples: want that of %dx%d pixels of %d, at most 4, components", len(dst),
			width, height, n))
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(unsafe.SliceData(dst))
	a := C.bge_jpeg_join_args{n_planes: C.int32_t(n), width: C.int32_t(width), height: C.int32_t(height),
		dst: (*C.uint8_t)(unsafe.SliceData(dst))}
	if ycc {
		a.ycc = 1
	}
	for i, p := range planes {
		if err := p.check(width); err != nil {
			return err
		}
		pin.Pin(unsafe.SliceData(p.Pix))
		a.plane[i] = C.bge_jpeg_plane{pix: (*C.uint8_t)(unsafe.SliceData(p.Pix)), stride: C.int64_t(p.Stride),
			width: C.int32_t(p.Width), height: C.int32_t(p.Height), h: C.int32_t(p.H), v: C.int32_t(p.V)}
	}
	scratch := make([]uint64, C.bge_jpeg_scratch(&a)/8+1)
	C.bge_jpeg_join(j.c, &a, unsafe.Pointer(unsafe.SliceData(scratch)))
	return nil
}

// maxSampling is the most that a component may be subsampled along a side.
const maxSampling = 4

// check fails where the plane lacks samples for an image of that width.
func (p Plane) check(width int) error {
	if p.H < 1 || p.V < 1 || p.H > maxSampling || p.V > maxSampling || p.Width < 1 || p.Height < 1 || p.Height > math.MaxInt32 ||
		p.Width > math.MaxInt32/maxSampling || p.Width*p.H < width || p.Stride < p.Width || p.Stride > math.MaxInt/p.Height ||
		len(p.Pix) < (p.Height-1)*p.Stride+p.Width {
		return argumentError(fmt.Sprintf("jpeg: a component of %d bytes, %dx%d samples in rows of %d, subsampled by %dx%d: want it to fill a width of %d",
			len(p.Pix), p.Width, p.Height, p.Stride, p.H, p.V, width))
	}
	return nil
}
