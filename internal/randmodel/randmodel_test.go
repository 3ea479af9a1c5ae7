package randmodel_test

import (
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// The same spec gives the same files, another seed other weights and the same tokenizer.
func TestCLIPDependsOnTheSpecAlone(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, randmodel.CLIP(a, randmodel.Spec{Seed: 1}))
	require.NoError(t, randmodel.CLIP(b, randmodel.Spec{Seed: 1}))
	require.NoError(t, randmodel.CLIP(c, randmodel.Spec{Seed: 2}))
	files, err := os.ReadDir(a)
	require.NoError(t, err)
	require.Len(t, files, 7)
	for _, f := range files {
		text := read(t, filepath.Join(a, f.Name()))
		require.Equal(t, text, read(t, filepath.Join(b, f.Name())), f.Name())
		if f.Name() == "model.safetensors" {
			require.NotEqual(t, text, read(t, filepath.Join(c, f.Name())), f.Name())
		} else {
			require.Equal(t, text, read(t, filepath.Join(c, f.Name())), f.Name())
		}
	}
}

func values(t *testing.T, c *safetensors.Checkpoint, name string) []float64 {
	t.Helper()
	tensor, ok := c.Tensor(name)
	require.True(t, ok, name)
	require.Equal(t, safetensors.F32, tensor.DType)
	raw, err := io.ReadAll(c.Reader(tensor))
	require.NoError(t, err)
	x := make([]float64, len(raw)/4)
	for i := range x {
		x[i] = float64(math.Float32frombits(uint32(raw[4*i]) | uint32(raw[4*i+1])<<8 | uint32(raw[4*i+2])<<16 | uint32(raw[4*i+3])<<24))
	}
	return x
}

// Weights have the scales that keep every part of the network in play.
func TestCLIPScales(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{DType: safetensors.F32}))
	c, err := safetensors.OpenCheckpoint(dir)
	require.NoError(t, err)
	defer c.Close()
	for _, w := range []struct {
		name           string
		centre, spread float64
	}{
		{"text_model.embeddings.token_embedding.weight", 0, 0.7},
		{"text_model.encoder.layers.1.self_attn.q_proj.weight", 0, 1.6 / 8},
		{"text_model.encoder.layers.1.mlp.fc2.weight", 0, 1 / math.Sqrt(128)},
		{"vision_model.encoder.layers.0.mlp.fc1.weight", 0, 1.6 / math.Sqrt(96)},
		{"vision_model.embeddings.patch_embedding.weight", 0, 1 / math.Sqrt(768)},
		{"vision_model.post_layernorm.weight", 1, 0.2},
		{"visual_projection.weight", 0, 1 / math.Sqrt(96)},
	} {
		x := values(t, c, w.name)
		var sum, squares float64
		for _, v := range x {
			sum += v
			squares += (v - w.centre) * (v - w.centre)
		}
		n := float64(len(x))
		spread := math.Sqrt(squares / n)
		require.InDelta(t, w.centre, sum/n, 5*w.spread/math.Sqrt(n), w.name)
		require.InDelta(t, w.spread, spread, 5*w.spread/math.Sqrt(2*n), w.name)
	}
	require.InDelta(t, math.Log(100), values(t, c, "logit_scale")[0], 1e-6)
}

// Shards and element types hold the same weights.
func TestCLIPShardsAndTypes(t *testing.T) {
	one, many := t.TempDir(), t.TempDir()
	require.NoError(t, randmodel.CLIP(one, randmodel.Spec{DType: safetensors.F32}))
	require.NoError(t, randmodel.CLIP(many, randmodel.Spec{DType: safetensors.F32, Shards: 3}))
	a, err := safetensors.OpenCheckpoint(one)
	require.NoError(t, err)
	defer a.Close()
	b, err := safetensors.OpenCheckpoint(many)
	require.NoError(t, err)
	defer b.Close()
	require.Len(t, b.Files(), 3)
	require.Len(t, b.Tensors(), len(a.Tensors()))
	for _, tensor := range a.Tensors() {
		require.Equal(t, values(t, a, tensor.Name), values(t, b, tensor.Name), tensor.Name)
	}
	for d, relative := range map[safetensors.DType]float64{safetensors.F16: 1.0 / 2048, safetensors.BF16: 1.0 / 256} {
		dir := t.TempDir()
		require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{DType: d}))
		c, err := safetensors.OpenCheckpoint(dir)
		require.NoError(t, err)
		const name = "text_model.embeddings.token_embedding.weight"
		tensor, _ := c.Tensor(name)
		raw, err := io.ReadAll(c.Reader(tensor))
		require.NoError(t, err)
		for i, want := range values(t, a, name) {
			got := decode16(d, uint16(raw[2*i])|uint16(raw[2*i+1])<<8)
			require.InDelta(t, want, got, math.Abs(want)*relative+1.0/(1<<25), "%s element %d", d, i)
		}
		require.NoError(t, c.Close())
	}
}

// decode16 is written after the formats' definitions, as an oracle.
func decode16(d safetensors.DType, bits uint16) float64 {
	if d == safetensors.BF16 {
		return float64(math.Float32frombits(uint32(bits) << 16))
	}
	fraction, exponent := float64(bits&0x3ff), int(bits>>10&31)
	v := math.Ldexp(fraction, -24)
	if exponent > 0 {
		v = math.Ldexp(1024+fraction, exponent-25)
	}
	if bits&0x8000 != 0 {
		return -v
	}
	return v
}

// Making one kind over the other leaves a checkpoint of one kind.
func TestCLIPReplaces(t *testing.T) {
	dir := t.TempDir()
	for _, shards := range []int{1, 2, 1} {
		require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{Shards: shards}))
		c, err := safetensors.OpenCheckpoint(dir)
		require.NoError(t, err)
		require.Len(t, c.Files(), shards)
		require.NoError(t, c.Close())
	}
}

// The tokenizer knows common words as one token and everything else by its bytes, and special tokens where config.json
// says they are.
func TestCLIPTokenizer(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, randmodel.CLIP(dir, randmodel.Spec{}))
	text, err := tokenizer.CheckpointJSON(dir)
	require.NoError(t, err)
	tok, err := tokenizer.FromJSON(text)
	require.NoError(t, err)
	require.Equal(t, 512+400+2, tok.VocabSize())
	var config struct {
		Text struct {
			Vocab int   `json:"vocab_size"`
			EOS   int32 `json:"eos_token_id"`
		} `json:"text_config"`
	}
	require.NoError(t, json.Unmarshal([]byte(read(t, filepath.Join(dir, "config.json"))), &config))
	require.Equal(t, tok.VocabSize(), config.Text.Vocab)
	eos, ok := tok.ID("<|endoftext|>")
	require.True(t, ok)
	require.Equal(t, eos, config.Text.EOS)
	ids := tok.Encode("A photo of the dog")
	require.Len(t, ids, 7)
	require.Equal(t, eos, ids[6])
	for i, want := range strings.Fields("<|startoftext|> a</w> photo</w> of</w> the</w> dog</w>") {
		got, _ := tok.Token(ids[i])
		require.Equal(t, want, got)
	}
	require.Len(t, tok.Encode("\u4e16"), 2+3)
}

func TestCLIPRefuses(t *testing.T) {
	for _, c := range []struct {
		spec randmodel.Spec
		want string
	}{
		{randmodel.Spec{DType: "I64"}, "DType is I64"},
		{randmodel.Spec{Projection: -1}, "a size is -1"},
		{randmodel.Spec{ExtraVocab: -1}, "ExtraVocab is -1"},
		{randmodel.Spec{PatchSize: 15}, "ImageSize 64 is not a multiple of PatchSize 15"},
		{randmodel.Spec{Text: randmodel.Tower{Heads: 3}}, "not a multiple of its heads"},
		{randmodel.Spec{Shards: 10000}, "cannot fill 10000 shards"},
	} {
		require.ErrorContains(t, randmodel.CLIP(t.TempDir(), c.spec), c.want)
	}
	require.ErrorContains(t, randmodel.CLIP(os.DevNull, randmodel.Spec{}), "randmodel: "+os.DevNull)
}
