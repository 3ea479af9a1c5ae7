package llama_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/llamatest"
	"github.com/bgevl/bgevl/llama"
)

// FuzzOpen changes keys and a tensor's shape in a model and its projector: they are refused with an error that says
// where, or they compute and give finite numbers.
//
//	go test -fuzz FuzzOpen ./llama
func FuzzOpen(f *testing.F) {
	for i := range 40 { // each key by turns, with each kind of value
		f.Add(uint16(3*i), uint8(i), int64(1)<<(i%34)-1, uint16(7*i), uint8(2*i+1), int64(i%5), uint16(i), int8(i%3-1))
	}
	f.Add(uint16(0), uint8(0), int64(0), uint16(0), uint8(0), int64(0), uint16(0), int8(0))
	f.Fuzz(func(t *testing.T, key1 uint16, kind1 uint8, n1 int64, key2 uint16, kind2 uint8, n2 int64, tensor uint16, longer int8) {
		model, projector := llamatest.Model(), llamatest.Projector()
		change(model, projector, key1, kind1, n1)
		change(model, projector, key2, kind2, n2)
		reshape(model, projector, tensor, longer)
		path := llamatest.Write(t, model, projector)
		m, err := llama.Open(path, &llama.Options{Threads: 1, Context: 0})
		if err != nil {
			where, ok := errors.AsType[*llama.OpenError](err)
			if !ok {
				require.True(t, errors.Is(err, gguf.ErrMalformed) || errors.Is(err, gguf.ErrUnsupported), "%v", err)
				return
			}
			require.Equal(t, path, where.Path)
			return
		}
		defer func() { assert.NoError(t, m.Close()) }()
		compute(t, m)
	})
}

// compute runs all that a model offers. Results are finite, or the error says that they are not, or that the context is
// too short.
func compute(t *testing.T, m *llama.Model) {
	t.Helper()
	ctx := context.Background()
	harmless := func(err error) {
		if !errors.Is(err, llama.ErrNonFinite) && !errors.Is(err, llama.ErrTooLong) {
			require.NoError(t, err)
		}
	}
	in := llama.Input{Tokens: []int32{llamatest.BOS, 300}}
	p, err := m.Preprocess(picture(30, 50))
	harmless(err)
	if id, ok := m.ImageToken(); err == nil && ok && id > llamatest.EOS && id != 300 {
		features, err := m.EncodePicture(ctx, p)
		harmless(err)
		if err == nil {
			in = llama.Input{Tokens: append(in.Tokens, id), Images: [][]float32{features}}
		}
	}
	states, err := m.HiddenStates(ctx, []llama.Input{in, {Tokens: []int32{llamatest.BOS}}})
	harmless(err)
	for _, row := range states {
		for _, x := range row {
			require.False(t, math.IsNaN(float64(x)) || math.IsInf(float64(x), 0))
		}
	}
	_, err = m.PredictInput(ctx, in, &llama.PredictOptions{MaxTokens: 2})
	harmless(err)
	_, err = m.Identity(ctx)
	require.NoError(t, err)
}

// change sets one key of the two files to a number of some kind, or drops it.
func change(model, projector *llamatest.File, key uint16, kind uint8, n int64) {
	keys := append(slices.Sorted(maps.Keys(model.Keys)), slices.Sorted(maps.Keys(projector.Keys))...)
	at := int(key) % len(keys)
	f := model
	if at >= len(model.Keys) {
		f = projector
	}
	switch name := keys[at]; kind % 14 {
	case 0:
		delete(f.Keys, name)
	case 1:
		f.Keys[name] = uint32(n)
	case 2:
		f.Keys[name] = int32(n)
	case 3:
		f.Keys[name] = n
	case 4:
		f.Keys[name] = uint64(n)
	case 5:
		f.Keys[name] = float32(n)
	case 6:
		f.Keys[name] = math.Float32frombits(uint32(n))
	case 7:
		f.Keys[name] = math.Float64frombits(uint64(n))
	case 8:
		f.Keys[name] = n%2 == 0
	case 9:
		f.Keys[name] = string(rune(n))
	case 10:
		f.Keys[name] = []int32{int32(n), int32(n >> 32)}
	case 11:
		f.Keys[name] = []float32{math.Float32frombits(uint32(n)), 1, 1}
	case 12:
		f.Keys[name] = uint8(n)
	case 13: // as it was
	}
}

// reshape makes one tensor longer or shorter along its outer dimension.
func reshape(model, projector *llamatest.File, tensor uint16, longer int8) {
	all := len(model.Tensors) + len(projector.Tensors)
	at := int(tensor) % all
	f := model
	if at >= len(model.Tensors) {
		f, at = projector, at-len(model.Tensors)
	}
	x := &f.Tensors[at]
	row := len(x.Data) / int(x.Shape[0])
	rows := min(max(1, x.Shape[0]+int64(longer)), 512)
	x.Shape[0] = rows
	x.Data = slices.Grow(x.Data, 0)[:min(len(x.Data), int(rows)*row)]
	x.Data = append(x.Data, make([]float32, int(rows)*row-len(x.Data))...)
}
