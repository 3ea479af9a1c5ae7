//go:build !bgevl_libjpeg

package pixels

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
)

// decodeJPEG decodes to planes by the standard library and does the rest as libjpeg-turbo does it.
func decodeJPEG(data []byte, _ Limits) (*Image, error) {
	src, err := jpeg.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	b := src.Bounds()
	switch s := src.(type) {
	case *image.Gray:
		return copyRows(L, b.Dx(), b.Dy(), s.Pix, 0, s.Stride), nil
	case *image.YCbCr:
		if im, ok := fromYCbCr(s); ok {
			return im, nil
		}
	case *image.RGBA:
		return copyRows(RGBA, b.Dx(), b.Dy(), s.Pix, 0, s.Stride).RGB(), nil
	case *image.CMYK:
		return copyRows(CMYK, b.Dx(), b.Dy(), s.Pix, 0, s.Stride), nil
	}
	return nil, fmt.Errorf("the decoder gave a %T: not supported", src)
}
