package gguf_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
)

// everyValue is one metadata value of each kind that the format has, edge values included.
func everyValue() map[string]any {
	return map[string]any{
		"u8": uint8(math.MaxUint8), "i8": int8(math.MinInt8), "u16": uint16(math.MaxUint16), "i16": int16(math.MinInt16),
		"u32": uint32(math.MaxUint32), "i32": int32(math.MinInt32), "u64": uint64(math.MaxUint64), "i64": int64(math.MinInt64),
		"f32": float32(1e-5), "f64": math.Pi, "t": true, "f": false, "s": "a photo of a cat \U0001F408", "empty": "", "bytes": "\xff\x00",
		"au8": []uint8{0, 255}, "ai8": []int8{-128, 127}, "au16": []uint16{0, 65535}, "ai16": []int16{-32768, 32767},
		"au32": []uint32{0, math.MaxUint32}, "ai32": []int32{math.MinInt32, 5}, "au64": []uint64{math.MaxUint64},
		"ai64": []int64{math.MinInt64, -1}, "af32": []float32{0.48145466, 0.4578275}, "af64": []float64{-0.5},
		"ab": []bool{true, false, true}, "as": []string{"", "x", strings.Repeat("long", 100_000)}, "none": []string{}, "noints": []int32{},
	}
}

type tensor struct {
	name string
	typ  gguf.Type
	dims []int64
	data []byte
}

func fill(n int64, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*7 + seed
	}
	return b
}

// everyTensor is one tensor of each type that can be read, of 1 to 4 dimensions.
func everyTensor(t testing.TB) []tensor {
	var list []tensor
	for typ := range gguf.Type(64) {
		if typ.BlockSize() == 0 {
			continue
		}
		dims := []int64{typ.BlockSize() * 2, 3, 1, 5}[:1+len(list)%4]
		size, err := gguf.TensorSize(typ, dims)
		require.NoError(t, err)
		list = append(list, tensor{fmt.Sprintf("t.%s.weight", typ), typ, dims, fill(size, byte(typ))})
	}
	return list
}

// write makes a file of the keys, in their order, and the tensors.
func write(t testing.TB, keys []string, values map[string]any, tensors []tensor) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gguf.NewWriter(&out)
	for _, k := range keys {
		w.Set(k, values[k])
	}
	for _, x := range tensors {
		require.NoError(t, w.AddTensor(x.name, x.typ, x.dims))
	}
	size := w.Size()
	start, laidOut := w.Layout()
	require.NoError(t, w.WriteHeader())
	for _, x := range tensors {
		to, err := w.WriteTensor(x.name)
		require.NoError(t, err)
		for part := range slices.Chunk(x.data, 100) { // a tensor comes in many writes
			_, err = to.Write(part)
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	require.EqualValues(t, size, out.Len(), "Size before writing against what was written")
	require.Len(t, laidOut, len(tensors))
	for i, x := range laidOut {
		at := start + x.Offset
		require.True(t, bytes.Equal(tensors[i].data, out.Bytes()[at:at+x.Size]), "%s lies elsewhere than Layout says", x.Name)
	}
	return out.Bytes()
}

func TestRoundTrip(t *testing.T) {
	values := everyValue()
	var keys []string
	for k := range values {
		keys = append(keys, k)
	}
	tensors := everyTensor(t)
	path := filepath.Join(t.TempDir(), "x.gguf")
	require.NoError(t, os.WriteFile(path, write(t, keys, values, tensors), 0o600))

	f, err := gguf.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, keys, f.Keys())
	for k, want := range values {
		v, ok := f.Value(k)
		require.True(t, ok, k)
		got, err := v.Any()
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(want, got), k)
	}
	require.Len(t, f.Tensors(), len(tensors))
	for i, want := range tensors {
		got := f.Tensors()[i]
		require.Equal(t, want.name, got.Name)
		require.Equal(t, want.typ, got.Type)
		require.Equal(t, want.dims, got.Dims)
		require.Zero(t, got.Offset%f.Alignment())
		require.True(t, bytes.Equal(want.data, f.Data(got)), want.name)
		read, err := io.ReadAll(f.Reader(got))
		require.NoError(t, err)
		require.True(t, bytes.Equal(want.data, read), want.name)
	}
}
