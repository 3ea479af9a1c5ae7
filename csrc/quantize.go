package csrc

// #include "quantize.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// BlockSize returns the elements and bytes of one block of a ggml type. It fails for a number that is no type.
func BlockSize(typ uint32) (elements, bytes int64, err error) {
	var n, size C.int64_t
	var e C.bge_error
	if err := errorOf(C.bge_type_block(cType(typ), &n, &size, &e), &e); err != nil {
		return 0, 0, err
	}
	return int64(n), int64(size), nil
}

// RowSize returns the bytes of n elements of a ggml type. It fails where they are not whole blocks.
func RowSize(typ uint32, n int64) (int64, error) {
	elements, bytes, err := BlockSize(typ)
	if err != nil {
		return 0, err
	}
	if n < 0 || n%elements != 0 {
		return 0, argumentError(fmt.Sprintf("a row of %d elements: want a multiple of %d for type %d", n, elements, typ))
	}
	if n/elements > (1<<63-1)/bytes {
		return 0, argumentError(fmt.Sprintf("a row of %d elements is too large", n))
	}
	return n / elements * bytes, nil
}

// Quantizable returns nil if Quantize can write a ggml type, and otherwise an error that says why not.
func Quantizable(typ uint32) error {
	var e C.bge_error
	return errorOf(C.bge_type_quantizable(cType(typ), &e), &e)
}

// Limit returns the largest magnitude that Quantize takes for a ggml type: past it the value, or the scale of its
// block, would be infinite.
func Limit(typ uint32) float32 {
	return float32(C.bge_type_limit(cType(typ)))
}

// Quantize writes src, in rows of perRow elements, to dst as a ggml type, by ggml's own functions. dst must have the
// exact size. It fails, and leaves dst in no stated condition, for NaN, infinities and magnitudes past Limit, naming
// the element; for types that need an importance matrix; and for rows that are not whole blocks. It may be called by
// many goroutines at once.
func Quantize(typ uint32, src []float32, perRow int64, dst []byte) error {
	var e C.bge_error
	code := C.bge_quantize(cType(typ), floats(src), C.int64_t(len(src)), C.int64_t(perRow),
		unsafe.Pointer(unsafe.SliceData(dst)), C.int64_t(len(dst)), &e)
	return errorOf(code, &e)
}

// Dequantize writes the elements of src, data of a ggml type, to dst, which must hold exactly as many. It may be called
// by many goroutines at once.
func Dequantize(typ uint32, src []byte, dst []float32) error {
	var e C.bge_error
	code := C.bge_dequantize(cType(typ), unsafe.Pointer(unsafe.SliceData(src)), C.int64_t(len(src)),
		floats(dst), C.int64_t(len(dst)), &e)
	return errorOf(code, &e)
}

// cType keeps a number past int32's range from becoming a valid type.
func cType(typ uint32) C.int32_t {
	if typ > 1<<31-1 {
		return -1
	}
	return C.int32_t(typ)
}
