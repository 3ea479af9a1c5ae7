//go:build bgevl_libjpeg

package pixels

import "github.com/bgevl/bgevl/csrc"

// decodeJPEG decodes by libjpeg-turbo.
func decodeJPEG(data []byte, l Limits) (*Image, error) {
	w, h, channels, err := csrc.JPEGSize(data)
	if err != nil {
		return nil, err
	}
	// The size was checked before, but from a reading of the header by other code.
	if err := l.check("JPEG", int64(w), int64(h)); err != nil {
		return nil, err
	}
	if err := jpegPlausible(data, w, h); err != nil {
		return nil, err
	}
	mode := map[int]Mode{1: L, 3: RGB, 4: CMYK}[channels]
	im := newImage(mode, w, h)
	if err := csrc.DecodeJPEG(data, im.Pix); err != nil {
		return nil, err
	}
	if mode == CMYK {
		invert(im.Pix)
	}
	return im, nil
}
