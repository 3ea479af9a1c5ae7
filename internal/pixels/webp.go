package pixels

import (
	"bytes"
	"errors"
	"image"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
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
	width, height int64 // of the canvas
	alpha         bool
	animated      bool
}

// readWebP reads the header and returns it with the file's chunks.
func readWebP(data []byte) (webpHeader, []webpChunk, error) {
	size := 8 + le32(data[4:])
	if size > int64(len(data)) {
		return webpHeader{}, nil, errTruncated
	}
	chunks := webpChunks(data[12:max(12, size)])
	if len(chunks) == 0 {
		return webpHeader{}, nil, errTruncated
	}
	if first := chunks[0]; first.name == "VP8X" {
		if len(first.data) < 10 {
			return webpHeader{}, nil, errTruncated
		}
		b := first.data
		return webpHeader{width: le24(b[4:]) + 1, height: le24(b[7:]) + 1, alpha: b[0]&(1<<4) != 0, animated: b[0]&(1<<1) != 0},
			chunks, nil
	}
	hd, err := webpStream(chunks)
	return hd, chunks, err
}

func le24(b []byte) int64 { return int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16 }

// webpStream reads the header of the first bitstream among the chunks.
func webpStream(chunks []webpChunk) (webpHeader, error) {
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

// decodeWebP decodes the still picture, or the first frame on its canvas: mode RGBA if the header announces alpha, RGB
// otherwise.
func decodeWebP(data []byte, _ Limits) (*Image, error) {
	hd, chunks, err := readWebP(data)
	if err != nil {
		return nil, err
	}
	x, y, w, h := int64(0), int64(0), hd.width, hd.height
	if hd.animated {
		frame, err := webpFirstFrame(chunks)
		if err != nil {
			return nil, err
		}
		x, y, w, h = 2*le24(frame), 2*le24(frame[3:]), le24(frame[6:])+1, le24(frame[9:])+1
		chunks = webpChunks(frame[webpFrameHeader:])
	}
	stream, err := webpStream(chunks)
	if err != nil {
		return nil, err
	}
	if stream.width != w || stream.height != h || x+w > hd.width || y+h > hd.height {
		return nil, errors.New("the picture doesn't fit its frame")
	}
	im, err := webpPicture(chunks, int(w), int(h))
	if err != nil {
		return nil, err
	}
	if w != hd.width || h != hd.height {
		im = im.pad(int(hd.width), int(hd.height), int(x), int(y))
	}
	if !hd.alpha {
		im = im.RGB()
	}
	return im, nil
}

// webpFrameHeader is the bytes before a frame's own chunks.
const webpFrameHeader = 16

// webpFirstFrame returns the first frame of an animation.
func webpFirstFrame(chunks []webpChunk) ([]byte, error) {
	for _, c := range chunks {
		if c.name == "ANMF" {
			if len(c.data) < webpFrameHeader {
				return nil, errTruncated
			}
			return c.data, nil
		}
	}
	return nil, errors.New("there is no frame in the animation")
}

// webpPicture decodes the first bitstream among the chunks, with the alpha plane that stands before it, to RGBA.
func webpPicture(chunks []webpChunk, w, h int) (*Image, error) {
	var alpha []byte
	for _, c := range chunks {
		switch c.name {
		case "ALPH":
			var err error
			if alpha, err = webpAlpha(c.data, w, h); err != nil {
				return nil, err
			}
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
			return webpRGBA(m, alpha), nil
		case "VP8L":
			return webpLossless(bytes.NewReader(c.data), w, h)
		}
	}
	return nil, errors.New("there is no picture in the file")
}

// webpLossless decodes a lossless bitstream to RGBA.
func webpLossless(r io.Reader, w, h int) (*Image, error) {
	m, err := vp8l.Decode(r)
	if err != nil {
		return nil, err
	}
	s, ok := m.(*image.NRGBA)
	if !ok || s.Rect.Dx() != w || s.Rect.Dy() != h {
		return nil, errors.New("the lossless picture has another size than its frame")
	}
	return copyRows(RGBA, w, h, s.Pix, 0, s.Stride), nil
}

// webpAlpha decodes an alpha plane: a byte that says how, then plain bytes or a headless lossless bitstream whose green
// is the alpha. A filter has left the differences to a neighbour.
func webpAlpha(data []byte, w, h int) ([]byte, error) {
	if len(data) < 1 {
		return nil, errTruncated
	}
	alpha := make([]byte, w*h)
	switch data[0] & 3 {
	case 0:
		if copy(alpha, data[1:]) < len(alpha) {
			return nil, errTruncated
		}
	case 1:
		head := uint32(w-1) | uint32(h-1)<<14
		magic := []byte{0x2f, byte(head), byte(head >> 8), byte(head >> 16), byte(head >> 24)}
		im, err := webpLossless(io.MultiReader(bytes.NewReader(magic), bytes.NewReader(data[1:])), w, h)
		if err != nil {
			return nil, err
		}
		for i := range alpha {
			alpha[i] = im.Pix[4*i+1]
		}
	default:
		return nil, errors.New("the alpha plane is corrupt")
	}
	webpUnfilter(alpha, w, data[0]>>2&3)
	return alpha, nil
}

// webpUnfilter adds the neighbours back that a filter subtracted: 1 the left one, 2 the one above, 3 the gradient of
// left, above and their common corner. The first row has only left ones and the first column only those above.
func webpUnfilter(alpha []byte, w int, filter byte) {
	if filter == 0 {
		return
	}
	for i := 1; i < w; i++ {
		alpha[i] += alpha[i-1]
	}
	for i := w; i < len(alpha); i++ {
		up := alpha[i-w]
		switch {
		case i%w == 0 || filter == 2:
			alpha[i] += up
		case filter == 1:
			alpha[i] += alpha[i-1]
		default:
			alpha[i] += clamp8(int32(alpha[i-1]) + int32(up) - int32(alpha[i-w-1]))
		}
	}
}

// plane is one component of a subsampled image.
type plane struct {
	pix           []byte
	stride        int
	width, height int
}

// row returns a row of the plane, the nearest one for a number outside of it.
func (p plane) row(y int) []byte {
	y = max(0, min(y, p.height-1))
	return p.pix[y*p.stride:][:p.width]
}

// webpRGBA converts a lossy picture as libwebp does: chroma is interpolated with weights 9, 3, 3, 1 and the colours go
// through its own fixed-point arithmetic (limited-range BT.601). Without an alpha plane it is opaque.
func webpRGBA(s *image.YCbCr, alpha []byte) *Image {
	w, h := s.Rect.Dx(), s.Rect.Dy()
	cw, ch := (w+1)/2, (h+1)/2
	cb, cr := plane{s.Cb, s.CStride, cw, ch}, plane{s.Cr, s.CStride, cw, ch}
	out := newImage(RGBA, w, h)
	u, v := make([]byte, 2*cw), make([]byte, 2*cw)
	for y := range h {
		far := y/2 - 1 + y%2*2
		webpUpsample(u, cb.row(y/2), cb.row(far))
		webpUpsample(v, cr.row(y/2), cr.row(far))
		dst := out.Pix[4*y*w:][:4*w]
		for x, l := range s.Y[y*s.YStride:][:w] {
			d := dst[4*x : 4*x+4 : 4*x+4]
			d[0], d[1], d[2] = webpColour(int32(l), int32(u[x]), int32(v[x]))
			d[3] = 255
		}
	}
	for i, a := range alpha {
		out.Pix[4*i+3] = a
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

// clamp8 returns v as a sample.
func clamp8(v int32) byte {
	if uint32(v) > 255 {
		// All ones for a positive number, all zeros for a negative one.
		v = ^(v >> 31)
	}
	return byte(v)
}
