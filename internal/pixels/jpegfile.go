package pixels

import (
	"errors"
	"fmt"

	"github.com/bgevl/bgevl/csrc"
)

// jpegComponent is one colour of a frame.
type jpegComponent struct {
	id         byte
	h, v       int // sampling factors
	quant      byte
	width      int // samples that the picture has
	height     int
	blocksX    int // whole blocks that the picture has; a scan of this component alone holds just these
	blocksY    int
	stride     int // blocks in a row of storage, a multiple of h
	rows       int // rows of blocks in storage
	samples    []byte
	coeffs     []int16 // of a progressive file, 64 a block in zigzag order
	blocks     []int32 // of the unit row that is being decoded: 64 dequantised coefficients a block
	kinds      []byte  // of those blocks: csrc.BlockNone and so on
	dcTable    *huffman
	acTable    *huffman
	prediction int32
}

// jpegFile decodes one file. Damage that libjpeg passes over with a warning is passed over here too; a file that ends
// before its end-of-image marker is an error.
type jpegFile struct {
	jpegBits
	width, height int
	progressive   bool
	comps         []jpegComponent
	maxH, maxV    int
	mcusX, mcusY  int
	quant         [4][64]int32 // in zigzag order
	quantSet      [4]bool
	dc, ac        [4]*huffman
	restart       int
	jfif          bool
	adobe         bool
	transform     byte
	scans         int

	// Of the scan that is being decoded.
	start, stop int
	low         int
	eobRun      int

	kernels csrc.JPEGKernels
}

// The markers that are used by name.
const (
	markerSOF0  = 0xc0
	markerSOF1  = 0xc1
	markerSOF2  = 0xc2
	markerDHT   = 0xc4
	markerRST0  = 0xd0
	markerRST7  = 0xd7
	markerSOI   = 0xd8
	markerEOI   = 0xd9
	markerSOS   = 0xda
	markerDQT   = 0xdb
	markerDRI   = 0xdd
	markerAPP0  = 0xe0
	markerAPP14 = 0xee
)

// maxScans bounds the scans of a file: each costs a pass over the whole picture, and encoders write about ten.
const maxScans = 500

// decodeJPEGInGo decodes to the samples that libjpeg-turbo gives, bit for bit.
func decodeJPEGInGo(data []byte, l Limits) (*Image, error) {
	f := &jpegFile{jpegBits: jpegBits{data: data, pos: 2}, kernels: csrc.FastestJPEG()}
	if err := f.parse(l); err != nil {
		return nil, err
	}
	if f.progressive {
		if err := f.reconstruct(); err != nil {
			return nil, err
		}
	}
	return f.image()
}

// parse reads all segments up to the end of the image.
func (f *jpegFile) parse(l Limits) error {
	for {
		marker, err := f.nextMarker()
		if err != nil {
			return err
		}
		switch {
		case marker == markerEOI:
			if f.scans == 0 {
				return errors.New("there are no pixels")
			}
			return nil
		case marker == markerSOI:
			return errors.New("a second picture starts inside the first")
		case marker >= markerRST0 && marker <= markerRST7 || marker <= 0x01:
			continue // no length follows
		}
		if f.pos+2 > len(f.data) {
			return errTruncated
		}
		n := int(be16(f.data[f.pos:]))
		if n < 2 {
			return errors.New("a segment is shorter than its own length field")
		}
		if f.pos+n > len(f.data) {
			return errTruncated
		}
		body := f.data[f.pos+2 : f.pos+n]
		f.pos += n
		if err := f.segment(marker, body, l); err != nil {
			return err
		}
	}
}

// nextMarker returns the next marker and moves behind it.
func (f *jpegFile) nextMarker() (byte, error) {
	for {
		for f.pos < len(f.data) && f.data[f.pos] != 0xff {
			f.pos++
		}
		for f.pos < len(f.data) && f.data[f.pos] == 0xff {
			f.pos++
		}
		if f.pos >= len(f.data) {
			return 0, errTruncated
		}
		f.pos++
		if m := f.data[f.pos-1]; m != 0 {
			return m, nil
		}
	}
}

func (f *jpegFile) segment(marker byte, body []byte, l Limits) error {
	switch marker {
	case markerSOF0, markerSOF1, markerSOF2:
		f.progressive = marker == markerSOF2
		return f.frame(body, l)
	case markerDHT:
		return f.huffmanTables(body)
	case markerDQT:
		return f.quantTables(body)
	case markerDRI:
		if len(body) != 2 {
			return errors.New("the restart interval has a wrong length")
		}
		f.restart = int(be16(body))
	case markerSOS:
		return f.scan(body)
	case markerAPP0:
		f.jfif = f.jfif || len(body) >= 5 && string(body[:5]) == "JFIF\x00"
	case markerAPP14:
		if len(body) >= 12 && string(body[:5]) == "Adobe" {
			f.adobe, f.transform = true, body[11]
		}
	default:
		if isSOF(marker) {
			return fmt.Errorf("coding process %#x (lossless, hierarchical or arithmetic): not supported", marker)
		}
	}
	return nil
}

func (f *jpegFile) quantTables(body []byte) error {
	for len(body) > 0 {
		wide, id := int(body[0]>>4), body[0]&15
		size := 64 * (wide + 1)
		if wide > 1 || id > 3 || len(body) < 1+size {
			return errors.New("a quantisation table is corrupt")
		}
		for i := range 64 {
			if wide == 1 {
				f.quant[id][i] = int32(be16(body[1+2*i:]))
			} else {
				f.quant[id][i] = int32(body[1+i])
			}
		}
		f.quantSet[id] = true
		body = body[1+size:]
	}
	return nil
}

func (f *jpegFile) huffmanTables(body []byte) error {
	for len(body) > 0 {
		if len(body) < 17 {
			return errHuffman
		}
		class, id := body[0]>>4, body[0]&15
		n := 0
		for _, c := range body[1:17] {
			n += int(c)
		}
		if class > 1 || id > 3 || n > 256 || len(body) < 17+n {
			return errHuffman
		}
		h, err := newHuffman(body[1:17], body[17:17+n], class == 0)
		if err != nil {
			return err
		}
		if class == 0 {
			f.dc[id] = h
		} else {
			f.ac[id] = h
		}
		body = body[17+n:]
	}
	return nil
}

// frame reads the frame header.
func (f *jpegFile) frame(body []byte, l Limits) error {
	if f.comps != nil {
		return errors.New("there are two frames")
	}
	if len(body) < 6 || len(body) != 6+3*int(body[5]) {
		return errors.New("the frame header has a wrong length")
	}
	if body[0] != 8 {
		return fmt.Errorf("samples of %d bits: want 8", body[0])
	}
	f.height, f.width = int(be16(body[1:])), int(be16(body[3:]))
	if err := l.check("JPEG", int64(f.width), int64(f.height)); err != nil {
		return err
	}
	if err := jpegPlausible(f.data, f.width, f.height); err != nil {
		return err
	}
	if n := body[5]; n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%d components: want 1, 3 or 4", n)
	}
	for b := body[6:]; len(b) > 0; b = b[3:] {
		c := jpegComponent{id: b[0], h: int(b[1] >> 4), v: int(b[1] & 15), quant: b[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.quant > 3 {
			return errors.New("the frame header is corrupt")
		}
		f.maxH, f.maxV = max(f.maxH, c.h), max(f.maxV, c.v)
		f.comps = append(f.comps, c)
	}
	return f.layOut()
}

// layOut computes the sizes of the components and makes room for them.
func (f *jpegFile) layOut() error {
	f.mcusX, f.mcusY = ceilDiv(f.width, 8*f.maxH), ceilDiv(f.height, 8*f.maxV)
	for i := range f.comps {
		c := &f.comps[i]
		if f.maxH%c.h != 0 || f.maxV%c.v != 0 {
			return fmt.Errorf("sampling %dx%d within %dx%d: fractions are not supported", c.h, c.v, f.maxH, f.maxV)
		}
		c.width, c.height = ceilDiv(f.width*c.h, f.maxH), ceilDiv(f.height*c.v, f.maxV)
		c.blocksX, c.blocksY = ceilDiv(c.width, 8), ceilDiv(c.height, 8)
		c.stride, c.rows = f.mcusX*c.h, f.mcusY*c.v
		c.samples = make([]byte, 64*c.stride*c.rows)
		unitRows := c.v
		if f.progressive {
			unitRows = 1
			c.coeffs = make([]int16, 64*c.stride*c.rows)
		}
		c.blocks, c.kinds = make([]int32, 64*c.stride*unitRows), make([]byte, c.stride*unitRows)
		// What no scan fills is mid-grey: coefficients of 0. Copies of what is filled already are quick.
		c.samples[0] = sampleLevel
		for n := 1; n < len(c.samples); n *= 2 {
			copy(c.samples[n:], c.samples[:n])
		}
	}
	return nil
}

// sampleLevel is what a sample of the value 0 is stored as.
const sampleLevel = 128

// reconstruct turns the gathered coefficients of a progressive file into samples.
func (f *jpegFile) reconstruct() error {
	for i := range f.comps {
		c := &f.comps[i]
		q := &f.quant[c.quant]
		for by := range c.blocksY {
			for bx := range c.blocksX {
				b := (*[64]int32)(c.blocks[64*bx:])
				k := c.coeffs[64*(by*c.stride+bx):][:64:64]
				for z, v := range k {
					if v != 0 {
						b[jpegNatural[z]] = int32(v) * q[z]
					}
				}
				c.kinds[bx] = csrc.BlockWhole
			}
			if err := f.samplesOf(c, by, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// samplesOf makes samples of a row of a component's blocks, which stand in row slot of those of a unit.
func (f *jpegFile) samplesOf(c *jpegComponent, by, slot int) error {
	n := c.stride
	return f.kernels.Transform(c.blocks[64*slot*n:][:64*n], c.kinds[slot*n:][:n], c.samples[64*by*n:], 8*n)
}

// image upsamples and converts the samples.
func (f *jpegFile) image() (*Image, error) {
	mode := map[int]Mode{1: L, 3: RGB, 4: CMYK}[len(f.comps)]
	out := newImage(mode, f.width, f.height)
	planes := make([]csrc.Plane, len(f.comps))
	for i, c := range f.comps {
		planes[i] = csrc.Plane{Pix: c.samples, Stride: 8 * c.stride, Width: c.width, Height: c.height, H: f.maxH / c.h, V: f.maxV / c.v}
	}
	if err := f.kernels.Join(planes, f.isYCC(), out.Pix, f.width, f.height); err != nil {
		return nil, err
	}
	if mode == CMYK {
		invert(out.Pix)
	}
	return out, nil
}

// isYCC reports whether the first three components are Y, Cb and Cr, by the rules of libjpeg.
func (f *jpegFile) isYCC() bool {
	switch {
	case len(f.comps) == 4:
		return f.adobe && f.transform != 0
	case len(f.comps) != 3:
		return false
	case f.jfif:
		return true
	case f.adobe:
		return f.transform != 0
	}
	return string([]byte{f.comps[0].id, f.comps[1].id, f.comps[2].id}) != "RGB"
}
