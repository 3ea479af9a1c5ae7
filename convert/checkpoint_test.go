package convert_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/safetensors"
)

// small is the checkpoint that most tests convert: rows of 32, 64, 96 and 256 elements, and a token table of several
// chunks, the last one cut short.
func small() randmodel.Spec {
	return randmodel.Spec{
		Seed: 1, Text: randmodel.Tower{Layers: 3, Width: 64, FFN: 256, Heads: 2},
		Vision: randmodel.Tower{Layers: 2, Width: 96, FFN: 256, Heads: 3}, ExtraVocab: 8000,
	}
}

// These are checkpoints made once and removed by TestMain: most tests damage a copy.
var template, mllmTemplate original

type original struct {
	once sync.Once
	dir  string
	err  error
}

func (o *original) copyTo(t testing.TB, dir string, create func(dir string) error) {
	t.Helper()
	o.once.Do(func() {
		if o.dir, o.err = os.MkdirTemp("", "convert-test"); o.err == nil {
			o.err = create(o.dir)
		}
	})
	require.NoError(t, o.err)
	require.NoError(t, os.CopyFS(dir, os.DirFS(o.dir)))
}

func newCheckpoint(t testing.TB, spec randmodel.Spec) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "checkpoint")
	if spec != small() {
		require.NoError(t, randmodel.CLIP(dir, spec))
		return dir
	}
	template.copyTo(t, dir, func(dir string) error { return randmodel.CLIP(dir, spec) })
	return dir
}

// tensor is one of a checkpoint, in memory.
type tensor struct {
	name  string
	dtype safetensors.DType
	shape []int64
	data  []byte
}

func readTensors(t testing.TB, dir string) []tensor {
	t.Helper()
	c, err := safetensors.OpenCheckpoint(dir)
	require.NoError(t, err)
	defer c.Close()
	var list []tensor
	for _, one := range c.Tensors() {
		raw, err := io.ReadAll(c.Reader(one))
		require.NoError(t, err)
		list = append(list, tensor{one.Name, one.DType, one.Shape, raw})
	}
	return list
}

func writeTensors(t testing.TB, path string, list []tensor) {
	t.Helper()
	var file bytes.Buffer
	w := safetensors.NewWriter(&file, nil)
	for _, one := range list {
		require.NoError(t, w.AddTensor(one.name, one.dtype, one.shape))
	}
	require.NoError(t, w.WriteHeader())
	for _, one := range list {
		to, err := w.WriteTensor(one.name)
		require.NoError(t, err)
		_, err = to.Write(one.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(path, file.Bytes(), 0o666))
}

// edit rewrites the weights of a checkpoint of one file.
func edit(t testing.TB, dir string, change func([]tensor) []tensor) {
	t.Helper()
	writeTensors(t, filepath.Join(dir, "model.safetensors"), change(readTensors(t, dir)))
}

// one returns an edit of a single tensor.
func one(name string, change func(*tensor)) func([]tensor) []tensor {
	return func(list []tensor) []tensor {
		for i := range list {
			if list[i].name == name {
				change(&list[i])
				return list
			}
		}
		panic("test: no tensor " + name)
	}
}

// editJSON rewrites a JSON file of a checkpoint.
func editJSON(t testing.TB, path string, change func(map[string]any)) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var v map[string]any
	require.NoError(t, json.Unmarshal(text, &v))
	change(v)
	text, err = json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o666))
}

// floats decodes the elements of a source tensor, written after the formats' definitions as an oracle.
func (t tensor) floats() []float32 {
	var x []float32
	switch t.dtype {
	case safetensors.F32:
		for i := 0; i < len(t.data); i += 4 {
			x = append(x, math.Float32frombits(binary.LittleEndian.Uint32(t.data[i:])))
		}
	case safetensors.BF16:
		for i := 0; i < len(t.data); i += 2 {
			x = append(x, math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.data[i:]))<<16))
		}
	case safetensors.F16:
		for i := 0; i < len(t.data); i += 2 {
			x = append(x, half(binary.LittleEndian.Uint16(t.data[i:])))
		}
	}
	return x
}

func half(bits uint16) float32 {
	fraction, exponent := float64(bits&0x3ff), int(bits>>10&31)
	v := math.Ldexp(fraction, -24)
	if exponent > 0 {
		v = math.Ldexp(1024+fraction, exponent-25)
	}
	if exponent == 31 {
		v = math.Inf(1)
		if fraction != 0 {
			v = math.NaN()
		}
	}
	if bits&0x8000 != 0 {
		v = -v
	}
	return float32(v)
}
