package tests

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/convert"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/llama"
)

// What a type of weights may cost a decoder's states: the least cosine with those of float32 weights, half as much again
// as was measured, so that a type that breaks shows. It says nothing of trained models: a small decoder of random weights
// amplifies what rounding does to them, several times a layer.
var decoderFloors = map[string]float64{
	"f16": 0.9999, "bf16": 0.9999, "q8_0": 0.9989, "q6_k": 0.983, "q5_k_m": 0.92, "q5_0": 0.92, "q4_k_m": 0.78, "q4_k": 0.77,
	"iq4_nl": 0.79, "iq4_xs": 0.74, "q4_1": 0.79, "q4_0": 0.71, "mxfp4": 0.6, "q3_k_m": 0.36,
}

// TestDecoderTypes runs every type of weights against float32, with a picture among the tokens, in matrices whose rows
// are whole blocks of every type. The output layer is the token table, which a prediction multiplies by as it stands.
func TestDecoderTypes(t *testing.T) {
	dir := t.TempDir()
	checkpoint := filepath.Join(dir, "checkpoint")
	require.NoError(t, randmodel.MLLM(checkpoint, randmodel.MLLMSpec{Seed: 5, Tied: true,
		Text: randmodel.Decoder{Layers: 4, Width: 256, FFN: 512, Heads: 8, KVHeads: 2, HeadDim: 64}}))
	types := append([]string{"f32"}, slices.Sorted(maps.Keys(decoderFloors))...)
	if testing.Short() {
		types = []string{"f32", "f16", "q8_0", "q4_k_m"}
	}
	made, err := convert.Run(context.Background(), checkpoint, filepath.Join(dir, "model.gguf"), &convert.Options{Types: types})
	require.NoError(t, err)
	want, _ := decoderStates(t, made.Files[0].Path)
	for i, typ := range types[1:] {
		got, text := decoderStates(t, made.Files[1+i].Path)
		least := 1.0
		for row := range want {
			least = min(least, cosine(want[row], got[row]))
		}
		t.Logf("%s: %.5f", typ, least)
		assert.GreaterOrEqual(t, least, decoderFloors[typ], typ)
		assert.NotEmpty(t, text, typ)
	}
}

// decoderStates returns states of prompts, one with a picture, and a prediction.
func decoderStates(t *testing.T, path string) (rows [][]float32, text string) {
	t.Helper()
	ctx := context.Background()
	m, err := llama.Open(path, &llama.Options{Threads: 1}) // more wait for each other in networks so small
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	im := &pixels.Image{Mode: pixels.RGB, Width: 90, Height: 40, Pix: make([]byte, 3*90*40)}
	for i := range im.Pix {
		im.Pix[i] = byte(i * i / 11)
	}
	picture, err := m.Preprocess(im)
	require.NoError(t, err)
	features, err := m.EncodePicture(ctx, picture)
	require.NoError(t, err)
	var inputs []llama.Input
	for _, prompt := range []string{"[INST] a photo of a dog [/INST]", "make the background dark and add another dog", "[INST] <image> [/INST]"} {
		ids, err := m.Tokenize(prompt)
		require.NoError(t, err)
		inputs = append(inputs, llama.Input{Tokens: ids, Wanted: []int{-1}})
	}
	inputs[2].Images = [][]float32{features}
	rows, err = m.HiddenStates(ctx, inputs)
	require.NoError(t, err)
	p, err := m.PredictInput(ctx, llama.Input{Tokens: inputs[0].Tokens}, &llama.PredictOptions{MaxTokens: 8})
	require.NoError(t, err)
	return rows, p.Text + "."
}
