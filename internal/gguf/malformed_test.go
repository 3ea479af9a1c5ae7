package gguf_test

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/mutants"
)

// heapSlack is what a file of any size may cost beyond twice its own.
const heapSlack = 16 << 20

// malformedCase is a file with one thing wrong, and what Parse must say.
type malformedCase struct {
	name  string
	spoil func(*spec)
	bytes func([]byte) []byte // on the encoded file, after spoil
	kind  error
	says  string
}

// key adds a key of the given type and encoding.
func key(name string, typ uint32, value []byte) func(*spec) {
	return func(s *spec) { s.keys = append(s.keys, specKey{name, typ, value}) }
}

// arrayKey adds an array, whose parts need not be what it claims.
func arrayKey(elem gguf.ValueType, n uint64, parts ...[]byte) func(*spec) {
	return key("bad", uint32(gguf.Array), array(elem, n, parts...))
}

// first changes the first tensor.
func first(change func(*specTensor)) func(*spec) {
	return func(s *spec) { change(&s.tensors[0]) }
}

func cut(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }

// before overwrites what precedes the first occurrence of a text in the encoded file.
func before(text string, b []byte) func([]byte) []byte {
	return func(file []byte) []byte {
		copy(file[bytes.Index(file, []byte(text))-len(b):], b)
		return file
	}
}

func headerCases() []malformedCase {
	bad, other := gguf.ErrMalformed, gguf.ErrUnsupported
	return []malformedCase{
		{"empty file", nil, cut(0), bad, "the magic"},
		{"three bytes", nil, cut(3), bad, "the magic"},
		{"magic only", nil, cut(4), bad, "the version"},
		{"no counts", nil, cut(8), bad, "the tensor count"},
		{"no key count", nil, cut(16), bad, "the key count"},
		{"another magic", func(s *spec) { s.magic = "PK\x03\x04" }, nil, bad, "no GGUF file"},
		{"older ggml file", func(s *spec) { s.magic = "tjgg" }, nil, other, "older than GGUF"},
		{"magic reversed", func(s *spec) { s.magic = "FUGG" }, nil, other, "big-endian"},
		{"version 0", func(s *spec) { s.version = 0 }, nil, bad, "version is 0"},
		{"version 1", func(s *spec) { s.version = 1 }, nil, other, "version 1 is not read"},
		{"version of the future", func(s *spec) { s.version = 4 }, nil, other, "version 4 is newer"},
		{"version max", func(s *spec) { s.version = math.MaxUint32 }, nil, other, "newer"},
		{"big-endian", func(s *spec) { s.version = 3 << 24 }, nil, other, "big-endian GGUF file (version 3)"},
		{"tensor count max", func(s *spec) { s.tensorCount = new(uint64(math.MaxUint64)) }, nil, bad, "claims 18446744073709551615 tensors"},
		{"tensor count 2^63", func(s *spec) { s.tensorCount = new(uint64(1 << 63)) }, nil, bad, "tensors"},
		{"tensor count beyond the file", func(s *spec) { s.tensorCount = new(uint64(60_000)) }, nil, bad, "claims 60000 tensors"},
		{"one tensor too many", func(s *spec) { s.tensorCount = new(uint64(5)) }, nil, bad, ""},
		{"key count max", func(s *spec) { s.keyCount = new(uint64(math.MaxUint64)) }, nil, bad, "keys"},
		{"key count beyond the file", func(s *spec) { s.keyCount = new(uint64(60_000)) }, nil, bad, "claims 60000 keys"},
		{"one key too many", func(s *spec) { s.keyCount = new(uint64(13)) }, nil, bad, ""},
		{"one key too few", func(s *spec) { s.keyCount = new(uint64(11)) }, nil, bad, ""},
	}
}

func keyCases() []malformedCase {
	bad := gguf.ErrMalformed
	u32, str32 := uint32(gguf.Uint32), uint32(gguf.String)
	return []malformedCase{
		{"empty key", key("", u32, le32(1)), nil, bad, "it is empty"},
		{"key twice", key("eps", u32, le32(1)), nil, bad, "key eps is there twice"},
		{"key not UTF-8", key("a\xffb", u32, le32(1)), nil, bad, "not UTF-8"},
		{"key with NUL", key("a\x00b", u32, le32(1)), nil, bad, "control character"},
		{"key with escape sequence", key("a\x1b[2J", u32, le32(1)), nil, bad, "control character"},
		{"key of 65,536 bytes", key(longKey(65536), u32, le32(1)), nil, bad, "want at most 65535"},
		{"key length max", nil, before("tokens", le64(math.MaxUint64)), bad, "a key at byte"},
		{"key length past the end", nil, before("tokens", le64(50_000)), bad, "a key at byte"},
		{"value type 13", key("bad", 13, le64(0)), nil, bad, "key bad: value type 13 is unknown"},
		{"value type max", key("bad", math.MaxUint32, nil), nil, bad, "unknown"},
		{"bool of 2", key("bad", uint32(gguf.Bool), []byte{2}), nil, bad, "a bool is 2"},
		{"string past the end", key("bad", str32, le64(1<<20)), nil, bad, "key bad: the string"},
		{"string of 2^63 bytes", key("bad", str32, le64(1<<63)), nil, bad, "key bad: the string"},
		{"array element type 13", arrayKey(13, 1, le64(0)), nil, bad, "element type 13"},
		{"nested arrays", arrayKey(gguf.Array, 1, array(gguf.Uint8, 1, []byte{1})), nil, bad, "arrays inside arrays"},
		{"arrays nested 10,000 deep", arrayKey(gguf.Array, 1, bytes.Repeat(array(gguf.Array, 1), 10_000)), nil, bad, "arrays inside arrays"},
		{"array count max", arrayKey(gguf.Uint8, math.MaxUint64), nil, bad, "claims 18446744073709551615 elements"},
		{"array bytes overflow", arrayKey(gguf.Uint64, 1<<61), nil, bad, "claims 2305843009213693952 elements"},
		{"array past the end", arrayKey(gguf.Float64, 10_000), nil, bad, "claims 10000 elements"},
		{"string count max", arrayKey(gguf.String, math.MaxUint64), nil, bad, "strings"},
		{"string count beyond the file", arrayKey(gguf.String, 10_000, str("x")), nil, bad, "claims 10000 strings"},
		{"a string of an array past the end", arrayKey(gguf.String, 2, str("x"), le64(1<<40)), nil, bad, "a string at byte"},
		{"bool array with a 7", arrayKey(gguf.Bool, 3, []byte{0, 1, 7}), nil, bad, "a bool is 7"},
		{"alignment 0", alignment(gguf.Uint32, le32(0)), nil, bad, "power of two"},
		{"alignment 24", alignment(gguf.Uint32, le32(24)), nil, bad, "got 24"},
		{"alignment 4", alignment(gguf.Uint32, le32(4)), nil, bad, "got 4"},
		{"alignment 2^31", alignment(gguf.Uint32, le32(1<<31)), nil, bad, "got 2147483648"},
		{"alignment as uint64", alignment(gguf.Uint64, le64(32)), nil, bad, "want uint32, got uint64"},
		{"alignment as a string", alignment(gguf.String, str("32")), nil, bad, "want uint32, got string"},
	}
}

func alignment(t gguf.ValueType, value []byte) func(*spec) {
	return func(s *spec) { s.keys[1] = specKey{"general.alignment", uint32(t), value} }
}

func tensorCases() []malformedCase {
	bad := gguf.ErrMalformed
	dims := func(t gguf.Type, d ...uint64) func(*spec) {
		return first(func(x *specTensor) { x.typ, x.dims = uint32(t), d })
	}
	name := func(n string) func(*spec) { return first(func(x *specTensor) { x.name = n }) }
	rank := func(n uint32) func(*spec) { return first(func(x *specTensor) { x.rank = &n }) }
	offset := func(o uint64) func(*spec) { return first(func(x *specTensor) { x.offset = o }) }
	return []malformedCase{
		{"empty tensor name", name(""), nil, bad, "it is empty"},
		{"tensor twice", name("v.patch_embd.weight"), nil, bad, "tensor v.patch_embd.weight is there twice"},
		{"tensor name of 64 bytes", name(longKey(64)), nil, bad, "want at most 63"},
		{"tensor name with NUL", name("v.a\x00"), nil, bad, "control character"},
		{"tensor name not UTF-8", name("v.\xc3"), nil, bad, "not UTF-8"},
		{"tensor name length max", nil, before("v.class_embd", le64(math.MaxUint64)), bad, "a tensor name"},
		{"no dimensions", dims(gguf.F32), nil, bad, "want 1 to 4 dimensions, got 0"},
		{"five dimensions", dims(gguf.F32, 16, 1, 1, 1, 1), nil, bad, "want 1 to 4 dimensions, got 5"},
		{"2^32-1 dimensions", rank(math.MaxUint32), nil, bad, "got 4294967295"},
		{"zero dimension", dims(gguf.F32, 16, 0), nil, bad, "dimension 1 is 0"},
		{"zero first dimension", dims(gguf.Q4_0, 0), nil, bad, "dimension 0 is 0"},
		{"negative dimension", dims(gguf.F32, 1<<63), nil, bad, "dimension 0 is 9223372036854775808"},
		{"elements overflow to 0", dims(gguf.F32, 1<<32, 1<<32), nil, bad, "more elements than an int64"},
		{"elements overflow to 16", dims(gguf.F32, 16, 1<<60+1, 16), nil, bad, "more elements than an int64"},
		{"bytes overflow", dims(gguf.F64, 1<<61), nil, bad, "more bytes than an int64"},
		{"padded bytes overflow", dims(gguf.I8, math.MaxInt64), nil, bad, "want 9223372036854775807 bytes"},
		{"removed type 4", dims(4, 16), nil, bad, "type 4 (q4_2) was removed"},
		{"removed type 31", dims(31, 16), nil, bad, "type 31 (q4_0_4_4) was removed from GGUF: convert the model again, as q4_0"},
		{"removed type 38", dims(38, 16), nil, bad, "removed"},
		{"type 40", dims(40, 16), nil, bad, "type 40 is unknown"},
		{"type max", dims(math.MaxUint32, 16), nil, bad, "unknown"},
		{"row cuts a block", dims(gguf.Q8_0, 16, 2), nil, bad, "q8_0 packs 32 elements at a time"},
		{"row cuts a super-block", dims(gguf.Q4_K, 128, 2), nil, bad, "q4_k packs 256 elements"},
		{"offset not aligned", offset(8), nil, bad, "offset 8 is no multiple of the alignment 32"},
		{"offset past the end", offset(1 << 20), nil, bad, "cut short or corrupt"},
		{"offset at the end", offset(736), nil, bad, "cut short or corrupt"},
		{"offset 2^63", offset(1 << 63), nil, bad, "past the end"},
		{"offset and size overflow", offset(math.MaxInt64 - 31), nil, bad, "cut short or corrupt"},
		{"same place twice", offset(64), nil, bad, "overlap"},
		{"overlap by a part", offset(160 + 512), nil, bad, "tensors v.blk.0.attn_q.weight and v.class_embd overlap"},
		{"a byte of data missing", func(s *spec) { s.data-- }, nil, bad, "tensor t.token_embd.weight"},
		{"no data at all", func(s *spec) { s.data = 0 }, nil, bad, "the file's data has 0"},
		{"not even the padding", nil, func(b []byte) []byte { return b[:len(b)-736-1] }, bad, "the file's data has 0"},
	}
}

func malformedCases() []malformedCase {
	return append(append(headerCases(), keyCases()...), tensorCases()...)
}

func (c malformedCase) file() []byte {
	s := sound()
	if c.spoil != nil {
		c.spoil(s)
	}
	b, _ := s.encode()
	if c.bytes != nil {
		b = c.bytes(b)
	}
	return b
}

// parse returns what Parse and Open say of a file, which must agree, and checks what they cost.
func parse(t *testing.T, file []byte) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, os.WriteFile(path, file, 0o600))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := gguf.Open(path)
	runtime.ReadMemStats(&after)
	var perr error
	require.Less(t, mutants.Fastest(func() { _, perr = gguf.Parse(bytes.NewReader(file), int64(len(file))) }), mutants.MaxTime)
	// What was allocated in all is more than what the heap ever held.
	require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(2*len(file)+heapSlack))
	if err == nil {
		require.NoError(t, f.Close())
	} else {
		require.ErrorContains(t, err, "gguf: open "+path+": ", "the error names the file")
	}
	if err == nil {
		require.NoError(t, perr)
	} else {
		require.EqualError(t, perr, strings.Replace(err.Error(), "open "+path+": ", "", 1))
	}
	return err
}

func TestMalformed(t *testing.T) {
	cases := malformedCases()
	require.GreaterOrEqual(t, len(cases), 53)
	good, _ := sound().encode()
	require.NoError(t, parse(t, good), "what the cases start from is sound")
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := parse(t, c.file())
			require.ErrorIs(t, err, c.kind)
			require.ErrorContains(t, err, c.says)
			require.Less(t, len(err.Error()), 600, "an error does not repeat endless names")
			require.NotContains(t, err.Error(), "\x1b", "an error does not control the terminal")
		})
	}
}

// No prefix of a sound file passes but the whole, and none crashes.
func TestEveryTruncation(t *testing.T) {
	good, _ := sound().encode()
	for n := range len(good) {
		_, err := gguf.Parse(bytes.NewReader(good[:n]), int64(n))
		require.ErrorIs(t, err, gguf.ErrMalformed, "%d bytes of %d", n, len(good))
	}
}

// What is unusual and yet sound is read.
func TestUnusual(t *testing.T) {
	aligned := func(n int) func(*spec) {
		return func(s *spec) {
			s.keys[1].value, s.alignment = le32(uint32(n)), n
			s.tensors = s.tensors[:1]
		}
	}
	for name, change := range map[string]func(*spec){
		"version 2":            func(s *spec) { s.version = 2 },
		"no tensors":           func(s *spec) { s.tensors, s.data = nil, 0 },
		"no keys, no tensors":  func(s *spec) { s.keys, s.tensors, s.data = nil, nil, 0 },
		"alignment 8":          aligned(8),
		"alignment 4096":       aligned(4096),
		"alignment 1 MiB":      aligned(1 << 20),
		"name of 63 bytes":     first(func(x *specTensor) { x.name = longKey(63) }),
		"key of 65,535 bytes":  key(longKey(65535), uint32(gguf.Uint8), []byte{1}),
		"key beyond ASCII":     key("modèle.名前", uint32(gguf.Uint8), []byte{1}),
		"tensors in any order": func(s *spec) { s.tensors[0], s.tensors[3] = s.tensors[3], s.tensors[0] },
		"a hole":               func(s *spec) { s.tensors = append(s.tensors[:1], s.tensors[2:]...) },
		"bytes at the end":     func(s *spec) { s.data += 1000 },
		"string not UTF-8":     key("raw", uint32(gguf.String), str("\xff\xfe\x00")),
		"dimensions of 1":      first(func(x *specTensor) { x.dims = []uint64{16, 1, 1, 1} }),
	} {
		t.Run(name, func(t *testing.T) {
			s := sound()
			change(s)
			b, _ := s.encode()
			require.NoError(t, parse(t, b))
		})
	}
}

// The most entries that are read, and files that hold many millions of tiny ones, keep to the bound on memory.
func TestMemoryOfLargeHeaders(t *testing.T) {
	many := func(n int, each func(i int) specKey, tensors int) []byte {
		s := sound()
		s.keys, s.tensors, s.data = nil, nil, 64
		for i := range n {
			s.keys = append(s.keys, each(i))
		}
		for i := range tensors {
			s.tensors = append(s.tensors, specTensor{name: num(i), dims: []uint64{1}, typ: uint32(gguf.I8), offset: uint64(i * 32)})
		}
		s.data = tensors * 32
		b, _ := s.encode()
		return b
	}
	tiny := func(i int) specKey { return specKey{num(i), uint32(gguf.Uint8), []byte{1}} }
	require.NoError(t, parse(t, many(1<<16, tiny, 1<<16)))
	require.ErrorContains(t, parse(t, many(1<<16+1, tiny, 0)), "want at most 65536")
	require.ErrorContains(t, parse(t, many(0, nil, 1<<16+1)), "want at most 65536")

	strings := many(1, func(int) specKey {
		return specKey{"a", uint32(gguf.Array), array(gguf.String, 4_000_000, make([]byte, 8*4_000_000))}
	}, 0)
	require.NoError(t, parse(t, strings))
	bools := many(1, func(int) specKey {
		return specKey{"a", uint32(gguf.Array), array(gguf.Bool, 8_000_000, make([]byte, 8_000_000))}
	}, 0)
	require.NoError(t, parse(t, bools))
}

// num is a short name for a number, so that names are not what a file consists of.
func num(i int) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(i))
	const digits = "0123456789abcdef"
	var s []byte
	for _, x := range b {
		if x == 0 && len(s) == 0 {
			continue
		}
		s = append(s, digits[x>>4], digits[x&15])
	}
	return "n" + string(s)
}
