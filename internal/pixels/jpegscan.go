package pixels

import (
	"errors"

	"github.com/bgevl/bgevl/csrc"
)

var errScan = errors.New("a scan header is corrupt")

// maxBlocksPerMCU is the most blocks that one interleaved unit may hold, by the standard.
const maxBlocksPerMCU = 10

// scan reads a scan header and the data behind it.
func (f *jpegFile) scan(body []byte) error {
	if f.comps == nil {
		return errors.New("pixels come before the frame header")
	}
	if f.scans++; f.scans > maxScans {
		return errors.New("the file has more than 500 scans")
	}
	if f.scans == 1 && (f.dc[0] == nil || f.dc[1] == nil || f.ac[0] == nil || f.ac[1] == nil) {
		if err := f.standardTables(); err != nil {
			return err
		}
	}
	if len(body) < 1 || body[0] < 1 || body[0] > 4 || len(body) != 4+2*int(body[0]) {
		return errScan
	}
	var comps []*jpegComponent
	blocks := 0
	for b := body[1 : len(body)-3]; len(b) > 0; b = b[2:] {
		c := f.component(b[0])
		if c == nil || b[1]>>4 > 3 || b[1]&15 > 3 {
			return errScan
		}
		for _, other := range comps {
			if other == c {
				return errScan
			}
		}
		c.dcTable, c.acTable, c.prediction = f.dc[b[1]>>4], f.ac[b[1]&15], 0
		if !f.quantSet[c.quant] {
			return errors.New("a quantisation table is missing")
		}
		blocks += c.h * c.v
		comps = append(comps, c)
	}
	if len(comps) > 1 && blocks > maxBlocksPerMCU {
		return errScan
	}
	tail := body[len(body)-3:]
	decode, err := f.method(comps, int(tail[0]), int(tail[1]), int(tail[2]>>4), int(tail[2]&15))
	if err != nil {
		return err
	}
	f.eobRun = 0
	f.reset(f.pos)
	return f.units(comps, decode)
}

func (f *jpegFile) component(id byte) *jpegComponent {
	for i := range f.comps {
		if f.comps[i].id == id {
			return &f.comps[i]
		}
	}
	return nil
}

// blockDecoder decodes the block at (bx, by) of a component.
type blockDecoder func(c *jpegComponent, bx, by int)

// method checks the parameters of a scan and chooses how its blocks are decoded.
func (f *jpegFile) method(comps []*jpegComponent, start, stop, high, low int) (blockDecoder, error) {
	needDC, needAC := true, true
	decode := f.baseline
	if f.progressive {
		if start > stop || stop > 63 || low > 13 || high != 0 && high-1 != low {
			return nil, errScan
		}
		if start == 0 && stop != 0 || start != 0 && len(comps) != 1 {
			return nil, errScan
		}
		f.start, f.stop, f.low = start, stop, low
		needDC, needAC = start == 0 && high == 0, start != 0
		switch {
		case start == 0 && high == 0:
			decode = f.dcFirst
		case start == 0:
			decode = f.dcRefine
		case high == 0:
			decode = f.acFirst
		default:
			decode = f.acRefine
		}
	}
	for _, c := range comps {
		if needDC && c.dcTable == nil || needAC && c.acTable == nil {
			return nil, errors.New("a Huffman table is missing")
		}
	}
	return decode, nil
}

// units goes over the scan's units: blocks of a lone component, or interleaved groups of several.
func (f *jpegFile) units(comps []*jpegComponent, decode blockDecoder) error {
	nx, ny := f.mcusX, f.mcusY
	if len(comps) == 1 {
		nx, ny = comps[0].blocksX, comps[0].blocksY
	}
	left, want := f.restart, byte(0)
	for my := range ny {
		for mx := range nx {
			if f.restart > 0 && left == 0 {
				f.nextRestart(want)
				for _, c := range comps {
					c.prediction = 0
				}
				f.eobRun = 0
				left, want = f.restart, (want+1)&7
			}
			left--
			if f.n < 0 {
				continue // past the data; what is left stays as it is until the next restart
			}
			if len(comps) == 1 {
				decode(comps[0], mx, my)
			} else {
				for _, c := range comps {
					for i := range c.h * c.v {
						decode(c, mx*c.h+i%c.h, my*c.v+i/c.h)
					}
				}
			}
			if f.end && f.n < 0 {
				return errTruncated
			}
		}
		if err := f.endRow(comps, my); err != nil {
			return err
		}
	}
	return nil
}

// endRow makes samples of a row of units, unless further scans add to its coefficients.
func (f *jpegFile) endRow(comps []*jpegComponent, my int) error {
	if f.progressive {
		return nil
	}
	for _, c := range comps {
		by, rows := my, 1
		if len(comps) > 1 {
			by, rows = my*c.v, c.v
		}
		for ; rows > 0; by, rows = by+1, rows-1 {
			if err := f.samplesOf(c, by, by%c.v); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextRestart moves behind the restart marker that is due. Where another marker stands, libjpeg's rule decides: one
// that is a little ahead means that data was lost, so it is kept for later; one that is a little behind is skipped; any
// other is taken for the one that is due.
func (f *jpegFile) nextRestart(want byte) {
	pos := f.pos
	for {
		f.pos = pos
		m, err := f.nextMarker()
		if err != nil {
			f.reset(len(f.data))
			return
		}
		behind := (want - (m - markerRST0)) & 7
		switch {
		case m < markerSOF0, m >= markerRST0 && m <= markerRST7 && (behind == 1 || behind == 2):
			pos = f.pos
			continue
		case m < markerRST0 || m > markerRST7, behind == 7 || behind == 6:
			// Nothing can be read until this marker is due: zeros, and more than there are.
			f.reset(f.pos - 2)
			f.marker, f.n = true, -1
			return
		}
		f.reset(f.pos)
		return
	}
}

// dcDelta reads the difference of a DC coefficient.
func (f *jpegFile) dcDelta(h *huffman) int32 {
	f.fill()
	size := f.decode(h)
	if size == 0 {
		return 0
	}
	return extend(f.take(size), size)
}

// baseline decodes a whole block, for samplesOf.
func (f *jpegFile) baseline(c *jpegComponent, bx, by int) {
	at := by%c.v*c.stride + bx
	b, q := (*[64]int32)(c.blocks[64*at:]), &f.quant[c.quant]
	c.prediction += f.dcDelta(c.dcTable)
	b[0] = c.prediction * q[0]
	c.kinds[at] = csrc.BlockWhole
	if f.coefficientsOf(c.acTable, b, q) == 1 {
		c.kinds[at] = csrc.BlockFlat
	}
}

// coefficientsOf decodes all coefficients but the first to b, which is all zeros. It returns 1 if there were none. The
// state of the bits is kept in variables of its own: this is where the time goes.
func (f *jpegFile) coefficientsOf(h *huffman, b, q *[64]int32) int {
	acc, n, k := f.acc, f.n, 1
	for k < 64 {
		if n < 32 {
			f.acc, f.n = acc, n
			f.fill()
			acc, n = f.acc, f.n
		}
		if e := h.whole[acc>>(64-lookBits)]; e != 0 {
			k += int(e >> 8 & 15)
			used := e & 63
			acc <<= used
			n -= int(used)
			b[jpegNatural[k&127]&63] = int32(int16(e>>16)) * q[k&63]
			k++
			continue
		}
		s, used := h.find(acc)
		acc <<= used & 63
		n -= int(used)
		run, size := s>>4, uint(s&15)
		if size == 0 {
			if run != 15 {
				break
			}
			k += 16
			continue
		}
		k += run
		v := int32(acc >> ((64 - size) & 63))
		acc <<= size
		n -= int(size)
		b[jpegNatural[k&127]&63] = extend(v, int(size)) * q[k&63]
		k++
	}
	f.acc, f.n = acc, n
	return k
}

// coefficients returns the block at (bx, by), in zigzag order.
func (c *jpegComponent) coefficients(bx, by int) []int16 {
	return c.coeffs[64*(by*c.stride+bx):][:64:64]
}

func (f *jpegFile) dcFirst(c *jpegComponent, bx, by int) {
	c.prediction += f.dcDelta(c.dcTable)
	c.coefficients(bx, by)[0] = int16(c.prediction << f.low)
}

func (f *jpegFile) dcRefine(c *jpegComponent, bx, by int) {
	f.fill()
	if f.take(1) != 0 {
		c.coefficients(bx, by)[0] |= 1 << f.low
	}
}

func (f *jpegFile) acFirst(c *jpegComponent, bx, by int) {
	if f.eobRun > 0 {
		f.eobRun--
		return
	}
	b := c.coefficients(bx, by)
	for k := f.start; k <= f.stop; k++ {
		if f.n < 32 {
			f.fill()
		}
		s := f.decode(c.acTable)
		run, size := s>>4, s&15
		switch {
		case size != 0:
			k += run
			v := extend(f.take(size), size)
			b[min(k, 63)] = int16(v << f.low)
		case run == 15:
			k += 15
		default:
			f.eobRun = 1<<run - 1
			if run > 0 {
				f.eobRun += int(f.take(run))
			}
			return
		}
	}
}

func (f *jpegFile) acRefine(c *jpegComponent, bx, by int) {
	b := c.coefficients(bx, by)
	plus, minus := int16(1)<<f.low, int16(-1)<<f.low
	k := f.start
	if f.eobRun == 0 {
		for ; k <= f.stop; k++ {
			f.fill()
			s := f.decode(c.acTable)
			run, size := s>>4, s&15
			value := int16(0)
			if size != 0 {
				// A new coefficient is always of magnitude 1.
				value = minus
				if f.take(1) != 0 {
					value = plus
				}
			} else if run != 15 {
				f.eobRun = 1 << run
				if run > 0 {
					f.eobRun += int(f.take(run))
				}
				break
			}
			k = f.refine(b, k, run, plus, minus)
			if value != 0 && k < 64 {
				b[k] = value
			}
		}
	}
	if f.eobRun > 0 {
		f.refine(b, k, 64, plus, minus)
		f.eobRun--
	}
}

// refine reads a correction bit for each coefficient that isn't 0, from k on, until it has passed over zeros zeros and
// stands at another. It returns where it stands, at most stop+1.
func (f *jpegFile) refine(b []int16, k, zeros int, plus, minus int16) int {
	for ; k <= f.stop; k++ {
		if b[k] == 0 {
			if zeros == 0 {
				break
			}
			zeros--
			continue
		}
		if f.n < 1 {
			f.fill()
		}
		if f.take(1) != 0 && b[k]&plus == 0 {
			if b[k] >= 0 {
				b[k] += plus
			} else {
				b[k] += minus
			}
		}
	}
	return k
}
