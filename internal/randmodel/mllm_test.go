package randmodel_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/bgevl/bgevl/internal/randmodel"
	"github.com/bgevl/bgevl/internal/safetensors"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// The same spec gives the same files, another seed other weights and all else the same.
func TestMLLMDependsOnTheSpecAlone(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	require.NoError(t, randmodel.MLLM(a, randmodel.MLLMSpec{Seed: 1}))
	require.NoError(t, randmodel.MLLM(b, randmodel.MLLMSpec{Seed: 1}))
	require.NoError(t, randmodel.MLLM(c, randmodel.MLLMSpec{Seed: 2}))
	files, err := os.ReadDir(a)
	require.NoError(t, err)
	require.Len(t, files, 8)
	for _, f := range files {
		text := read(t, filepath.Join(a, f.Name()))
		require.Equal(t, text, read(t, filepath.Join(b, f.Name())), f.Name())
		if strings.HasSuffix(f.Name(), ".safetensors") {
			require.NotEqual(t, text, read(t, filepath.Join(c, f.Name())), f.Name())
		} else {
			require.Equal(t, text, read(t, filepath.Join(c, f.Name())), f.Name())
		}
	}
}

func checkpointOf(t *testing.T, spec randmodel.MLLMSpec) *safetensors.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	spec.DType = safetensors.F32
	require.NoError(t, randmodel.MLLM(dir, spec))
	c, err := safetensors.OpenCheckpoint(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// Weights have transformers' names and shapes, and the same values under newer names and in other shards.
func TestMLLMWeights(t *testing.T) {
	old, newer := checkpointOf(t, randmodel.MLLMSpec{}), checkpointOf(t, randmodel.MLLMSpec{NewNames: true, Shards: 5})
	require.Len(t, old.Files(), 2)
	require.Len(t, newer.Files(), 5)
	require.Len(t, newer.Tensors(), len(old.Tensors()))
	for name, want := range map[string]struct {
		newer string
		shape []int64
	}{
		"image_newline":                            {"model.image_newline", []int64{64}},
		"language_model.lm_head.weight":            {"lm_head.weight", []int64{756, 64}},
		"language_model.model.embed_tokens.weight": {"model.language_model.embed_tokens.weight", []int64{756, 64}},
		"language_model.model.norm.weight":         {"model.language_model.norm.weight", []int64{64}},
		"language_model.model.layers.1.self_attn.q_proj.weight": {"model.language_model.layers.1.self_attn.q_proj.weight",
			[]int64{128, 64}},
		"language_model.model.layers.0.self_attn.v_proj.weight": {"model.language_model.layers.0.self_attn.v_proj.weight",
			[]int64{64, 64}},
		"language_model.model.layers.0.self_attn.o_proj.weight": {"model.language_model.layers.0.self_attn.o_proj.weight",
			[]int64{64, 128}},
		"language_model.model.layers.0.mlp.down_proj.weight": {"model.language_model.layers.0.mlp.down_proj.weight", []int64{64, 224}},
		"multi_modal_projector.linear_1.weight":              {"model.multi_modal_projector.linear_1.weight", []int64{64, 96}},
		"vision_tower.vision_model.embeddings.position_embedding.weight": {
			"model.vision_tower.vision_model.embeddings.position_embedding.weight", []int64{17, 96}},
	} {
		tensor, ok := old.Tensor(name)
		require.True(t, ok, name)
		require.Equal(t, want.shape, tensor.Shape, name)
		require.Equal(t, values(t, old, name), values(t, newer, want.newer), name)
	}
	for _, spec := range []randmodel.MLLMSpec{{Tied: true}, {NoOutput: true}} {
		_, ok := checkpointOf(t, spec).Tensor("language_model.lm_head.weight")
		require.False(t, ok)
	}
}

// Both kinds of tokenizer know common words as one token and everything else by its bytes, and differ in where a space is
// put in front.
func TestMLLMTokenizer(t *testing.T) {
	for _, metaspace := range []bool{false, true} {
		dir := t.TempDir()
		require.NoError(t, randmodel.MLLM(dir, randmodel.MLLMSpec{Metaspace: metaspace, ExtraVocab: 3}))
		text, err := tokenizer.CheckpointJSON(dir)
		require.NoError(t, err)
		tok, err := tokenizer.FromJSON(text)
		require.NoError(t, err)
		var config struct {
			Image int32 `json:"image_token_index"`
			Text  struct {
				Vocab int `json:"vocab_size"`
			} `json:"text_config"`
		}
		require.NoError(t, json.Unmarshal([]byte(read(t, filepath.Join(dir, "config.json"))), &config))
		require.Equal(t, tok.VocabSize()+3, config.Text.Vocab)
		spelt := func(text string) string {
			var list []string
			for _, id := range tok.Encode(text) {
				token, ok := tok.Token(id)
				require.True(t, ok)
				list = append(list, token)
			}
			return strings.Join(list, "|")
		}
		require.Equal(t, "<s>|▁a|▁photo|▁of|▁the|▁dog", spelt("a photo of the dog"))
		require.Equal(t, "<s>|▁|<0xE4>|<0xB8>|<0x96>", spelt("世"))
		after := map[bool]string{false: "▁a", true: "a"}[metaspace]
		require.Equal(t, fmt.Sprintf("<s>|▁the|<image>|%s", after), spelt("the<image>a"))
		image, ok := tok.ID("<image>")
		require.True(t, ok)
		require.Equal(t, image, config.Image)
		_, ok = tok.ID("<instruct>")
		require.Equal(t, metaspace, ok)
		special, err := tokenizer.ReadSpecial(dir)
		require.NoError(t, err)
		require.Equal(t, tokenizer.Special{BOS: "<s>", EOS: "</s>", Unknown: "<unk>", Padding: "<pad>"}, special)
	}
}

func TestMLLMRefuses(t *testing.T) {
	for _, c := range []struct {
		spec randmodel.MLLMSpec
		want string
	}{
		{randmodel.MLLMSpec{DType: "I64"}, "DType is I64"},
		{randmodel.MLLMSpec{Context: -1}, "a size is -1"},
		{randmodel.MLLMSpec{ExtraVocab: -1}, "ExtraVocab is -1"},
		{randmodel.MLLMSpec{PatchSize: 15}, "ImageSize 56 is not a multiple of PatchSize 15"},
		{randmodel.MLLMSpec{Text: randmodel.Decoder{KVHeads: 3}}, "want KVHeads that divides Heads"},
		{randmodel.MLLMSpec{Text: randmodel.Decoder{HeadDim: 31}}, "an even HeadDim"},
		{randmodel.MLLMSpec{Vision: randmodel.Tower{Heads: 5}}, "not a multiple of its heads"},
		{randmodel.MLLMSpec{Shards: 10000}, "cannot fill 10000 shards"},
	} {
		require.ErrorContains(t, randmodel.MLLM(t.TempDir(), c.spec), c.want)
	}
	require.ErrorContains(t, randmodel.MLLM(os.DevNull, randmodel.MLLMSpec{}), "randmodel: "+os.DevNull)
}
