//go:build bgevl_libjpeg

package csrc

// #cgo LDFLAGS: -ljpeg
// #include "jpeg_turbo.h"
import "C"

import "unsafe"

// JPEGSize returns the size of a JPEG file and the channels that it decodes to: 1 (grey), 3 (RGB) or 4 (CMYK). It fails
// with ErrUnsupported for another number of channels and with ErrArgument for a corrupt header.
func JPEGSize(data []byte) (width, height, channels int, err error) {
	var info C.bge_jpeg_info
	var e C.bge_error
	code := C.bge_jpeg_header((*C.uint8_t)(unsafe.SliceData(data)), C.int64_t(len(data)), &info, &e)
	if err := errorOf(code, &e); err != nil {
		return 0, 0, 0, err
	}
	return int(info.width), int(info.height), int(info.channels), nil
}

// DecodeJPEG decodes a JPEG file by libjpeg-turbo into dst, which must have width*height*channels bytes. CMYK is as
// stored: Adobe's files store it inverted. It fails with ErrArgument for a file that is corrupt or cut short. It may be
// called by many goroutines at once.
func DecodeJPEG(data, dst []byte) error {
	var e C.bge_error
	code := C.bge_jpeg_decode((*C.uint8_t)(unsafe.SliceData(data)), C.int64_t(len(data)),
		(*C.uint8_t)(unsafe.SliceData(dst)), C.int64_t(len(dst)), &e)
	return errorOf(code, &e)
}
