package gguf_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
)

// The same calls give the same bytes: no map order, time or address gets into a file.
func TestWriterIsDeterministic(t *testing.T) {
	keys := []string{"as", "f32", "u64", "ab"}
	a := write(t, keys, everyValue(), everyTensor(t))
	require.Equal(t, a, write(t, keys, everyValue(), everyTensor(t)))
}

func TestWriterAlignment(t *testing.T) {
	for _, n := range []uint32{8, 64, 1 << 14} {
		b := write(t, []string{"general.alignment"}, map[string]any{"general.alignment": n}, everyTensor(t))
		f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
		require.NoError(t, err)
		require.EqualValues(t, n, f.Alignment())
		require.Zero(t, f.DataStart()%int64(n))
		require.Zero(t, len(b)%int(n), "the last tensor is padded too")
		for i, x := range f.Tensors() {
			got, err := io.ReadAll(f.Reader(x))
			require.NoError(t, err)
			require.Equal(t, everyTensor(t)[i].data, got)
		}
	}
}

func TestWriterRefusesKeys(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(w *gguf.Writer)
		says string
	}{
		"empty":     {func(w *gguf.Writer) { w.SetBool("", true) }, "it is empty"},
		"control":   {func(w *gguf.Writer) { w.SetBool("a\nb", true) }, `key "a\nb": it is not a valid name`},
		"long":      {func(w *gguf.Writer) { w.SetBool(longKey(65536), true) }, "longer than 65535"},
		"twice":     {func(w *gguf.Writer) { w.SetBool("a", true); w.SetUint32("a", 1) }, "key a: it is set twice"},
		"type":      {func(w *gguf.Writer) { w.Set("a", 1) }, "key a: metadata cannot hold a Go int"},
		"nested":    {func(w *gguf.Writer) { w.Set("a", [][]string{{"x"}}) }, "cannot hold a Go [][]string"},
		"alignment": {func(w *gguf.Writer) { w.SetUint32("general.alignment", 33) }, "power of two"},
		"kind":      {func(w *gguf.Writer) { w.SetString("general.alignment", "32") }, "want uint32, got string"},
		"late": {func(w *gguf.Writer) {
			_ = w.AddTensor("x", gguf.F32, []int64{1})
			w.SetUint32("general.alignment", 64)
		}, "before AddTensor"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := gguf.NewWriter(&out)
			c.set(w)
			require.ErrorContains(t, w.WriteHeader(), c.says)
			require.Zero(t, out.Len(), "nothing is written")
			require.ErrorContains(t, w.Close(), c.says)
		})
	}
}

func TestWriterRefusesTensors(t *testing.T) {
	w := gguf.NewWriter(io.Discard)
	require.NoError(t, w.AddTensor("taken", gguf.F32, []int64{1}))
	for _, c := range []struct {
		name string
		typ  gguf.Type
		dims []int64
		says string
	}{
		{"", gguf.F32, []int64{1}, "it is empty"},
		{longKey(64), gguf.F32, []int64{1}, "64 bytes: want at most 63"},
		{"a\x00", gguf.F32, []int64{1}, "control character"},
		{"taken", gguf.F32, []int64{1}, "added twice"},
		{"a", 4, []int64{1}, "tensor a: type 4 (q4_2) was removed"},
		{"a", gguf.F32, nil, "want 1 to 4 dimensions, got 0"},
		{"a", gguf.F32, []int64{1, 1, 1, 1, 1}, "got 5"},
		{"a", gguf.F32, []int64{0}, "dimension 0 is 0"},
		{"a", gguf.Q8_0, []int64{33}, "packs 32 elements"},
		{"a", gguf.I8, []int64{math.MaxInt64}, "all tensors together"},
	} {
		err := w.AddTensor(c.name, c.typ, c.dims)
		require.ErrorContains(t, err, c.says)
	}
	require.NoError(t, w.WriteHeader(), "a refused tensor leaves no trace")
}

func TestWriterHoldsToItsOrder(t *testing.T) {
	start := func(to io.Writer) *gguf.Writer {
		w := gguf.NewWriter(to)
		require.NoError(t, w.AddTensor("a", gguf.I8, []int64{4}))
		require.NoError(t, w.AddTensor("b", gguf.I8, []int64{4}))
		return w
	}
	begun := func() (*gguf.Writer, io.Writer) {
		w := start(io.Discard)
		require.NoError(t, w.WriteHeader())
		a, err := w.WriteTensor("a")
		require.NoError(t, err)
		return w, a
	}
	w := start(io.Discard)
	_, err := w.WriteTensor("a")
	require.ErrorContains(t, err, "WriteHeader must come before")

	w = start(io.Discard)
	require.NoError(t, w.WriteHeader())
	require.ErrorContains(t, w.AddTensor("c", gguf.I8, []int64{1}), "after WriteHeader")
	require.ErrorContains(t, w.WriteHeader(), "called twice")

	w = start(io.Discard)
	require.NoError(t, w.WriteHeader())
	_, err = w.WriteTensor("b")
	require.ErrorContains(t, err, "tensor b: want a first")

	w = start(io.Discard)
	require.NoError(t, w.WriteHeader())
	require.ErrorContains(t, w.Close(), "tensor a is missing: 0 of 2")

	w, a := begun()
	_, err = a.Write(make([]byte, 3))
	require.NoError(t, err)
	_, err = w.WriteTensor("b")
	require.ErrorContains(t, err, "tensor a: want 4 bytes, got 3")
	require.ErrorContains(t, w.Close(), "tensor a: want 4 bytes, got 3")

	_, a = begun()
	_, err = a.Write(make([]byte, 5))
	require.ErrorContains(t, err, "tensor a: want 4 bytes, got at least 5")

	w, a = begun()
	_, err = a.Write(make([]byte, 4))
	require.NoError(t, err)
	b, err := w.WriteTensor("b")
	require.NoError(t, err)
	_, err = a.Write(nil)
	require.ErrorContains(t, err, "tensor a: its writer was used after")
	_, err = b.Write(make([]byte, 4))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	_, err = w.WriteTensor("c")
	require.ErrorContains(t, err, "all 2 tensors are written")
}

var errFull = errors.New("disk full")

// limited fails once it has taken so many bytes.
type limited int

func (l *limited) Write(b []byte) (int, error) {
	n := min(len(b), int(*l))
	*l -= limited(n)
	if n < len(b) {
		return n, errFull
	}
	return n, nil
}

// Wherever the disk is full, the error comes up and stays.
func TestWriterPassesErrorsOn(t *testing.T) {
	whole := len(write(t, []string{"s"}, everyValue(), everyTensor(t)))
	for _, room := range []int{0, 3, 100, 2000, 4000, whole - 1} {
		to := limited(room)
		w := gguf.NewWriter(&to)
		w.SetString("s", strings.Repeat("x", 50))
		for _, x := range everyTensor(t) {
			require.NoError(t, w.AddTensor(x.name, x.typ, x.dims))
		}
		err := w.WriteHeader()
		for _, x := range everyTensor(t) {
			if err != nil {
				break
			}
			var data io.Writer
			if data, err = w.WriteTensor(x.name); err == nil {
				_, err = data.Write(x.data)
			}
		}
		if err == nil {
			err = w.Close()
		}
		require.ErrorIs(t, err, errFull, "room for %d bytes", room)
		require.ErrorIs(t, w.Close(), errFull)
	}
}

// A value copied from another file needs it open.
func TestWriterCopiesValues(t *testing.T) {
	b, _ := sound().encode()
	f := openBytes(t, b)
	v, ok := f.Value("tokens")
	require.True(t, ok)
	var out bytes.Buffer
	w := gguf.NewWriter(&out)
	w.Set("copy", v)
	require.NoError(t, w.WriteHeader())
	g, err := gguf.Parse(bytes.NewReader(out.Bytes()), int64(out.Len()))
	require.NoError(t, err)
	got, err := g.Strings("copy")
	require.NoError(t, err)
	require.Equal(t, []string{"a</w>", "", "\xff"}, got)

	w = gguf.NewWriter(io.Discard)
	w.Set("copy", v)
	require.NoError(t, f.Close())
	require.ErrorContains(t, w.WriteHeader(), "key copy: ")
}
