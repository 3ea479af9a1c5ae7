package safetensors

import (
	"fmt"
	"math"
	"strings"
)

// DType is how elements are stored, in the format's own words.
type DType string

// The element types of the format.
const (
	BOOL   DType = "BOOL"
	U8     DType = "U8"
	I8     DType = "I8"
	F4     DType = "F4"
	F6E2M3 DType = "F6_E2M3"
	F6E3M2 DType = "F6_E3M2"
	F8E5M2 DType = "F8_E5M2"
	F8E4M3 DType = "F8_E4M3"
	F8E8M0 DType = "F8_E8M0"
	I16    DType = "I16"
	U16    DType = "U16"
	F16    DType = "F16"
	BF16   DType = "BF16"
	I32    DType = "I32"
	U32    DType = "U32"
	F32    DType = "F32"
	F64    DType = "F64"
	I64    DType = "I64"
	U64    DType = "U64"
	C64    DType = "C64"
)

// Bits returns how many bits an element takes, 0 for a type that the format does not have.
func (d DType) Bits() int64 {
	switch d {
	case F4:
		return 4
	case F6E2M3, F6E3M2:
		return 6
	case BOOL, U8, I8, F8E5M2, F8E4M3, F8E8M0:
		return 8
	case I16, U16, F16, BF16:
		return 16
	case I32, U32, F32:
		return 32
	case F64, I64, U64, C64:
		return 64
	}
	return 0
}

// known returns the constant that equals s, so that no text of a file is kept alive by it.
func known(s string) (DType, bool) {
	all := [...]DType{BOOL, U8, I8, F4, F6E2M3, F6E3M2, F8E5M2, F8E4M3, F8E8M0, I16, U16, F16, BF16, I32, U32, F32, F64,
		I64, U64, C64}
	for _, d := range all {
		if string(d) == s {
			return d, true
		}
	}
	return "", false
}

// maxRank bounds what a shape can make a reader allocate. Weights have at most five dimensions.
const maxRank = 8

// TensorSize returns how many bytes a tensor takes. It fails where the type is unknown, where there are more than 8
// dimensions or a negative one, where the size is no whole number of bytes, and where it exceeds an int64.
func TensorSize(d DType, shape []int64) (int64, error) {
	bits := d.Bits()
	if bits == 0 {
		return 0, malformed("element type %s is unknown", quote(string(d)))
	}
	if len(shape) > maxRank {
		return 0, malformed("it has %d dimensions: want at most %d", len(shape), maxRank)
	}
	n := int64(1)
	for i, s := range shape {
		if s < 0 {
			return 0, malformed("dimension %d is %d: want at least 0", i, s)
		}
		// The reference multiplies in order too: a zero further on does not excuse an overflow.
		if s > 0 && n > math.MaxInt64/bits/s {
			return 0, malformed("shape %v of %s takes more bits than an int64 counts", shape, d)
		}
		n *= s
	}
	if n*bits%8 != 0 {
		return 0, malformed("shape %v of %s is no whole number of bytes", shape, d)
	}
	return n * bits / 8, nil
}

// shapeText prints a shape as Python does.
func shapeText(shape []int64) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ")
}
