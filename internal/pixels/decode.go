package pixels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// decoder is one file format.
type decoder struct {
	name   string
	match  func(data []byte) bool
	size   func(data []byte) (w, h int64, err error)
	decode func(data []byte, l Limits) (*Image, error)
}

// decoders returns the formats in the order in which they are tried.
func decoders() []decoder {
	return []decoder{
		{"JPEG", hasPrefix("\xff\xd8\xff"), jpegSize, decodeJPEG},
		{"PNG", hasPrefix(pngMagic), pngSize, decodePNG},
		{"GIF", hasPrefix("GIF87a", "GIF89a"), gifSize, decodeGIF},
		{"WebP", isWebP, webpSize, decodeWebP},
		{"BMP", hasPrefix("BM"), bmpSize, decodeBMP},
		{"TIFF", hasPrefix("II*\x00", "MM\x00*"), tiffSize, decodeTIFF},
	}
}

// hasPrefix returns a function that reports whether data starts with one of the prefixes.
func hasPrefix(prefixes ...string) func([]byte) bool {
	return func(data []byte) bool {
		for _, p := range prefixes {
			if bytes.HasPrefix(data, []byte(p)) {
				return true
			}
		}
		return false
	}
}

// Decode decodes a JPEG, PNG, GIF (first frame), WebP (first frame), BMP or TIFF (first page) file, known by its
// content, to the mode and the samples that Pillow gives. The image's claimed size is held against l before anything of
// its size is allocated: an error for which errors.Is(err, ErrLimit) holds says that it was too large. Data that is no
// such file gives an error for which errors.Is(err, ErrFormat) holds; a truncated or corrupt file gives an error that
// names the format. Decode never panics: a panic in one of the decoders becomes an error.
func Decode(data []byte, l Limits) (*Image, error) {
	for _, d := range decoders() {
		if d.match(data) {
			return d.run(data, l)
		}
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("pixels: the image has no bytes: %w", ErrFormat)
	}
	return nil, fmt.Errorf("pixels: data starts with %q: want a JPEG, PNG, GIF, WebP, BMP or TIFF file: %w",
		data[:min(len(data), 8)], ErrFormat)
}

// HeadSize is how many bytes of a file Known wants to see.
const HeadSize = 16

// Known reports whether a file that begins with head is of a format that Decode knows. It may be corrupt all the same.
func Known(head []byte) bool {
	for _, d := range decoders() {
		if d.match(head) {
			return true
		}
	}
	return false
}

// run checks the limits, decodes, and turns whatever goes wrong into an error that names the format.
func (d decoder) run(data []byte, l Limits) (im *Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The standard library's and x/image's decoders read hostile bytes; should one of them panic, the file is
			// at fault and the process must live.
			im, err = nil, fmt.Errorf("pixels: %s: the decoder gave up on corrupt data: %v", d.name, p)
		}
	}()
	w, h, err := d.size(data)
	if err != nil {
		return nil, fmt.Errorf("pixels: %s: %w", d.name, err)
	}
	if err := l.check(d.name, w, h); err != nil {
		return nil, err
	}
	im, err = d.decode(data, l)
	if err != nil {
		if errors.Is(err, ErrLimit) {
			return nil, err
		}
		return nil, fmt.Errorf("pixels: %s: %w", d.name, err)
	}
	if err := im.check(); err != nil {
		return nil, err
	}
	return im, nil
}

// How many bytes one byte of compressed data can make at most.
const (
	deflateRatio = 1032 // 258 bytes for two bits
	lzwRatio     = 2731 // a code of 12 bits for 4096 bytes
	packRatio    = 64   // 128 bytes for two
)

// plausible returns an error if stored bytes cannot hold what is claimed of them: size bytes at up to ratio of them for
// each stored one. It keeps a small file that claims a large image from making anyone allocate it.
func plausible(stored int, size, ratio int64) error {
	if size/ratio > int64(stored)+1 {
		return errTruncated
	}
	return nil
}

// errTruncated says that a file ends before its image does.
var errTruncated = errors.New("the file is truncated")

// be16, be32, le16 and le32 read unsigned integers; the caller has checked that the bytes are there.
func be16(b []byte) int64 { return int64(binary.BigEndian.Uint16(b)) }
func be32(b []byte) int64 { return int64(binary.BigEndian.Uint32(b)) }
func le16(b []byte) int64 { return int64(binary.LittleEndian.Uint16(b)) }
func le32(b []byte) int64 { return int64(binary.LittleEndian.Uint32(b)) }
