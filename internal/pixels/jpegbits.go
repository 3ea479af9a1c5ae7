package pixels

import (
	"encoding/binary"
	"errors"
)

// jpegBits reads the entropy-coded data of a scan. What it has read ahead stands at the top of acc; n counts the bits
// of it that are real. Past a marker or the end of the file the bits are zeros and n goes below 0, as libjpeg has it: a
// picture that was damaged there still decodes.
type jpegBits struct {
	data   []byte
	pos    int
	acc    uint64
	n      int
	marker bool // pos is at a marker
	end    bool // the file ended
}

// reset starts a run of data at pos.
func (b *jpegBits) reset(pos int) {
	b.pos, b.acc, b.n, b.marker, b.end = pos, 0, 0, false, false
}

// fill reads ahead: at least 57 bits unless a marker or the end of the file is near.
func (b *jpegBits) fill() {
	if b.pos+8 <= len(b.data) && b.n >= 0 {
		v := binary.BigEndian.Uint64(b.data[b.pos:])
		// None of the eight bytes is 0xff, the start of a marker or of an escape.
		const low, high = 0x0101010101010101, 0x8080808080808080
		if (^v-low)&v&high == 0 {
			k := (64 - b.n) / 8
			b.acc |= v >> b.n
			b.pos += k
			b.n += 8 * k
			return
		}
	}
	b.fillSlowly()
}

func (b *jpegBits) fillSlowly() {
	if b.n < 0 {
		return
	}
	for b.n <= 56 && !b.marker && !b.end {
		if b.pos >= len(b.data) {
			b.end = true
			return
		}
		v := b.data[b.pos]
		if v == 0xff {
			next := b.pos + 1
			for next < len(b.data) && b.data[next] == 0xff {
				next++ // fill bytes
			}
			if next >= len(b.data) {
				b.end = true
				return
			}
			if b.data[next] != 0 {
				b.marker = true
				return
			}
			b.pos = next
		}
		b.pos++
		b.acc |= uint64(v) << (56 - b.n)
		b.n += 8
	}
}

// drop consumes k bits.
func (b *jpegBits) drop(k int) {
	b.acc <<= uint(k) & 63
	b.n -= k
}

// take returns the next k bits, 1 to 16; the caller has called fill.
func (b *jpegBits) take(k int) int32 {
	v := int32(b.acc >> ((64 - uint(k)) & 63))
	b.drop(k)
	return v
}

// extend turns k magnitude bits into a signed number.
func extend(v int32, k int) int32 {
	if v < 1<<(k-1) {
		return v - 1<<k + 1
	}
	return v
}

// lookBits is the length of the codes that a table resolves at once.
const lookBits = 10

// huffman is a decoding table.
type huffman struct {
	look   [1 << lookBits]uint16 // length<<8 | symbol, 0 for a longer code
	whole  [1 << lookBits]uint32 // value<<16 | run<<8 | bits: a code together with its magnitude, 0 if it doesn't fit
	max    [17]int32             // the largest code of a length, -1 for none
	offset [17]int32             // what to add to a code of a length to find its symbol
	symbol [256]byte
	set    bool
}

var errHuffman = errors.New("a Huffman table is corrupt")

// newHuffman builds a table from the counts of codes of each length and their symbols.
func newHuffman(counts, symbols []byte, dc bool) (*huffman, error) {
	h := &huffman{set: true}
	copy(h.symbol[:], symbols)
	code, k := int32(0), int32(0)
	for l := 1; l <= 16; l++ {
		h.offset[l] = k - code
		for range counts[l-1] {
			if code >= 1<<l {
				return nil, errHuffman
			}
			if l <= lookBits {
				first := code << (lookBits - l)
				for i := range int32(1) << (lookBits - l) {
					h.look[first+i] = uint16(l)<<8 | uint16(symbols[k])
				}
			}
			code++
			k++
		}
		h.max[l] = -1
		if counts[l-1] > 0 {
			h.max[l] = code - 1
		}
		code <<= 1
	}
	if dc {
		for _, s := range symbols {
			if s > 15 {
				return nil, errHuffman
			}
		}
		return h, nil
	}
	h.buildWhole()
	return h, nil
}

// buildWhole fills the table of codes that are short enough to be looked up with their magnitudes.
func (h *huffman) buildWhole() {
	for i := range h.whole {
		e := h.look[i]
		l, run, size := int(e>>8), int(e>>4&15), int(e&15)
		if l == 0 || size == 0 || l+size > lookBits {
			continue
		}
		v := extend(int32(i)>>(lookBits-l-size)&(1<<size-1), size)
		h.whole[i] = uint32(uint16(int16(v)))<<16 | uint32(run)<<8 | uint32(l+size)
	}
}

// find returns the symbol whose code stands at the top of acc, and the code's length. A code that isn't in the table
// gives 0.
func (h *huffman) find(acc uint64) (symbol int, length uint) {
	if e := h.look[acc>>(64-lookBits)]; e != 0 {
		return int(e & 255), uint(e >> 8)
	}
	for l := uint(lookBits + 1); l <= 16; l++ {
		code := int32(acc >> (64 - l))
		if code <= h.max[l] {
			return int(h.symbol[uint8(code+h.offset[l])]), l
		}
	}
	return 0, 16
}

// decode returns the next symbol; the caller has called fill.
func (b *jpegBits) decode(h *huffman) int {
	s, l := h.find(b.acc)
	b.drop(int(l))
	return s
}

// jpegNatural maps the zigzag order of coefficients to rows and columns. The entries past the end catch what runs over in
// a corrupt file, by at most 15; that there are 128 spares the check of an index of 7 bits.
var jpegNatural = [128]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63,
	63, 63, 63, 63, 63, 63, 63, 63,
}
