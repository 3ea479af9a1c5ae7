package randmodel

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/bgevl/bgevl/internal/safetensors"
)

// Decoder is the geometry of a language model. A zero field has the default of [MLLMSpec].
type Decoder struct{ Layers, Width, FFN, Heads, KVHeads, HeadDim int }

// MLLMSpec says what LLaVA-NeXT checkpoint to make. The zero value is a small one with every trait of BGE-VL's 7B models:
// a decoder of 2 layers, 64 wide, whose 4 query heads share 2 key and value heads of 32; a vision tower of 3 layers of
// which 2 run, tiles of 56x56 pixels in patches of 14, and a grid of up to 2x2 or 3x1 tiles.
type MLLMSpec struct {
	Seed      uint64
	Text      Decoder
	Vision    Tower
	ImageSize int // pixels a side of a tile
	PatchSize int

	FeatureLayer int // vision_feature_layer; 0 is -2
	Context      int // positions; 4096
	Merges       int // of the tokenizer, beside its bytes and characters; 400, and fewer where the word list gives no more
	ExtraVocab   int // rows of the token table that the tokenizer does not use; at least 1 keeps the two numbers apart

	// Metaspace makes the newer kind of tokenizer.json, which puts a space in front of a text only, with <instruct> and
	// <query> among its added tokens; without, a space is put in front of every part between added tokens.
	Metaspace bool
	NewNames  bool // the names of weights that newer versions of transformers write
	Tied      bool // the output layer is the token table, and has no weights of its own
	NoOutput  bool // saved without the output layer, though it is not tied
	Llama     bool // text_config is Llama's, and not Mistral's

	DType  safetensors.DType // F16, F32 or BF16; "" is BF16
	Shards int               // files; 0 is 2
}

// complete fills in defaults and refuses what no checkpoint can have.
func (s MLLMSpec) complete() (MLLMSpec, error) {
	t, d := &s.Text, Decoder{2, 64, 224, 4, 2, 32}
	*t = Decoder{or(t.Layers, d.Layers), or(t.Width, d.Width), or(t.FFN, d.FFN), or(t.Heads, d.Heads), or(t.KVHeads, d.KVHeads),
		or(t.HeadDim, d.HeadDim)}
	s.Vision = s.Vision.or(Tower{3, 96, 192, 3})
	s.ImageSize, s.PatchSize, s.FeatureLayer = or(s.ImageSize, 56), or(s.PatchSize, 14), or(s.FeatureLayer, -2)
	s.Context, s.Merges, s.Shards = or(s.Context, 4096), or(s.Merges, 400), or(s.Shards, 2)
	if s.DType == "" {
		s.DType = safetensors.BF16
	}
	for _, n := range []int{t.Layers, t.Width, t.FFN, t.Heads, t.KVHeads, t.HeadDim, s.Vision.Layers, s.Vision.Width,
		s.Vision.FFN, s.Vision.Heads, s.ImageSize, s.PatchSize, s.Context, s.Merges, s.Shards} {
		if n < 1 {
			return s, fmt.Errorf("a size is %d: want at least 1, or 0 for the default", n)
		}
	}
	switch {
	case s.ExtraVocab < 0:
		return s, fmt.Errorf("ExtraVocab is %d: want at least 0", s.ExtraVocab)
	case t.Heads%t.KVHeads != 0 || t.HeadDim%2 != 0:
		return s, errors.New("want KVHeads that divides Heads, and an even HeadDim")
	case s.Vision.Width%s.Vision.Heads != 0:
		return s, errors.New("the vision tower's width is not a multiple of its heads")
	case s.ImageSize%s.PatchSize != 0:
		return s, fmt.Errorf("ImageSize %d is not a multiple of PatchSize %d", s.ImageSize, s.PatchSize)
	}
	return s, checkDType(s.DType)
}

// MLLM writes a LLaVA-NeXT checkpoint to a folder, which it makes if need be: config.json, preprocessor_config.json, the
// tokenizer's files, and the weights as shards with an index, or as model.safetensors where Shards is 1. Files of those
// names are replaced.
func MLLM(dir string, spec MLLMSpec) error {
	if err := writeMLLM(dir, spec); err != nil {
		return fmt.Errorf("randmodel: %s: %w", dir, err)
	}
	return nil
}

func writeMLLM(dir string, spec MLLMSpec) error {
	s, err := spec.complete()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	p := newPieces(s.Merges, s.Metaspace)
	if err := p.write(dir, s.Metaspace); err != nil {
		return err
	}
	rows := p.size() + s.ExtraVocab
	if err := writeJSON(dir, "config.json", s.config(p, rows)); err != nil {
		return err
	}
	if err := writeJSON(dir, "preprocessor_config.json", s.preprocessor()); err != nil {
		return err
	}
	return writeWeights(dir, s.weights(rows), storage{s.Seed, s.DType, s.Shards})
}

// pinpoints returns the resolutions that published models have, in tiles of this one.
func (s MLLMSpec) pinpoints() [][2]int {
	n := s.ImageSize
	return [][2]int{{n, 2 * n}, {2 * n, n}, {2 * n, 2 * n}, {3 * n, n}, {n, 3 * n}}
}

// config returns config.json as the hub's BGE-VL repositories have it.
func (s MLLMSpec) config(p *pieces, rows int) map[string]any {
	t, v := s.Text, s.Vision
	text := map[string]any{
		"model_type": "mistral", "hidden_size": t.Width, "intermediate_size": t.FFN, "num_hidden_layers": t.Layers,
		"num_attention_heads": t.Heads, "num_key_value_heads": t.KVHeads, "head_dim": t.HeadDim, "vocab_size": rows,
		"max_position_embeddings": s.Context, "rms_norm_eps": 1e-5, "rope_theta": 1e6, "sliding_window": nil,
		"tie_word_embeddings": s.Tied,
	}
	if s.Llama {
		text["model_type"] = "llama"
		delete(text, "sliding_window")
	}
	return map[string]any{
		"architectures": []string{"LLaVANextForEmbedding"}, "model_type": "llava_next", "image_token_index": p.ids[imageToken],
		"image_grid_pinpoints": s.pinpoints(), "projector_hidden_act": "gelu", "vision_feature_layer": s.FeatureLayer,
		"vision_feature_select_strategy": "default", "tie_word_embeddings": false, "torch_dtype": torchName(s.DType),
		"text_config": text,
		"vision_config": map[string]any{
			"model_type": "clip_vision_model", "hidden_size": v.Width, "intermediate_size": v.FFN, "num_hidden_layers": v.Layers,
			"num_attention_heads": v.Heads, "image_size": s.ImageSize, "patch_size": s.PatchSize, "projection_dim": 64,
		},
	}
}

func (s MLLMSpec) preprocessor() map[string]any {
	p := Spec{ImageSize: s.ImageSize}.preprocessor()
	p["image_processor_type"], p["do_pad"], p["image_grid_pinpoints"] = "LlavaNextImageProcessor", true, s.pinpoints()
	return p
}

// weights returns all tensors for a token table of so many rows.
func (s MLLMSpec) weights(rows int) []weight {
	const text = "language_model.model."
	var l list
	l.add("image_newline", 0, tableScale, s.Text.Width)
	l.vision("vision_tower.vision_model", s.Vision, s.ImageSize, s.PatchSize)
	l.linear("multi_modal_projector.linear_1", s.Text.Width, s.Vision.Width, sharpGain)
	l.linear("multi_modal_projector.linear_2", s.Text.Width, s.Text.Width, 1)
	l.add(text+"embed_tokens.weight", 0, tableScale, rows, s.Text.Width)
	for i := range s.Text.Layers {
		l.decoderLayer(fmt.Sprintf("%slayers.%d.", text, i), s.Text)
	}
	l.add(text+"norm.weight", 1, normScale, s.Text.Width)
	if !s.Tied && !s.NoOutput {
		l.matrix("language_model.lm_head", rows, s.Text.Width, 1)
	}
	if s.NewNames {
		for i, w := range l {
			l[i].stored = newName(w.name)
		}
	}
	return l
}

// newName returns what newer versions of transformers call a weight.
func newName(name string) string {
	if rest, ok := strings.CutPrefix(name, "language_model.model."); ok {
		return "model.language_model." + rest
	}
	if rest, ok := strings.CutPrefix(name, "language_model."); ok {
		return rest // lm_head
	}
	return "model." + name
}

// matrix adds a linear layer without a bias.
func (l *list) matrix(name string, out, in int, gain float64) {
	l.add(name+".weight", 0, gain/math.Sqrt(float64(in)), out, in)
}

func (l *list) decoderLayer(layer string, t Decoder) {
	l.add(layer+"input_layernorm.weight", 1, normScale, t.Width)
	l.matrix(layer+"self_attn.q_proj", t.Heads*t.HeadDim, t.Width, sharpGain)
	l.matrix(layer+"self_attn.k_proj", t.KVHeads*t.HeadDim, t.Width, sharpGain)
	l.matrix(layer+"self_attn.v_proj", t.KVHeads*t.HeadDim, t.Width, 1)
	l.matrix(layer+"self_attn.o_proj", t.Width, t.Heads*t.HeadDim, 1)
	l.add(layer+"post_attention_layernorm.weight", 1, normScale, t.Width)
	l.matrix(layer+"mlp.gate_proj", t.FFN, t.Width, sharpGain)
	l.matrix(layer+"mlp.up_proj", t.FFN, t.Width, sharpGain)
	l.matrix(layer+"mlp.down_proj", t.Width, t.FFN, 1)
}
