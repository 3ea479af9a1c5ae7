package pixels

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"golang.org/x/image/ccitt"
	"golang.org/x/image/tiff/lzw"
)

// The compressions of a TIFF's pieces.
const (
	tiffPlain      = 1
	tiffGroup3     = 3
	tiffGroup4     = 4
	tiffLZW        = 5
	tiffDeflate    = 8
	tiffDeflateOld = 32946
	tiffPackBits   = 32773
)

// maxTIFFPiece bounds the bytes of one decompressed strip or tile. The largest image within the default limits has
// 64 Mi pixels; a strip may hold all of it.
const maxTIFFPiece = 1 << 30

// tiffPiece is the size of a strip or tile and what is needed to unpack it.
type tiffPiece struct {
	width, height int
	samples       int // interleaved in this piece
	compression   int64
	predictor     bool
	reversed      bool // bits of each byte run from the lowest
	t4            int64
}

// pieces unpacks all strips or tiles into the image.
func (f *tiffFile) pieces(l tiffLayout, im *Image) error {
	p := tiffPiece{width: im.Width, height: int(min(f.value(tiffRowsPerStrip, 1<<31), int64(im.Height))), samples: l.samples,
		compression: f.value(tiffCompression, 1), predictor: f.value(tiffPredictor, 1) == 2,
		reversed: f.value(tiffFillOrder, 1) == 2, t4: f.value(tiffT4Options, 0)}
	offsets, counts := f.tags[tiffStripOffsets], f.tags[tiffStripCounts]
	if tiles := f.tags[tiffTileOffsets]; tiles != nil {
		offsets, counts = tiles, f.tags[tiffTileCounts]
		w, h := f.value(tiffTileWidth, 0), f.value(tiffTileHeight, 0)
		if w < 1 || h < 1 || w > maxResizeSide || h > maxResizeSide {
			return fmt.Errorf("tiles of %dx%d: want sides of 1 to %d", w, h, maxResizeSide)
		}
		p.width, p.height = int(w), int(h)
	}
	if p.height < 1 {
		return errors.New("strips have no rows")
	}
	planes := 1
	if f.value(tiffPlanar, 1) == 2 && l.samples > 1 {
		planes, p.samples = l.samples, 1
	}
	across, down := ceilDiv(im.Width, p.width), ceilDiv(im.Height, p.height)
	if len(offsets) < across*down*planes || len(counts) < across*down*planes && p.compression != tiffPlain {
		return errors.New("strips or tiles are missing")
	}
	if int64(p.width)*int64(p.height)*int64(p.samples)*int64(l.bits)/8 > maxTIFFPiece {
		return errors.New("a strip or tile is too large")
	}
	for i := range across * down * planes {
		plane, at := i/(across*down), i%(across*down)
		x, y := at%across*p.width, at/across*p.height
		rows := p.height
		if f.tags[tiffTileOffsets] == nil {
			rows = min(rows, im.Height-y)
		}
		raw, err := f.bytes(offsets[i], counts, i, p.rowBytes(l.bits)*rows)
		if err != nil {
			return err
		}
		data, err := p.unpack(raw, rows, l.bits, f)
		if err != nil {
			return err
		}
		if planes > 1 && plane >= im.Mode.Channels() {
			continue
		}
		l.place(im, data, p, x, y, plane, planes > 1, f.order.String() == "BigEndian")
	}
	return nil
}

// bytes returns the stored bytes of piece i. Where the file doesn't say how many they are, it is what the pixels take.
func (f *tiffFile) bytes(offset int64, counts []int64, i, size int) ([]byte, error) {
	n := int64(size)
	if i < len(counts) {
		n = counts[i]
	}
	if offset > int64(len(f.data)) || n > int64(len(f.data))-offset {
		return nil, errTruncated
	}
	return f.data[offset:][:n], nil
}

func (p tiffPiece) rowBytes(bits int) int { return (p.width*p.samples*bits + 7) / 8 }

// unpack returns the rows of a piece.
func (p tiffPiece) unpack(raw []byte, rows, depth int, f *tiffFile) ([]byte, error) {
	size := p.rowBytes(depth) * rows
	if p.reversed {
		turned := make([]byte, len(raw))
		for i, v := range raw {
			turned[i] = bits.Reverse8(v)
		}
		raw = turned
	}
	var r io.Reader
	switch p.compression {
	case tiffPlain:
		if len(raw) < size {
			return nil, errTruncated
		}
		return raw[:size], nil
	case tiffLZW:
		lz := lzw.NewReader(bytes.NewReader(raw), lzw.MSB, 8)
		defer lz.Close()
		r = lz
	case tiffDeflate, tiffDeflateOld:
		z, err := zlib.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		r = z
	case tiffPackBits:
		return unpackBits(raw, size)
	case tiffGroup3, tiffGroup4:
		return p.fax(raw, rows, depth, size)
	default:
		return nil, fmt.Errorf("compression %d: not supported", p.compression)
	}
	// Room grows with what the data really holds, so that a small file cannot claim much memory.
	data, err := io.ReadAll(io.LimitReader(r, int64(size)))
	if len(data) < size {
		if err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errTruncated
		}
		return nil, err
	}
	if p.predictor {
		return data, p.unpredict(data, depth, f)
	}
	return data, nil
}

// fax decodes CCITT coding of group 3, one-dimensional, or 4.
func (p tiffPiece) fax(raw []byte, rows, depth, size int) ([]byte, error) {
	if depth != 1 || p.samples != 1 {
		return nil, errors.New("CCITT coding of more than one bit a pixel")
	}
	sub := ccitt.Group4
	if p.compression == tiffGroup3 {
		if sub = ccitt.Group3; p.t4&1 != 0 {
			return nil, errors.New("two-dimensional CCITT group 3 coding: not supported")
		}
	}
	// The fax world's 0 is white and so is the tag's WhiteIsZero; the package calls white 1 unless told to invert.
	data, err := io.ReadAll(io.LimitReader(ccitt.NewReader(bytes.NewReader(raw), ccitt.MSB, sub, p.width, rows,
		&ccitt.Options{Invert: true}), int64(size)))
	if err == nil && len(data) < size {
		err = errTruncated
	}
	return data, err
}

// unpackBits expands runs: a count below 128 is followed by that many bytes and one, a higher one by a byte to repeat.
func unpackBits(raw []byte, size int) ([]byte, error) {
	var out []byte
	for len(out) < size {
		if len(raw) < 2 {
			return nil, errTruncated
		}
		n := int(int8(raw[0]))
		raw = raw[1:]
		switch {
		case n >= 0:
			if n+1 > len(raw) {
				return nil, errTruncated
			}
			out = append(out, raw[:n+1]...)
			raw = raw[n+1:]
		case n > -128:
			out = append(out, bytes.Repeat(raw[:1], 1-n)...)
			raw = raw[1:]
		}
	}
	return out[:size], nil
}

// unpredict adds the left neighbour back to every sample.
func (p tiffPiece) unpredict(data []byte, depth int, f *tiffFile) error {
	n := p.rowBytes(depth)
	for ; len(data) > 0; data = data[n:] {
		row := data[:n]
		switch depth {
		case 8:
			for i := p.samples; i < n; i++ {
				row[i] += row[i-p.samples]
			}
		case 16:
			for i := 2 * p.samples; i+1 < n; i += 2 {
				f.order.PutUint16(row[i:], f.order.Uint16(row[i:])+f.order.Uint16(row[i-2*p.samples:]))
			}
		default:
			return fmt.Errorf("a predictor over samples of %d bits: not supported", depth)
		}
	}
	return nil
}

// place copies what lies within the image of a piece at (x, y). A piece holds all samples of its pixels, or one plane.
func (l tiffLayout) place(im *Image, data []byte, p tiffPiece, x, y, plane int, planar, big bool) {
	channels := im.Mode.Channels()
	if im.Mode == I16 {
		channels = 1
	}
	n := p.rowBytes(l.bits)
	from, to := min(p.samples, channels), 0
	if planar {
		to = plane
	}
	for row := 0; row*n < len(data) && y+row < im.Height; row++ {
		src := data[row*n:][:n]
		if l.bits == 8 && !planar && !l.inverted && p.samples == channels {
			copy(im.Pix[((y+row)*im.Width+x)*channels:][:min(p.width, im.Width-x)*channels], src)
			continue
		}
		for col := 0; col < p.width && x+col < im.Width; col++ {
			at := (y+row)*im.Width + x + col
			if im.Mode == I16 {
				lo, hi := src[2*col], src[2*col+1]
				if big {
					lo, hi = hi, lo
				}
				im.Pix[2*at], im.Pix[2*at+1] = lo, hi
				continue
			}
			for s := range from {
				im.Pix[at*channels+to+s] = l.sample(src, col*p.samples+s, big)
			}
		}
	}
}

// sample returns sample i of a row as the byte that it makes: of 16 bits the high ones, of grey of less than 8 bits the
// full range.
func (l tiffLayout) sample(src []byte, i int, big bool) byte {
	var v byte
	switch l.bits {
	case 8:
		v = src[i]
	case 16:
		v = src[2*i+1]
		if big {
			v = src[2*i]
		}
	default:
		per := 8 / l.bits
		top := byte(1)<<l.bits - 1
		v = src[i/per] >> ((per - 1 - i%per) * l.bits) & top
		if l.mode != P {
			v *= 255 / top
		}
	}
	if l.inverted {
		v = 255 - v
	}
	return v
}
