package pixels

import (
	"compress/lzw"
	"errors"
	"fmt"
	"io"
)

// gifFrame is what the file says up to the first frame's pixels.
type gifFrame struct {
	width, height int64 // the canvas, grown to hold the frame
	x, y, w, h    int   // the frame
	palette       []byte
	fill          byte // what the canvas holds outside the frame
	interlaced    bool
	codeBits      byte
	data          []byte // the blocks of pixels, and all that follows
}

// gifReader cuts fields off the front of a file.
type gifReader struct{ rest []byte }

func (r *gifReader) take(n int) ([]byte, error) {
	if n > len(r.rest) {
		return nil, errTruncated
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b, nil
}

// block returns the next data sub-block, empty at the end of a run of them.
func (r *gifReader) block() ([]byte, error) {
	n, err := r.take(1)
	if err != nil {
		return nil, err
	}
	return r.take(int(n[0]))
}

// colours reads the palette that the flags announce. It is nil where there is none, and where it is the plain ramp of
// greys from 0, which Pillow takes for no palette at all.
func (r *gifReader) colours(flags byte) (palette []byte, present bool, err error) {
	if flags&0x80 == 0 {
		return nil, false, nil
	}
	p, err := r.take(3 << (flags&7 + 1))
	if err != nil {
		return nil, false, err
	}
	if isRamp(p) {
		return nil, true, nil
	}
	palette = make([]byte, paletteLen)
	copy(palette, p)
	return palette, true, nil
}

// isRamp reports whether entry i of a palette is the grey i throughout.
func isRamp(p []byte) bool {
	for i, v := range p {
		if int(v) != i/3 {
			return false
		}
	}
	return true
}

// readGIF reads up to the first frame's pixels.
func readGIF(data []byte) (*gifFrame, error) {
	r := &gifReader{data}
	head, err := r.take(13)
	if err != nil {
		return nil, err
	}
	f := &gifFrame{width: le16(head[6:]), height: le16(head[8:])}
	if f.palette, _, err = r.colours(head[10]); err != nil {
		return nil, err
	}
	for {
		kind, err := r.take(1)
		if err != nil {
			return nil, err
		}
		switch kind[0] {
		case '!':
			if err := f.extension(r); err != nil {
				return nil, err
			}
		case ',':
			return f, f.descriptor(r)
		case ';':
			return nil, errors.New("there is no frame")
		default:
			// Bytes between blocks are skipped, as Pillow skips them.
		}
	}
}

// extension reads an extension; a graphic control extension may name the transparent colour.
func (f *gifFrame) extension(r *gifReader) error {
	label, err := r.take(1)
	if err != nil {
		return err
	}
	b, err := r.block()
	if err != nil {
		return err
	}
	if label[0] == 0xf9 && len(b) >= 4 {
		if b[0]&1 != 0 {
			f.fill = b[3]
		}
	}
	for len(b) > 0 {
		if b, err = r.block(); err != nil {
			return err
		}
	}
	return nil
}

// descriptor reads the frame's place and its own palette.
func (f *gifFrame) descriptor(r *gifReader) error {
	d, err := r.take(9)
	if err != nil {
		return err
	}
	f.x, f.y, f.w, f.h = int(le16(d)), int(le16(d[2:])), int(le16(d[4:])), int(le16(d[6:]))
	f.width, f.height = max(f.width, int64(f.x+f.w)), max(f.height, int64(f.y+f.h))
	f.interlaced = d[8]&0x40 != 0
	palette, present, err := r.colours(d[8])
	if err != nil {
		return err
	}
	if present {
		f.palette = palette
	}
	bits, err := r.take(1)
	if err != nil {
		return err
	}
	if f.codeBits = bits[0]; f.codeBits < 1 || f.codeBits > 8 {
		return fmt.Errorf("codes of %d bits: want 1 to 8", f.codeBits)
	}
	f.data = r.rest
	return nil
}

func gifSize(data []byte) (w, h int64, err error) {
	f, err := readGIF(data)
	if err != nil {
		return 0, 0, err
	}
	return f.width, f.height, nil
}

// decodeGIF decodes the first frame on its canvas: mode P, or L where there is no palette.
func decodeGIF(data []byte, _ Limits) (*Image, error) {
	f, err := readGIF(data)
	if err != nil {
		return nil, err
	}
	if err := plausible(len(f.data), int64(f.w)*int64(f.h), lzwRatio); err != nil {
		return nil, err
	}
	im := newImage(L, int(f.width), int(f.height))
	if f.palette != nil {
		im.Mode, im.Palette = P, f.palette
	}
	if f.fill != 0 {
		for i := range im.Pix {
			im.Pix[i] = f.fill
		}
	}
	lz := lzw.NewReader(&gifBlocks{r: gifReader{f.data}}, lzw.LSB, int(f.codeBits))
	defer lz.Close()
	for _, y := range gifRows(f.h, f.interlaced) {
		row := im.Pix[(f.y+y)*im.Width+f.x:][:f.w]
		if _, err := io.ReadFull(lz, row); err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return nil, errTruncated
			}
			return nil, err
		}
	}
	return im, nil
}

// gifRows returns the order in which the rows of a frame are stored.
func gifRows(h int, interlaced bool) []int {
	rows := make([]int, 0, h)
	if !interlaced {
		for y := range h {
			rows = append(rows, y)
		}
		return rows
	}
	for _, pass := range [4][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}} {
		for y := pass[0]; y < h; y += pass[1] {
			rows = append(rows, y)
		}
	}
	return rows
}

// gifBlocks joins the data sub-blocks to one stream.
type gifBlocks struct {
	r   gifReader
	now []byte
}

func (b *gifBlocks) fill() error {
	for len(b.now) == 0 {
		block, err := b.r.block()
		if err != nil {
			return io.ErrUnexpectedEOF
		}
		if len(block) == 0 {
			return io.EOF
		}
		b.now = block
	}
	return nil
}

// ReadByte makes the lzw package read through no buffer of its own.
func (b *gifBlocks) ReadByte() (byte, error) {
	if err := b.fill(); err != nil {
		return 0, err
	}
	v := b.now[0]
	b.now = b.now[1:]
	return v, nil
}

// Read implements io.Reader.
func (b *gifBlocks) Read(p []byte) (int, error) {
	if err := b.fill(); err != nil {
		return 0, err
	}
	n := copy(p, b.now)
	b.now = b.now[n:]
	return n, nil
}
