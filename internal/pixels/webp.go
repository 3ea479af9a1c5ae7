package pixels

import (
	"bytes"
	"errors"
	"image"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
	"golang.org/x/image/webp"
)

func isWebP(data []byte) bool {
	return len(data) >= 16 && string(data[:4]) == "RIFF" && string(data[8:15]) == "WEBPVP8"
}

// webpChunk is one chunk of a RIFF file.
type webpChunk struct {
	name string
	data []byte
}

// webpChunks cuts the body of a RIFF file, or of a frame, into chunks. The last one may be cut short.
func webpChunks(body []byte) []webpChunk {
	var chunks []webpChunk
	for len(body) >= 8 {
		n := le32(body[4:])
		end := min(8+n, int64(len(body)))
		chunks = append(chunks, webpChunk{string(body[:4]), body[8:end:end]})
		body = body[min(end+n&1, int64(len(body))):]
	}
	return chunks
}

// webpHeader is what the first chunks say.
type webpHeader struct {
	width, height int64
	alpha         bool
	extended      bool
}

// readWebP reads the header and returns it with the file's chunks.
func readWebP(data []byte) (webpHeader, []webpChunk, error) {
	chunks := webpChunks(data[12:min(int64(len(data)), 8+le32(data[4:])+1)])
	if len(chunks) == 0 {
		return webpHeader{}, nil, errTruncated
	}
	first := chunks[0]
	hd, err := webpFrame(chunks)
	if first.name == "VP8X" {
		if len(first.data) < 10 {
			return webpHeader{}, nil, errTruncated
		}
		b := first.data
		hd = webpHeader{
			width:    1 + (int64(b[4]) | int64(b[5])<<8 | int64(b[6])<<16),
			height:   1 + (int64(b[7]) | int64(b[8])<<8 | int64(b[9])<<16),
			alpha:    b[0]&(1<<4) != 0,
			extended: true,
		}
		err = nil
	}
	return hd, chunks, err
}

// webpFrame reads the size of the first bitstream among the chunks.
func webpFrame(chunks []webpChunk) (webpHeader, error) {
	for _, c := range chunks {
		b := c.data
		switch c.name {
		case "VP8 ":
			if len(b) < 10 {
				return webpHeader{}, errTruncated
			}
			return webpHeader{width: le16(b[6:]) & 0x3fff, height: le16(b[8:]) & 0x3fff}, nil
		case "VP8L":
			if len(b) < 5 {
				return webpHeader{}, errTruncated
			}
			v := le32(b[1:])
			return webpHeader{width: v&0x3fff + 1, height: v>>14&0x3fff + 1, alpha: v>>28&1 != 0}, nil
		}
	}
	return webpHeader{}, errors.New("there is no picture in the file")
}

func webpSize(data []byte) (w, h int64, err error) {
	hd, _, err := readWebP(data)
	return hd.width, hd.height, err
}

// decodeWebP decodes the still picture: mode RGBA if the header announces alpha, RGB otherwise.
func decodeWebP(data []byte, l Limits) (*Image, error) {
	hd, chunks, err := readWebP(data)
	if err != nil {
		return nil, err
	}
	inner, err := webpFrame(chunks)
	if err != nil {
		return nil, err
	}
	if err := l.check("WebP", inner.width, inner.height); err != nil {
		return nil, err
	}
	if inner.width != hd.width || inner.height != hd.height {
		return nil, errors.New("the picture and the canvas differ in size")
	}
	return webpStill(data, chunks, hd)
}

// webpStill decodes the first bitstream among the chunks.
func webpStill(data []byte, chunks []webpChunk, hd webpHeader) (*Image, error) {
	for _, c := range chunks {
		switch c.name {
		case "VP8 ":
			d := vp8.NewDecoder()
			d.Init(bytes.NewReader(c.data), len(c.data))
			if _, err := d.DecodeFrameHeader(); err != nil {
				return nil, err
			}
			m, err := d.DecodeFrame()
			if err != nil {
				return nil, err
			}
			im := webpRGB(m)
			if !hd.alpha {
				return im, nil
			}
			return webpWithAlpha(data, im)
		case "VP8L":
			m, err := vp8l.Decode(bytes.NewReader(c.data))
			if err != nil {
				return nil, err
			}
			s, ok := m.(*image.NRGBA)
			if !ok {
				return nil, errors.New("the lossless decoder gave another kind of image than it should")
			}
			im := copyRows(RGBA, int(hd.width), int(hd.height), s.Pix, 0, s.Stride)
			if !hd.alpha {
				return im.RGB(), nil
			}
			return im, nil
		}
	}
	return nil, errors.New("there is no picture in the file")
}

// webpWithAlpha adds the alpha plane of an extended file to the colours.
func webpWithAlpha(data []byte, im *Image) (*Image, error) {
	out := newImage(RGBA, im.Width, im.Height)
	m, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	s, ok := m.(*image.NYCbCrA)
	for i := range im.Width * im.Height {
		copy(out.Pix[4*i:4*i+3], im.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
		if ok {
			out.Pix[4*i+3] = s.A[i/im.Width*s.AStride+i%im.Width]
		}
	}
	return out, nil
}

// webpRGB converts a lossy picture as libwebp does: chroma is interpolated with weights 9, 3, 3, 1 and the colours go
// through its own fixed-point arithmetic (limited-range BT.601).
func webpRGB(s *image.YCbCr) *Image {
	w, h := s.Rect.Dx(), s.Rect.Dy()
	cw, ch := (w+1)/2, (h+1)/2
	cb, cr := plane{s.Cb, s.CStride, cw, ch}, plane{s.Cr, s.CStride, cw, ch}
	out := newImage(RGB, w, h)
	u, v := make([]byte, 2*cw), make([]byte, 2*cw)
	for y := range h {
		far := y/2 - 1 + y%2*2
		webpUpsample(u, cb.row(y/2), cb.row(far))
		webpUpsample(v, cr.row(y/2), cr.row(far))
		luma := s.Y[y*s.YStride:][:w]
		for x, l := range luma {
			d := out.Pix[3*(y*w+x):][:3:3]
			d[0], d[1], d[2] = webpColour(int32(l), int32(u[x]), int32(v[x]))
		}
	}
	return out
}

// webpUpsample doubles the width of a row of chroma: near is the row at hand, far the next nearest.
func webpUpsample(out, near, far []byte) {
	n := len(near)
	out[0] = byte((3*int32(near[0]) + int32(far[0]) + 2) >> 2)
	out[2*n-1] = byte((3*int32(near[n-1]) + int32(far[n-1]) + 2) >> 2)
	for i := 1; i < n; i++ {
		// tl and tr are the nearer row's samples, l and r the further one's. The diagonal means are rounded first and
		// averaged with a sample after, as libwebp does.
		tl, tr, l, r := int32(near[i-1]), int32(near[i]), int32(far[i-1]), int32(far[i])
		avg := tl + tr + l + r + 8
		d12 := (avg + 2*(tr+l)) >> 3
		d03 := (avg + 2*(tl+r)) >> 3
		out[2*i-1] = byte((d12 + tl) >> 1)
		out[2*i] = byte((d03 + tr) >> 1)
	}
}

// webpColour converts one pixel. Each product keeps 6 bits of fraction.
func webpColour(y, u, v int32) (r, g, b byte) {
	l := y * 19077 >> 8
	return webpClip(l + v*26149>>8 - 14234), webpClip(l - u*6419>>8 - v*13320>>8 + 8708), webpClip(l + u*33050>>8 - 17685)
}

func webpClip(v int32) byte {
	return clamp8(v >> 6)
}
