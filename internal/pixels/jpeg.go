package pixels

import "errors"

// jpegSize finds the frame header and returns the size it states.
func jpegSize(data []byte) (w, h int64, err error) {
	at := 2
	for {
		// Bytes that are no marker are skipped, as are fill bytes before one.
		for at < len(data) && data[at] != 0xff {
			at++
		}
		for at < len(data) && data[at] == 0xff {
			at++
		}
		if at >= len(data) {
			return 0, 0, errTruncated
		}
		marker := data[at]
		at++
		switch {
		case marker == 0x00, marker == 0x01, marker >= 0xd0 && marker <= 0xd8:
			continue // no length follows
		case marker == 0xd9, marker == 0xda:
			return 0, 0, errors.New("there is no frame header before the pixels")
		}
		if at+2 > len(data) {
			return 0, 0, errTruncated
		}
		n := int(be16(data[at:]))
		if isSOF(marker) {
			if n < 8 || at+7 > len(data) {
				return 0, 0, errTruncated
			}
			return be16(data[at+5:]), be16(data[at+3:]), nil
		}
		if n < 2 {
			return 0, 0, errors.New("a segment is shorter than its own length field")
		}
		at += n
	}
}

// jpegPlausible returns an error if the file is too short for an image of its size. The component with the most samples
// takes a block for each 8x8 of them, and a block takes at least a bit.
func jpegPlausible(data []byte, w, h int) error {
	return plausible(len(data), int64(ceilDiv(w, 8))*int64(ceilDiv(h, 8)), 8)
}

// isSOF reports whether the marker starts a frame, of whatever kind.
func isSOF(m byte) bool {
	return m >= 0xc0 && m <= 0xcf && m != 0xc4 && m != 0xc8 && m != 0xcc
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// invert turns the inverted ink of Adobe's CMYK files round; Pillow takes every CMYK file for one of them.
func invert(pix []byte) {
	for i := range pix {
		pix[i] = 255 - pix[i]
	}
}
