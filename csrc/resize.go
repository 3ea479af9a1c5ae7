package csrc

// #include "resize.h"
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

// Samples are an image's samples of 8 bits: rows of Width pixels of 1 to 4 channels, without padding.
type Samples struct {
	Pix                     []byte
	Width, Height, Channels int
}

// ResizeBits is the fraction of a weight of Taps.
const ResizeBits = C.BGE_RESIZE_BITS

// Taps are the weights of a pass of a resize, in fixed point: output i sums Size[i] source positions from First[i] with
// the weights from i*Width.
type Taps struct {
	Width       int
	First, Size []int32
	Weight      []int32
}

// A Resizer resamples images by the instructions that it is named after. All give the same samples. Its methods may be
// called by many goroutines at once.
type Resizer struct{ c *C.bge_resize }

// FastestResizer returns the one to use on this processor.
func FastestResizer() Resizer { return Resizer{C.bge_resize_at(0)} }

// Resizers returns all that this processor can run, the fastest first and the plain one, which the others are tested
// against, last.
func Resizers() []Resizer {
	var all []Resizer
	for i := C.int32_t(0); ; i++ {
		c := C.bge_resize_at(i)
		if c == nil {
			return all
		}
		all = append(all, Resizer{c})
	}
}

// Name returns the name of the instruction set, "plain" for none in particular.
func (r Resizer) Name() string { return C.GoString(C.bge_resize_name(r.c)) }

// Across writes each row of src, scaled to len(t.First) pixels, to dst, which does not overlap src. It fails with
// ErrArgument, and before anything is read, where sizes do not fit each other or positions lie outside of src.
func (r Resizer) Across(src Samples, dst []byte, t *Taps) error {
	if err := checkPass(src, src.Width, src.Height, dst, t); err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	a := passOf(src, dst, t, &pin)
	scratch := make([]uint64, C.bge_resize_scratch(r.c, &a)/8+1)
	C.bge_resize_across(r.c, &a, unsafe.Pointer(unsafe.SliceData(scratch)))
	return nil
}

// Down is Across for columns: it writes len(t.First) rows.
func (r Resizer) Down(src Samples, dst []byte, t *Taps) error {
	if err := checkPass(src, src.Height, src.Width, dst, t); err != nil {
		return err
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	a := passOf(src, dst, t, &pin)
	C.bge_resize_down(r.c, &a)
	return nil
}

// passOf returns the arguments of a pass that was checked.
func passOf(src Samples, dst []byte, t *Taps, pin *runtime.Pinner) C.bge_resize_args {
	for _, s := range [][]int32{t.First, t.Size, t.Weight} {
		pin.Pin(unsafe.SliceData(s))
	}
	pin.Pin(unsafe.SliceData(src.Pix))
	pin.Pin(unsafe.SliceData(dst))
	return C.bge_resize_args{
		src:      (*C.uint8_t)(unsafe.SliceData(src.Pix)),
		dst:      (*C.uint8_t)(unsafe.SliceData(dst)),
		channels: C.int32_t(src.Channels),
		width:    C.int32_t(src.Width),
		height:   C.int32_t(src.Height),
		outputs:  C.int32_t(len(t.First)),
		first:    ints(t.First),
		size:     ints(t.Size),
		weight:   ints(t.Weight),
		taps:     C.int32_t(t.Width),
	}
}

// checkPass checks a pass along a side of the image; across is the other side.
func checkPass(src Samples, along, across int, dst []byte, t *Taps) error {
	if err := src.check(); err != nil {
		return err
	}
	n := len(t.First)
	switch {
	case n < 1 || len(t.Size) != n || t.Width < 1 || t.Width > math.MaxInt32/n || len(t.Weight) != n*t.Width:
		return argumentError(fmt.Sprintf("resize: %d first positions, %d sizes and %d weights for %d taps each: want as many of each",
			n, len(t.Size), len(t.Weight), t.Width))
	case across > math.MaxInt/n/src.Channels || len(dst) != n*across*src.Channels:
		return argumentError(fmt.Sprintf("resize: room for %d bytes: want %d times %d pixels of %d", len(dst), n, across, src.Channels))
	}
	for i, first := range t.First {
		size := t.Size[i]
		if first < 0 || size < 0 || int(size) > t.Width || int(first)+int(size) > along {
			return argumentError(fmt.Sprintf("resize: output %d: %d positions from %d, want at most %d within %d", i, size, first, t.Width, along))
		}
	}
	return nil
}

// check fails where the slice isn't what the sizes say.
func (s Samples) check() error {
	if s.Channels < 1 || s.Channels > 4 || s.Width < 1 || s.Height < 1 || s.Width > math.MaxInt32 || s.Height > math.MaxInt32 ||
		s.Width > math.MaxInt/s.Height/s.Channels || len(s.Pix) != s.Width*s.Height*s.Channels {
		return argumentError(fmt.Sprintf("resize: %d bytes for %dx%d pixels of %d: want as many, of 1 to 4 each",
			len(s.Pix), s.Width, s.Height, s.Channels))
	}
	return nil
}
