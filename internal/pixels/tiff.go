package pixels

import (
	"bytes"
	"fmt"
	"image"

	"golang.org/x/image/tiff"
)

func tiffSize(data []byte) (w, h int64, err error) {
	c, err := tiff.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return 0, 0, err
	}
	return int64(c.Width), int64(c.Height), nil
}

// decodeTIFF decodes the first page by x/image and brings it to Pillow's modes.
func decodeTIFF(data []byte, _ Limits) (*Image, error) {
	src, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	b := src.Bounds()
	switch s := src.(type) {
	case *image.RGBA:
		return copyRows(RGBA, b.Dx(), b.Dy(), s.Pix, 0, s.Stride).RGB(), nil
	case *image.NRGBA:
		return copyRows(RGBA, b.Dx(), b.Dy(), s.Pix, 0, s.Stride), nil
	case *image.Gray, *image.Gray16, *image.Paletted, *image.CMYK:
		return FromImage(src)
	}
	return nil, fmt.Errorf("the decoder gave a %T: not supported", src)
}
