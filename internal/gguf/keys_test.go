package gguf_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
)

// values opens a file that has everyValue.
func values(t *testing.T) *gguf.File {
	all := everyValue()
	var keys []string
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b := write(t, keys, all, nil)
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	return f
}

// A getter takes every width of its kind and nothing else.
func TestGetters(t *testing.T) {
	f := values(t)
	getters := map[string]func(string) (any, error){
		"String":  func(k string) (any, error) { return f.String(k) },
		"Uint":    func(k string) (any, error) { return f.Uint(k) },
		"Int":     func(k string) (any, error) { return f.Int(k) },
		"Float":   func(k string) (any, error) { return f.Float(k) },
		"Bool":    func(k string) (any, error) { return f.Bool(k) },
		"Strings": func(k string) (any, error) { return f.Strings(k) },
		"Ints":    func(k string) (any, error) { return f.Ints(k) },
		"Floats":  func(k string) (any, error) { return f.Floats(k) },
	}
	want := map[string]map[string]any{
		"String": {"s": "a photo of a cat \U0001F408", "empty": "", "bytes": "\xff\x00"},
		"Uint":   {"u8": uint64(255), "u16": uint64(65535), "u32": uint64(math.MaxUint32), "u64": uint64(math.MaxUint64)},
		"Int": {"u8": int64(255), "i8": int64(-128), "u16": int64(65535), "i16": int64(-32768), "u32": int64(math.MaxUint32),
			"i32": int64(math.MinInt32), "i64": int64(math.MinInt64)},
		"Float":   {"f32": float64(float32(1e-5)), "f64": math.Pi},
		"Bool":    {"t": true, "f": false},
		"Strings": {"as": everyValue()["as"], "none": []string{}},
		"Ints": {"au8": []int64{0, 255}, "ai8": []int64{-128, 127}, "au16": []int64{0, 65535}, "ai16": []int64{-32768, 32767},
			"au32": []int64{0, math.MaxUint32}, "ai32": []int64{math.MinInt32, 5}, "ai64": []int64{math.MinInt64, -1}, "noints": []int64{}},
		"Floats": {"af32": []float64{float64(float32(0.48145466)), float64(float32(0.4578275))}, "af64": []float64{-0.5}},
	}
	for name, get := range getters {
		for k := range everyValue() {
			got, err := get(k)
			if v, ok := want[name][k]; ok {
				require.NoError(t, err, "%s %s", name, k)
				require.Equal(t, v, got, "%s %s", name, k)
				continue
			}
			require.ErrorContains(t, err, "key "+k+": want ", name)
			require.NotErrorIs(t, err, gguf.ErrNoKey)
		}
		_, err := get("missing.key")
		require.ErrorIs(t, err, gguf.ErrNoKey)
		require.ErrorContains(t, err, "missing.key")
	}
}

func TestGetterErrorsNameBothTypes(t *testing.T) {
	f := values(t)
	_, err := f.String("u32")
	require.EqualError(t, err, "gguf: input: key u32: want string, got uint32")
	_, err = f.Strings("ai32")
	require.EqualError(t, err, "gguf: input: key ai32: want array of string, got array of int32")
	_, err = f.Uint("i8")
	require.EqualError(t, err, "gguf: input: key i8: want at least 0, got -128")
	_, err = f.Int("u64")
	require.EqualError(t, err, "gguf: input: key u64: want at most 9223372036854775807, got 18446744073709551615")
	_, err = f.Ints("au64")
	require.ErrorContains(t, err, "key au64: want elements of at most 9223372036854775807")
}

func TestValue(t *testing.T) {
	f := values(t)
	v, ok := f.Value("as")
	require.True(t, ok)
	require.Equal(t, "array of string", v.Kind())
	require.Equal(t, gguf.Array, v.Type())
	require.Equal(t, gguf.String, v.Elem())
	require.EqualValues(t, 3, v.Len())
	for n, want := range map[int64]any{-1: []string{}, 0: []string{}, 2: []string{"", "x"}} {
		got, err := v.Head(n)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	v, ok = f.Value("bytes")
	require.True(t, ok)
	require.EqualValues(t, 2, v.Len())
	require.Equal(t, "string", v.Kind())
	_, ok = f.Value("missing")
	require.False(t, ok)
}

// An array of single bytes as large as the file would be eight times as large in 64 bits.
func TestWideningIsBounded(t *testing.T) {
	b := write(t, []string{"a"}, map[string]any{"a": make([]uint8, 6<<20)}, nil)
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	_, err = f.Ints("a")
	require.ErrorContains(t, err, "key a: 6291456 elements of uint8 are too many to widen")
	v, _ := f.Value("a")
	all, err := v.Any()
	require.NoError(t, err)
	require.Len(t, all, 6<<20, "as they are stored they can be had")
}

// failing is a file whose reads fail, or that changes, after Parse.
type failing struct {
	b    []byte
	fail error
}

func (f *failing) ReadAt(p []byte, at int64) (int, error) {
	if f.fail != nil {
		return 0, f.fail
	}
	return bytes.NewReader(f.b).ReadAt(p, at)
}

func TestReadErrorsAreReturned(t *testing.T) {
	disk := errors.New("disk on fire")
	src := &failing{b: write(t, []string{"s", "as", "ai32"}, everyValue(), nil)}
	size := int64(len(src.b))
	f, err := gguf.Parse(src, size)
	require.NoError(t, err)

	src.fail = disk
	_, err = gguf.Parse(src, size)
	require.ErrorIs(t, err, disk)
	require.NotErrorIs(t, err, gguf.ErrMalformed, "the disk is at fault, not the file")
	for _, k := range f.Keys() {
		v, _ := f.Value(k)
		_, err := v.Any()
		require.ErrorIs(t, err, disk)
		require.ErrorContains(t, err, "key "+k)
	}

	src.fail = nil
	copy(src.b[bytes.Index(src.b, []byte("as"))+2+4+12:], le64(math.MaxUint64)) // the first string's length
	_, err = f.Strings("as")
	require.ErrorIs(t, err, gguf.ErrMalformed, "the file changed under the reader")
	src.b = src.b[:20]
	_, err = f.String("s")
	require.Error(t, err)
	_, err = f.Ints("ai32")
	require.Error(t, err)
}
