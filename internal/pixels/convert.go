package pixels

// RGB returns the image as Pillow's convert("RGB") gives it: alpha is dropped and not blended, a palette is looked up,
// 16-bit grey is clipped at 255 and not scaled, and CMYK goes through the plain formula with no colour profile. An
// image that is RGB already is returned itself. It panics if the image breaks the contract of its fields.
func (im *Image) RGB() *Image {
	if err := im.check(); err != nil {
		panic(err)
	}
	if im.Mode == RGB {
		return im
	}
	out := newImage(RGB, im.Width, im.Height)
	dst, src := out.Pix, im.Pix
	switch im.Mode {
	case Bilevel, L:
		for i, v := range src {
			d := dst[3*i : 3*i+3 : 3*i+3]
			d[0], d[1], d[2] = v, v, v
		}
	case LA:
		for i, j := 0, 0; j < len(dst); i, j = i+2, j+3 {
			v := src[i]
			dst[j], dst[j+1], dst[j+2] = v, v, v
		}
	case I16:
		for i, j := 0, 0; j < len(dst); i, j = i+2, j+3 {
			v := src[i]
			if src[i+1] != 0 {
				v = 255
			}
			dst[j], dst[j+1], dst[j+2] = v, v, v
		}
	case P:
		for i, v := range src {
			copy(dst[3*i:3*i+3], im.Palette[3*int(v):3*int(v)+3])
		}
	case RGBA:
		for i, j := 0, 0; j < len(dst); i, j = i+4, j+3 {
			dst[j], dst[j+1], dst[j+2] = src[i], src[i+1], src[i+2]
		}
	case CMYK:
		for i, j := 0, 0; j < len(dst); i, j = i+4, j+3 {
			white := 255 - src[i+3]
			for c := range 3 {
				dst[j+c] = white - min(white, mulDiv255(src[i+c], white))
			}
		}
	}
	return out
}

// mulDiv255 returns a*b/255, rounded to nearest.
func mulDiv255(a, b byte) byte {
	t := uint32(a)*uint32(b) + 128
	return byte((t + t>>8) >> 8)
}

// premultiply returns the samples of an LA or RGBA image with the colours multiplied by alpha.
func premultiply(im *Image) *Image {
	c := im.Mode.Channels()
	out := newImage(im.Mode, im.Width, im.Height)
	for i := 0; i < len(im.Pix); i += c {
		a := im.Pix[i+c-1]
		for k := range c - 1 {
			out.Pix[i+k] = mulDiv255(im.Pix[i+k], a)
		}
		out.Pix[i+c-1] = a
	}
	return out
}

// unpremultiply divides the colours of an LA or RGBA image by alpha, in place.
func unpremultiply(im *Image) {
	c := im.Mode.Channels()
	for i := 0; i < len(im.Pix); i += c {
		a := int(im.Pix[i+c-1])
		if a == 0 || a == 255 {
			continue
		}
		for k := range c - 1 {
			im.Pix[i+k] = byte(min(255, 255*int(im.Pix[i+k])/a))
		}
	}
}
