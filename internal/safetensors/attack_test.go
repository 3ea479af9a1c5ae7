package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/mutants"
	"github.com/bgevl/bgevl/internal/safetensors"
)

const (
	heapSlack  = 16 << 20 // what a file of any size may cost beyond twice its own
	maxTensors = 1 << 17
)

// file puts a header's length in front of it and data behind it.
func file(header string, data int) []byte {
	return claim(uint64(len(header)), header, data)
}

// claim is file with any length.
func claim(length uint64, header string, data int) []byte {
	b := append(binary.LittleEndian.AppendUint64(nil, length), header...)
	return append(b, make([]byte, data)...)
}

// one is a header with one tensor of 4 bytes, described by fields.
func one(fields string) []byte { return file(`{"a":{`+fields+`}}`, 4) }

const fine = `"dtype":"F32","shape":[1],"data_offsets":[0,4]`

// attack is a file with one thing wrong, and what Open must say.
type attack struct {
	name string
	file []byte
	says string
}

func headerAttacks() []attack {
	two := func(a, b string) []byte { return file(`{"a":{`+a+`},"b":{`+b+`}}`, 8) }
	u8 := func(from, to int64) string {
		return fmt.Sprintf(`"dtype":"U8","shape":[%d],"data_offsets":[%d,%d]`, to-from, from, to)
	}
	return []attack{
		{"empty file", nil, "it has 0 bytes"},
		{"seven bytes", make([]byte, 7), "it has 7 bytes: want at least 8"},
		{"header of 0 bytes", claim(0, "", 4), "a header of 0 bytes"},
		{"header of 1 byte", claim(1, "{", 4), "a header of 1 bytes"},
		{"header over 100 MB", claim(100_000_001, "{}", 0), "want at most 100000000"},
		{"header length max", claim(math.MaxUint64, "{}", 0), "want at most 100000000"},
		{"header of 100 MB in a file of 10 bytes", claim(100_000_000, "{}", 0), "but 2 are left"},
		{"header longer than the file", claim(3, "{}", 0), "cut short or corrupt"},
		{"header too small for its JSON", claim(20, `{"a":{`+fine+`}}`, 4), "JSON ends"},
		{"no object", file(`[]`, 0), "want {"},
		{"space in front", file(` {}`, 0), "want {"},
		{"not UTF-8", file("{\"\xff\":{"+fine+"}}", 4), "not UTF-8"},
		{"not JSON", file(`{a}`, 0), `want a name in quotes`},
		{"two objects", file(`{}{}`, 0), "want the end"},
		{"NUL behind the header", file("{}\x00", 0), "want the end"},
		{"comma at the end", file(`{"a":{`+fine+`},}`, 4), "want a name in quotes"},
		{"overlap by one byte", two(u8(0, 5), u8(4, 8)), "tensors a and b overlap at offset 4"},
		{"same bytes twice", two(u8(0, 8), u8(0, 8)), "overlap"},
		{"one inside another", two(u8(0, 8), u8(2, 4)), "overlap"},
		{"hole in the middle", two(u8(0, 3), u8(4, 8)), "tensor b starts at offset 4, but 3 is the next free: there is a hole"},
		{"hole at the start", one(u8(1, 4)), "there is a hole"},
		{"bytes at the end", file(`{"a":{`+fine+`}}`, 5), "tensors take 4 bytes, but the file's data has 5"},
		{"bytes without tensors", file(`{}`, 1), "something was appended"},
		{"data cut short", file(`{"a":{`+fine+`}}`, 3), "tensors take 4 bytes, but the file's data has 3: it is cut short"},
		{"offset past the end", one(u8(math.MaxInt64-4, math.MaxInt64)), "hole"},
		{"same name twice", file(`{"a":{`+fine+`},"a":{`+fine+`}}`, 4), "tensor a is there twice"},
		{"same name, escaped once", file(`{"a":{`+fine+`},"\u0061":{`+fine+`}}`, 4), "tensor a is there twice"},
		{"empty name", file(`{"":{`+fine+`}}`, 4), "it is empty"},
		{"name with escape sequence", file(`{"a\u001b[2J":{`+fine+`}}`, 4), "control character"},
		{"name with NUL", file(`{"a\u0000":{`+fine+`}}`, 4), "control character"},
		{"half a surrogate pair", file(`{"a\ud800":{`+fine+`}}`, 4), "half a surrogate pair"},
		{"bad escape", file(`{"a\x":{`+fine+`}}`, 4), "bad escape"},
		{"raw newline in a name", file("{\"a\n\":{"+fine+"}}", 4), "no control character in a string"},
		{"name without end", file(`{"a`, 0), "want the string's end"},
		{"escape at the end", file(`{"a\`, 0), "want the string's end"},
		{"metadata twice", file(`{"__metadata__":{},"__metadata__":{}}`, 0), "__metadata__ is there twice"},
		{"metadata key twice", file(`{"__metadata__":{"a":"1","a":"2"}}`, 0), "a is there twice"},
		{"number in metadata", file(`{"__metadata__":{"a":1}}`, 0), "__metadata__: a: "},
		{"object in metadata", file(`{"__metadata__":{"a":{}}}`, 0), "a string"},
		{"list as metadata", file(`{"__metadata__":[]}`, 0), "an object"},
	}
}

func tensorAttacks() []attack {
	shape := func(s string) []byte { return one(`"dtype":"F32","shape":` + s + `,"data_offsets":[0,4]`) }
	offsets := func(s string) []byte { return one(`"dtype":"F32","shape":[1],"data_offsets":` + s) }
	dtype := func(s string) []byte { return one(`"dtype":` + s + `,"shape":[1],"data_offsets":[0,4]`) }
	return []attack{
		{"case-folded field beside the field", one(fine + `,"DTYPE":"F16"`), "field DTYPE is unknown"},
		{"case-folded field alone", one(`"Dtype":"F32","shape":[1],"data_offsets":[0,4]`), "field Dtype is unknown"},
		{"Kelvin sign in a field", one(`"data_offset\u017f":[0,4],"dtype":"F32","shape":[1]`), "is unknown"},
		{"field twice", one(fine + `,"shape":[1]`), "field shape is there twice"},
		{"no dtype", one(`"shape":[1],"data_offsets":[0,4]`), "want all of dtype, shape and data_offsets"},
		{"no shape", one(`"dtype":"F32","data_offsets":[0,4]`), "want all of"},
		{"no offsets", one(`"dtype":"F32","shape":[1]`), "want all of"},
		{"null for a tensor", file(`{"a":null}`, 4), "an object, dtype, shape and data_offsets"},
		{"unknown dtype", dtype(`"Q4_0"`), "element type Q4_0 is unknown"},
		{"dtype in lower case", dtype(`"f32"`), "element type f32 is unknown"},
		{"number for dtype", dtype(`1`), "a string"},
		{"shape needs more", shape(`[2]`), "F32 of shape [2] takes 8 bytes, but data_offsets [0 4] hold 4"},
		{"shape needs less", shape(`[0]`), "takes 0 bytes"},
		{"shape overflows to 4 bytes", shape(`[4611686018427387905,1]`), "more bits than an int64 counts"},
		{"shape overflows to 0", shape(`[4294967296,4294967296]`), "more bits than an int64 counts"},
		{"zero after an overflow", shape(`[4294967296,4294967296,0]`), "more bits than an int64 counts"},
		{"half a byte", one(`"dtype":"F4","shape":[3],"data_offsets":[0,4]`), "no whole number of bytes"},
		{"negative dimension", shape(`[-1]`), "a whole number"},
		{"fraction", shape(`[1.0]`), "want a comma or the array's end"},
		{"exponent", shape(`[1e0]`), "want a comma"},
		{"leading zero", shape(`[01]`), "a whole number"},
		{"number in quotes", shape(`["1"]`), "a whole number"},
		{"number past int64", shape(`[9223372036854775808]`), "too large"},
		{"number of 1,000 digits", shape(`[` + strings.Repeat("9", 1000) + `]`), "too large"},
		{"nine dimensions", shape(`[1,1,1,1,1,1,1,1,1]`), "shape has more than 8 numbers"},
		{"shape nested", shape(`[[1]]`), "a whole number"},
		{"shape nested 100,000 deep", shape(strings.Repeat("[", 100_000)), "a whole number"},
		{"objects nested 100,000 deep", file(strings.Repeat(`{"a":`, 100_000), 0), "is unknown"},
		{"one offset", offsets(`[0]`), "want a start and an end"},
		{"three offsets", offsets(`[0,4,8]`), "more than 2 numbers"},
		{"offsets reversed", offsets(`[4,0]`), "want a start and an end"},
		{"offsets of max", offsets(`[0,18446744073709551615]`), "too large"},
	}
}

func attacks() []attack { return append(headerAttacks(), tensorAttacks()...) }

// open returns what Open and Parse say of a file, which must agree, and checks what they cost.
func open(t *testing.T, b []byte) (*safetensors.File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f, err := safetensors.Open(path)
	runtime.ReadMemStats(&after)
	// What was allocated in all is more than what the heap ever held.
	require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(2*len(b)+heapSlack))
	var perr error
	require.Less(t, mutants.Fastest(func() { _, perr = safetensors.Parse(bytes.NewReader(b), int64(len(b))) }), mutants.MaxTime)
	if err == nil {
		t.Cleanup(func() { f.Close() })
		require.NoError(t, perr)
		return f, nil
	}
	require.ErrorContains(t, err, "safetensors: open "+path+": ", "the error names the file")
	require.EqualError(t, perr, strings.Replace(err.Error(), "open "+path+": ", "", 1))
	return nil, err
}

func TestAttacks(t *testing.T) {
	list := attacks()
	require.GreaterOrEqual(t, len(list), 30)
	_, err := open(t, one(fine))
	require.NoError(t, err, "what the attacks start from is sound")
	for _, a := range list {
		t.Run(a.name, func(t *testing.T) {
			_, err := open(t, a.file)
			require.ErrorIs(t, err, safetensors.ErrMalformed)
			require.ErrorContains(t, err, a.says)
			require.Less(t, len(err.Error()), 600, "an error does not repeat endless names")
			require.NotContains(t, err.Error(), "\x1b", "an error does not control the terminal")
		})
	}
}

// What is unusual and yet sound is read.
func TestUnusual(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing":           file(`{}`, 0),
		"padded with space": file("{}      ", 0),
		"white space":       file("{\n\t\"a\" : {\r\n\"dtype\": \"F32\" , \"shape\":[ 1 ], \"data_offsets\" :[0 ,4 ] } }", 4),
		"any field order":   one(`"data_offsets":[0,4],"shape":[1],"dtype":"F32"`),
		"a single number":   one(`"dtype":"F32","shape":[],"data_offsets":[0,4]`),
		"empty tensors":     file(`{"z":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},"a":{`+fine+`},"y":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}`, 4),
		"packed halves":     one(`"dtype":"F4","shape":[8],"data_offsets":[0,4]`),
		"name beyond ASCII": file(`{"\u00e9\ud83d\udc08 名":{`+fine+`}}`, 4),
		"eight dimensions":  one(`"dtype":"F32","shape":[1,1,1,1,1,1,1,1],"data_offsets":[0,4]`),
		"case differs":      file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]},"A":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 4),
		"metadata":          file(`{"__metadata__":{"format":"pt","":"\u0000"},"a":{`+fine+`}}`, 4),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, b)
			require.NoError(t, err)
		})
	}
}

// The most tensors that are read, and headers of nothing but tiny entries, keep to the bounds on memory and time.
func TestLargeHeaders(t *testing.T) {
	tensors := func(n int) []byte {
		var sb strings.Builder
		for i := range n {
			fmt.Fprintf(&sb, `,"%x":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1],"data_offsets":[%d,%d]}`, i, i, i+1)
		}
		return file("{"+sb.String()[1:]+"}", n)
	}
	f, err := open(t, tensors(100_000))
	require.NoError(t, err)
	require.Len(t, f.Tensors(), 100_000)
	x, ok := f.Tensor("1869f")
	require.True(t, ok)
	require.EqualValues(t, 99_999, x.Offset)
	_, err = open(t, tensors(maxTensors))
	require.NoError(t, err)
	_, err = open(t, tensors(maxTensors+1))
	require.ErrorContains(t, err, "more than 131072 tensors")

	pairs := func(n int) []byte {
		var sb strings.Builder
		for i := range n {
			fmt.Fprintf(&sb, `,"%x":""`, i)
		}
		return file(`{"__metadata__":{`+sb.String()[1:]+`}}`, 0)
	}
	_, err = open(t, pairs(1<<14))
	require.NoError(t, err)
	_, err = open(t, pairs(1<<20))
	require.ErrorContains(t, err, "more than 16384 entries")
	_, err = open(t, file(`{"`+strings.Repeat("a", 90_000_000)+`":{`+fine+`}}`, 4))
	require.NoError(t, err)
	_, err = open(t, file(`{"`+strings.Repeat(`\n`, 20_000_000)+`":{`+fine+`}}`, 4))
	require.ErrorContains(t, err, "control character")
}
