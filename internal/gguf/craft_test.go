package gguf_test

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/bgevl/bgevl/internal/gguf"
)

// spec describes a GGUF file field by field, so that a test can put anything anywhere. Counts, lengths and offsets are
// what a sound file would say unless they are overridden.
type spec struct {
	magic       string
	version     uint32
	tensorCount *uint64
	keyCount    *uint64
	keys        []specKey
	tensors     []specTensor
	alignment   int // of the data's start
	data        int // bytes after the padding
}

type specKey struct {
	key   string
	typ   uint32
	value []byte
}

type specTensor struct {
	name   string
	rank   *uint32
	dims   []uint64
	typ    uint32
	offset uint64
}

// field is where a number or text of a crafted file lies.
type field struct {
	at, width int
	kind      fieldKind
}

type fieldKind int

const (
	fieldMagic fieldKind = iota
	fieldVersion
	fieldCount
	fieldLength
	fieldText
	fieldValueType
	fieldValue
	fieldRank
	fieldDim
	fieldTensorType
	fieldOffset
	fieldData
)

type crafter struct {
	b      []byte
	fields []field
}

func (c *crafter) mark(kind fieldKind, width int) {
	c.fields = append(c.fields, field{len(c.b), width, kind})
}

func (c *crafter) u32(kind fieldKind, v uint32) {
	c.mark(kind, 4)
	c.b = binary.LittleEndian.AppendUint32(c.b, v)
}

func (c *crafter) u64(kind fieldKind, v uint64) {
	c.mark(kind, 8)
	c.b = binary.LittleEndian.AppendUint64(c.b, v)
}

func (c *crafter) text(s string) {
	c.u64(fieldLength, uint64(len(s)))
	c.bytes(fieldText, []byte(s))
}

func (c *crafter) bytes(kind fieldKind, b []byte) {
	c.mark(kind, len(b))
	c.b = append(c.b, b...)
}

// encode returns the file and where its fields are.
func (s *spec) encode() ([]byte, []field) {
	var c crafter
	c.bytes(fieldMagic, []byte(s.magic))
	c.u32(fieldVersion, s.version)
	c.u64(fieldCount, or(s.tensorCount, uint64(len(s.tensors))))
	c.u64(fieldCount, or(s.keyCount, uint64(len(s.keys))))
	for _, k := range s.keys {
		c.text(k.key)
		c.u32(fieldValueType, k.typ)
		c.value(k)
	}
	for _, t := range s.tensors {
		c.text(t.name)
		c.u32(fieldRank, or(t.rank, uint32(len(t.dims))))
		for _, d := range t.dims {
			c.u64(fieldDim, d)
		}
		c.u32(fieldTensorType, t.typ)
		c.u64(fieldOffset, t.offset)
	}
	for len(c.b)%s.alignment != 0 {
		c.b = append(c.b, 0)
	}
	c.bytes(fieldData, fill(int64(s.data), 3))
	return c.b, c.fields
}

// value marks the lengths and types inside of a value too, where it has its usual form.
func (c *crafter) value(k specKey) {
	switch gguf.ValueType(k.typ) {
	case gguf.String:
		if len(k.value) >= 8 {
			c.bytes(fieldLength, k.value[:8])
			c.bytes(fieldText, k.value[8:])
			return
		}
	case gguf.Array:
		if len(k.value) >= 12 {
			c.bytes(fieldValueType, k.value[:4])
			c.bytes(fieldCount, k.value[4:12])
			rest := k.value[12:]
			for k.value[0] == byte(gguf.String) && len(rest) >= 8 {
				n := 8 + min(binary.LittleEndian.Uint64(rest), uint64(len(rest)-8))
				c.bytes(fieldLength, rest[:8])
				c.bytes(fieldText, rest[8:n])
				rest = rest[n:]
			}
			c.bytes(fieldValue, rest)
			return
		}
	}
	c.bytes(fieldValue, k.value)
}

func or[T any](p *T, v T) T {
	if p != nil {
		return *p
	}
	return v
}

func le32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func le64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

func str(s string) []byte { return append(le64(uint64(len(s))), s...) }

func array(elem gguf.ValueType, n uint64, parts ...[]byte) []byte {
	b := append(le32(uint32(elem)), le64(n)...)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// sound is a small file with a value of each kind and tensors of several types: what the malformed cases and the
// mutants start from.
func sound() *spec {
	return &spec{
		magic: "GGUF", version: 3, alignment: 32, data: 64 + 96 + 544 + 32,
		keys: []specKey{
			{"general.architecture", uint32(gguf.String), str("clip")},
			{"general.alignment", uint32(gguf.Uint32), le32(32)},
			{"u8", uint32(gguf.Uint8), []byte{200}},
			{"i16", uint32(gguf.Int16), []byte{0xfe, 0xff}},
			{"clip.use_gelu", uint32(gguf.Bool), []byte{0}},
			{"eps", uint32(gguf.Float32), le32(math.Float32bits(1e-5))},
			{"f64", uint32(gguf.Float64), le64(math.Float64bits(0.5))},
			{"big", uint32(gguf.Uint64), le64(math.MaxUint64)},
			{"tokens", uint32(gguf.Array), array(gguf.String, 3, str("a</w>"), str(""), str("\xff"))},
			{"types", uint32(gguf.Array), array(gguf.Int32, 2, le32(1), le32(3))},
			{"flags", uint32(gguf.Array), array(gguf.Bool, 3, []byte{1, 0, 1})},
			{"none", uint32(gguf.Array), array(gguf.Float32, 0)},
		},
		tensors: []specTensor{
			{name: "v.class_embd", dims: []uint64{16}, typ: uint32(gguf.F32), offset: 0},
			{name: "v.patch_embd.weight", dims: []uint64{2, 2, 3, 4}, typ: uint32(gguf.F16), offset: 64},
			{name: "v.blk.0.attn_q.weight", dims: []uint64{64, 8}, typ: uint32(gguf.Q8_0), offset: 160},
			{name: "t.token_embd.weight", dims: []uint64{4, 4}, typ: uint32(gguf.BF16), offset: 704},
		},
	}
}

func longKey(n int) string { return strings.Repeat("k", n) }
