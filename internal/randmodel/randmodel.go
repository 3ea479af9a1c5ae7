// Package randmodel writes checkpoints with random weights, in the layout of the Hugging Face hub.
//
// # What it is
//
// What tests and the demo use where no published weights are at hand. The weights mean nothing, but are scaled so that
// every part of the network moves the embedding: a wrong activation, position, pooling or weight shows in the result.
// What is written depends on the [Spec] alone.
//
// # Goroutines, life and stopping
//
// Functions may be called by many goroutines at once, for different folders. Nothing stays open or runs on after they
// have returned, and they run to their end.
package randmodel

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/bgevl/bgevl/internal/safetensors"
)

// Tower is the geometry of one transformer encoder. A zero field has the default of [Spec].
type Tower struct{ Layers, Width, FFN, Heads int }

// Spec says what checkpoint to make. The zero value is a small CLIP model that runs in milliseconds: towers of 2 layers,
// 64 and 96 wide, 32 dimensions, images of 64x64 pixels in patches of 16, and a vocabulary of some hundred tokens.
type Spec struct {
	Seed         uint64
	Text, Vision Tower
	Projection   int // dimensions of the embedding
	ImageSize    int // pixels a side
	PatchSize    int
	Context      int // positions of the text tower; 77
	Merges       int // of the tokenizer, beside its 512 byte tokens; 400, and fewer where the word list gives no more
	ExtraVocab   int // rows of the token table that the tokenizer does not use

	DType     safetensors.DType // F16, F32 or BF16; "" is F16
	Shards    int               // files; 0 and 1 are one file
	Act       string            // hidden_act; "" is quick_gelu
	LegacyEOS bool              // text_config.eos_token_id is 2, as OpenAI's files have it, and not the token's id
}

// Base returns the geometry of BGE-VL-base, except for its vocabulary: ExtraVocab makes up for the tokens that the small
// tokenizer lacks.
func Base() Spec {
	return Spec{
		Text: Tower{12, 512, 2048, 8}, Vision: Tower{12, 768, 3072, 12},
		Projection: 512, ImageSize: 224, PatchSize: 16, ExtraVocab: 49408 - 512 - 400 - 2,
	}
}

func (t Tower) or(d Tower) Tower {
	return Tower{or(t.Layers, d.Layers), or(t.Width, d.Width), or(t.FFN, d.FFN), or(t.Heads, d.Heads)}
}

func or(v, absent int) int {
	if v == 0 {
		return absent
	}
	return v
}

// complete fills in defaults and refuses what no checkpoint can have.
func (s Spec) complete() (Spec, error) {
	s.Text = s.Text.or(Tower{2, 64, 128, 2})
	s.Vision = s.Vision.or(Tower{2, 96, 192, 3})
	s.Projection, s.ImageSize, s.PatchSize = or(s.Projection, 32), or(s.ImageSize, 64), or(s.PatchSize, 16)
	s.Context, s.Merges, s.Shards = or(s.Context, 77), or(s.Merges, 400), or(s.Shards, 1)
	if s.DType == "" {
		s.DType = safetensors.F16
	}
	if s.Act == "" {
		s.Act = "quick_gelu"
	}
	for _, n := range []int{s.Text.Layers, s.Text.Width, s.Text.FFN, s.Text.Heads, s.Vision.Layers, s.Vision.Width,
		s.Vision.FFN, s.Vision.Heads, s.Projection, s.ImageSize, s.PatchSize, s.Context, s.Merges, s.Shards} {
		if n < 1 {
			return s, fmt.Errorf("a size is %d: want at least 1, or 0 for the default", n)
		}
	}
	if s.ExtraVocab < 0 {
		return s, fmt.Errorf("ExtraVocab is %d: want at least 0", s.ExtraVocab)
	}
	if s.Text.Width%s.Text.Heads != 0 || s.Vision.Width%s.Vision.Heads != 0 {
		return s, fmt.Errorf("a tower's width is not a multiple of its heads")
	}
	if s.ImageSize%s.PatchSize != 0 {
		return s, fmt.Errorf("ImageSize %d is not a multiple of PatchSize %d", s.ImageSize, s.PatchSize)
	}
	return s, checkDType(s.DType)
}

func checkDType(d safetensors.DType) error {
	switch d {
	case safetensors.F16, safetensors.F32, safetensors.BF16:
		return nil
	}
	return fmt.Errorf("DType is %s: want F16, F32 or BF16", d)
}

// CLIP writes a CLIP checkpoint to a folder, which it makes if need be: config.json, preprocessor_config.json, the
// tokenizer's files, and the weights as model.safetensors or as shards with an index. Files of those names are replaced.
func CLIP(dir string, spec Spec) error {
	if err := writeCLIP(dir, spec); err != nil {
		return fmt.Errorf("randmodel: %s: %w", dir, err)
	}
	return nil
}

func writeCLIP(dir string, spec Spec) error {
	s, err := spec.complete()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	merges := learnMerges(trainingText, s.Merges, clipSymbols)
	vocab := clipVocabulary(merges)
	if err := writeTokenizer(dir, vocab, merges, s.Context); err != nil {
		return err
	}
	if err := writeJSON(dir, "config.json", s.config(len(vocab))); err != nil {
		return err
	}
	if err := writeJSON(dir, "preprocessor_config.json", s.preprocessor()); err != nil {
		return err
	}
	return writeWeights(dir, s.weights(len(vocab)), storage{s.Seed, s.DType, s.Shards})
}

// config returns config.json as the hub's BGE-VL repositories have it.
func (s Spec) config(tokens int) map[string]any {
	bos, eos := tokens-2, tokens-1
	if s.LegacyEOS {
		bos, eos = 0, 2
	}
	tower := func(t Tower, kind string) map[string]any {
		return map[string]any{
			"model_type": kind, "hidden_size": t.Width, "intermediate_size": t.FFN, "num_hidden_layers": t.Layers,
			"num_attention_heads": t.Heads, "projection_dim": s.Projection, "hidden_act": s.Act, "layer_norm_eps": 1e-5,
		}
	}
	text := tower(s.Text, "clip_text_model")
	text["vocab_size"], text["max_position_embeddings"] = tokens+s.ExtraVocab, s.Context
	text["bos_token_id"], text["eos_token_id"], text["pad_token_id"] = bos, eos, eos
	vision := tower(s.Vision, "clip_vision_model")
	vision["image_size"], vision["patch_size"] = s.ImageSize, s.PatchSize
	return map[string]any{
		"architectures": []string{"MMRet_CLIP"}, "model_type": "clip", "projection_dim": s.Projection,
		"logit_scale_init_value": 2.6592, "torch_dtype": torchName(s.DType), "text_config": text, "vision_config": vision,
	}
}

// torchName is what config.json calls an element type.
func torchName(d safetensors.DType) string {
	return map[safetensors.DType]string{"F16": "float16", "F32": "float32", "BF16": "bfloat16"}[d]
}

func (s Spec) preprocessor() map[string]any {
	return map[string]any{
		"image_processor_type": "CLIPImageProcessor", "do_resize": true, "do_center_crop": true, "do_rescale": true,
		"do_normalize": true, "do_convert_rgb": true, "resample": 3, "rescale_factor": 1.0 / 255,
		"size":       map[string]int{"shortest_edge": s.ImageSize},
		"crop_size":  map[string]int{"height": s.ImageSize, "width": s.ImageSize},
		"image_mean": []float64{0.48145466, 0.4578275, 0.40821073},
		"image_std":  []float64{0.26862954, 0.26130258, 0.27577711},
	}
}

// writeJSON writes a value as the hub's files are written: indented, with a newline at the end.
func writeJSON(dir, name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o666)
}
