package safetensors_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/safetensors"
)

// What is written is what is read, header padding and odd shapes included.
func TestWriterRoundTrip(t *testing.T) {
	var file bytes.Buffer
	w := safetensors.NewWriter(&file, map[string]string{"format": "pt", "a \"quoted\" <key>": "\u00e9\n"})
	tensors := []safetensors.Tensor{
		{Name: "b", DType: safetensors.F16, Shape: []int64{3, 5}},
		{Name: "scalar", DType: safetensors.F32, Shape: nil},
		{Name: "empty", DType: safetensors.I64, Shape: []int64{0, 4}},
		{Name: "a.\u00fc \"x\" \\ <y>", DType: safetensors.U8, Shape: []int64{7}},
		{Name: "long", DType: safetensors.F64, Shape: []int64{1, 2, 3, 4}},
	}
	data := map[string][]byte{}
	for i, tensor := range tensors {
		size, err := safetensors.TensorSize(tensor.DType, tensor.Shape)
		require.NoError(t, err)
		data[tensor.Name] = bytes.Repeat([]byte{byte(i + 1)}, int(size))
		require.NoError(t, w.AddTensor(tensor.Name, tensor.DType, tensor.Shape))
	}
	require.NoError(t, w.WriteHeader())
	require.Zero(t, file.Len()%8, "data starts aligned")
	for _, tensor := range tensors {
		to, err := w.WriteTensor(tensor.Name)
		require.NoError(t, err)
		for _, b := range data[tensor.Name] { // byte by byte
			_, err := to.Write([]byte{b})
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())

	f, err := safetensors.Parse(bytes.NewReader(file.Bytes()), int64(file.Len()))
	require.NoError(t, err)
	require.Equal(t, "pt", f.Metadata()["format"])
	require.Equal(t, "\u00e9\n", f.Metadata()["a \"quoted\" <key>"])
	require.Len(t, f.Tensors(), len(tensors))
	for _, want := range tensors {
		got, ok := f.Tensor(want.Name)
		require.True(t, ok, want.Name)
		require.Equal(t, want.DType, got.DType)
		require.ElementsMatch(t, want.Shape, got.Shape)
		raw, err := io.ReadAll(f.Reader(got))
		require.NoError(t, err)
		require.Equal(t, data[want.Name], raw)
	}
}

func TestWriterWithoutTensors(t *testing.T) {
	var file bytes.Buffer
	w := safetensors.NewWriter(&file, nil)
	require.NoError(t, w.WriteHeader())
	require.NoError(t, w.Close())
	f, err := safetensors.Parse(bytes.NewReader(file.Bytes()), int64(file.Len()))
	require.NoError(t, err)
	require.Empty(t, f.Tensors())
}

func TestWriterRefusesTensors(t *testing.T) {
	w := safetensors.NewWriter(io.Discard, nil)
	require.NoError(t, w.AddTensor("a", safetensors.F16, []int64{2}))
	for _, c := range []struct {
		name  string
		dtype safetensors.DType
		shape []int64
		want  string
	}{
		{"a", safetensors.F16, []int64{2}, "tensor a: it is added twice"},
		{"", safetensors.F16, []int64{2}, "no valid name"},
		{"x\x00", safetensors.F16, []int64{2}, "no valid name"},
		{"__metadata__", safetensors.F16, []int64{2}, "its name is reserved"},
		{"b", "F17", []int64{2}, "F17 is unknown"},
		{"b", safetensors.F16, []int64{-2}, "dimension 0 is -2"},
		{"b", safetensors.F32, []int64{math.MaxInt64, 2}, "an int64 counts"},
	} {
		require.ErrorContains(t, w.AddTensor(c.name, c.dtype, c.shape), c.want)
	}
	require.NoError(t, w.AddTensor("huge", safetensors.U8, []int64{math.MaxInt64 / 8}))
	for i := range 7 {
		require.NoError(t, w.AddTensor(string(rune('c'+i)), safetensors.U8, []int64{math.MaxInt64 / 8}))
	}
	require.ErrorContains(t, w.AddTensor("last", safetensors.U8, []int64{64}), "all tensors together")
}

func TestWriterHoldsToTheOrder(t *testing.T) {
	start := func(to io.Writer) *safetensors.Writer {
		w := safetensors.NewWriter(to, nil)
		require.NoError(t, w.AddTensor("a", safetensors.U8, []int64{4}))
		require.NoError(t, w.AddTensor("b", safetensors.U8, []int64{4}))
		return w
	}
	w := start(io.Discard)
	_, err := w.WriteTensor("a")
	require.ErrorContains(t, err, "WriteHeader must come before")
	require.NoError(t, w.WriteHeader())
	require.ErrorContains(t, w.WriteHeader(), "called twice")
	require.ErrorContains(t, w.AddTensor("c", safetensors.U8, nil), "after WriteHeader")
	_, err = w.WriteTensor("b")
	require.ErrorContains(t, err, "tensor b: want a first")

	w = start(io.Discard)
	require.NoError(t, w.WriteHeader())
	a, err := w.WriteTensor("a")
	require.NoError(t, err)
	_, err = a.Write(make([]byte, 3))
	require.NoError(t, err)
	_, err = w.WriteTensor("b")
	require.ErrorContains(t, err, "tensor a: want 4 bytes, got 3")
	require.ErrorContains(t, w.Close(), "tensor a: want 4 bytes, got 3", "the first error is kept")

	w = start(io.Discard)
	require.NoError(t, w.WriteHeader())
	a, err = w.WriteTensor("a")
	require.NoError(t, err)
	_, err = a.Write(make([]byte, 5))
	require.ErrorContains(t, err, "tensor a: want 4 bytes, got at least 5")

	w = start(io.Discard)
	require.NoError(t, w.WriteHeader())
	a, err = w.WriteTensor("a")
	require.NoError(t, err)
	_, err = a.Write(make([]byte, 4))
	require.NoError(t, err)
	b, err := w.WriteTensor("b")
	require.NoError(t, err)
	_, err = a.Write(nil)
	require.ErrorContains(t, err, "tensor a: its writer was used after")
	_, err = b.Write(make([]byte, 4))
	require.NoError(t, err)
	_, err = w.WriteTensor("c")
	require.ErrorContains(t, err, "all 2 tensors are written")

	w = start(io.Discard)
	require.NoError(t, w.WriteHeader())
	require.ErrorContains(t, w.Close(), "tensor a is missing: 0 of 2")
}

// errFull stands for whatever a disk may say.
var errFull = errors.New("disk full")

type limitedWriter struct{ left int }

func (l *limitedWriter) Write(b []byte) (int, error) {
	if len(b) > l.left {
		return 0, errFull
	}
	l.left -= len(b)
	return len(b), nil
}

func TestWriterPassesErrorsOn(t *testing.T) {
	w := safetensors.NewWriter(&limitedWriter{0}, nil)
	require.NoError(t, w.AddTensor("a", safetensors.U8, []int64{4}))
	require.ErrorIs(t, w.WriteHeader(), errFull)
	require.ErrorIs(t, w.Close(), errFull)

	w = safetensors.NewWriter(&limitedWriter{100}, nil)
	require.NoError(t, w.AddTensor("a", safetensors.U8, []int64{400}))
	require.NoError(t, w.WriteHeader())
	a, err := w.WriteTensor("a")
	require.NoError(t, err)
	_, err = a.Write(make([]byte, 400))
	require.ErrorIs(t, err, errFull)
	require.ErrorContains(t, err, "tensor a")
	require.ErrorIs(t, w.Close(), errFull)
}
