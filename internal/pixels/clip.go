package pixels

import (
	"errors"
	"fmt"
)

// OutputSize returns the width and the height of the images that CLIP writes.
func (c *Config) OutputSize() (w, h int) {
	if c.crop {
		return c.cropW, c.cropH
	}
	return c.sizeW, c.sizeH
}

// CLIP writes the pixels that CLIPImageProcessor makes of im: converted to RGB, resized, cropped around the centre (with
// zeros where the image is smaller than the crop), scaled and normalised. dst has three planes, R, G and B, of the
// OutputSize's rows; its length must be 3*w*h. It fails for a wrong length, and for an image that isn't RGB where
// do_convert_rgb is false. Only what the crop keeps is computed.
func (c *Config) CLIP(im *Image, dst []float32) error {
	w, h := c.OutputSize()
	if len(dst) != 3*w*h {
		return fmt.Errorf("pixels: clip: want room for 3x%dx%d pixels, got %d", h, w, len(dst))
	}
	if im == nil {
		return errors.New("pixels: clip: the image is nil")
	}
	if err := im.check(); err != nil {
		return err
	}
	if im.Mode != RGB {
		if !c.convertRGB {
			return fmt.Errorf("pixels: clip: the image's mode is %s: want RGB, since do_convert_rgb is false", im.Mode)
		}
		im = im.RGB()
	}
	fullW, fullH := im.Width, im.Height
	if c.resize {
		fullW, fullH = c.resizedSize(im.Width, im.Height)
	}
	x, y := centre(fullW, w), centre(fullH, h)
	// What the crop covers of the resized image.
	r := region{max(0, x), max(0, y), min(fullW, x+w), min(fullH, y+h)}
	part, err := im.resizeRegion(fullW, fullH, c.filter, r)
	if err != nil {
		return err
	}
	if part.Width != w || part.Height != h {
		part = part.pad(w, h, max(0, -x), max(0, -y))
	}
	c.normalise(part, dst)
	return nil
}

// centre returns where a crop of the wanted length starts. It is negative where the image is shorter.
func centre(have, want int) int {
	if have < want {
		// The reference pads first, with the odd pixel in front.
		return -((want - have + 1) / 2)
	}
	return (have - want) / 2
}

// resizedSize returns the size that an image is resized to.
func (c *Config) resizedSize(w, h int) (rw, rh int) {
	if c.shortest == 0 {
		return c.sizeW, c.sizeH
	}
	short, long := min(w, h), max(w, h)
	newLong := int(float64(c.shortest*long) / float64(short))
	if w <= h {
		return c.shortest, newLong
	}
	return newLong, c.shortest
}

// pad returns the image at (x, y) of a black one that is w by h.
func (im *Image) pad(w, h, x, y int) *Image {
	out := newImage(im.Mode, w, h)
	c := im.Mode.Channels()
	for row := range im.Height {
		copy(out.Pix[((y+row)*w+x)*c:], im.Pix[row*im.Width*c:][:im.Width*c])
	}
	return out
}

// normalise writes the planes of an RGB image.
func (c *Config) normalise(im *Image, dst []float32) {
	n := im.Width * im.Height
	r, g, b := dst[:n], dst[n:][:n], dst[2*n:][:n]
	pix := im.Pix[:3*n]
	for i := range r {
		p := pix[3*i : 3*i+3 : 3*i+3]
		r[i], g[i], b[i] = c.levels[0][p[0]], c.levels[1][p[1]], c.levels[2][p[2]]
	}
}
