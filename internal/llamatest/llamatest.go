// Package llamatest makes tiny language models and their projectors, whole or damaged on purpose, for the tests of other
// packages.
//
// A file starts as one with random weights that every package of the project accepts; a test changes its keys and tensors
// and writes it. A file is for one goroutine and lives as long as its test needs it; what is written is the same every
// time.
package llamatest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bgevl/bgevl/internal/cliptest"
)

// The geometry of the models: small, with heads, widths and patches that differ from each other so that no two can be
// taken for one another unseen.
const (
	Width, FFN, Layers                                = 32, 56, 2
	Heads, HeadsKV, HeadWidth                         = 4, 2, 12
	Context                                           = 300
	VisionWidth, VisionFFN, VisionHeads, VisionLayers = 48, 80, 3, 2
	TileSize, PatchSize                               = 24, 6
	SpareRows                                         = 5 // of the token table, that no token has
)

// Fingerprint is what the projector says of its source, and the model of its projector.
var Fingerprint = strings.Repeat("7e", 32)

// File is a model or a projector in the making.
type File = cliptest.File

// maker adds tensors to a file.
type maker struct {
	file *File
	rng  *rand.Rand
}

// add appends a tensor of normal values.
func (m *maker) add(name string, shift, scale float32, shape ...int64) {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = shift + scale*float32(m.rng.NormFloat64())
	}
	m.file.Tensors = append(m.file.Tensors, cliptest.Tensor{Name: name, Shape: shape, Data: data})
}

// matrix keeps activations near unit scale.
func (m *maker) matrix(name string, out int64, in ...int64) {
	n := int64(1)
	for _, d := range in {
		n *= d
	}
	m.add(name, 0, 1.3/float32(math.Sqrt(float64(n))), append([]int64{out}, in...)...)
}

func (m *maker) linear(name string, out, in int64) {
	m.matrix(name+".weight", out, in)
	m.add(name+".bias", 0, 0.2, out)
}

func (m *maker) norm(name string, width int64) {
	m.add(name+".weight", 1, 0.2, width)
	m.add(name+".bias", 0, 0.2, width)
}

// Model returns a language model that is whole.
func Model() *File {
	tokens, scores, types := vocabulary()
	f := &File{Keys: map[string]any{
		"general.architecture": "llama", "general.name": "tiny",
		"llama.block_count": uint32(Layers), "llama.context_length": uint32(Context), "llama.embedding_length": uint32(Width),
		"llama.feed_forward_length": uint32(FFN), "llama.vocab_size": uint32(Rows()),
		"llama.attention.head_count": uint32(Heads), "llama.attention.head_count_kv": uint32(HeadsKV),
		"llama.attention.key_length": uint32(HeadWidth), "llama.attention.value_length": uint32(HeadWidth),
		"llama.attention.layer_norm_rms_epsilon": float32(1e-5),
		"llama.rope.dimension_count":             uint32(HeadWidth), "llama.rope.freq_base": float32(1e6),
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default", "tokenizer.ggml.tokens": tokens,
		"tokenizer.ggml.scores": scores, "tokenizer.ggml.token_type": types,
		"tokenizer.ggml.bos_token_id": uint32(BOS), "tokenizer.ggml.eos_token_id": uint32(EOS),
		"tokenizer.ggml.unknown_token_id": uint32(0),
		"bgevl.family":                    "mllm", "bgevl.format_version": uint32(1), "bgevl.pooling": "last",
		"bgevl.template": "bge-vl-mllm", "bgevl.image_token_id": uint32(Image()),
		"bgevl.fingerprint": strings.Repeat("3c", 32), "bgevl.projector_fingerprint": Fingerprint,
	}}
	m := maker{f, rand.New(rand.NewPCG(3, 4))}
	m.add("token_embd.weight", 0, 0.7, int64(Rows()), Width)
	m.add("output_norm.weight", 1, 0.2, Width)
	m.matrix("output.weight", int64(Rows()), Width)
	for i := range Layers {
		at := fmt.Sprintf("blk.%d.", i)
		m.add(at+"attn_norm.weight", 1, 0.2, Width)
		m.add(at+"ffn_norm.weight", 1, 0.2, Width)
		m.matrix(at+"attn_q.weight", Heads*HeadWidth, Width)
		m.matrix(at+"attn_k.weight", HeadsKV*HeadWidth, Width)
		m.matrix(at+"attn_v.weight", HeadsKV*HeadWidth, Width)
		m.matrix(at+"attn_output.weight", Width, Heads*HeadWidth)
		m.matrix(at+"ffn_gate.weight", FFN, Width)
		m.matrix(at+"ffn_up.weight", FFN, Width)
		m.matrix(at+"ffn_down.weight", Width, FFN)
	}
	return f
}

// Projector returns a projector for Model that is whole.
func Projector() *File {
	f := &File{Keys: map[string]any{
		"general.architecture": "clip", "general.type": "mmproj", "general.name": "tiny",
		"clip.has_text_encoder": false, "clip.has_vision_encoder": true, "clip.has_llava_projector": true,
		"clip.projector_type": "mlp", "clip.use_gelu": false,
		"clip.vision.image_size": uint32(TileSize), "clip.vision.patch_size": uint32(PatchSize),
		"clip.vision.embedding_length": uint32(VisionWidth), "clip.vision.feed_forward_length": uint32(VisionFFN),
		"clip.vision.block_count": uint32(VisionLayers), "clip.vision.projection_dim": uint32(VisionWidth),
		"clip.vision.attention.head_count": uint32(VisionHeads), "clip.vision.attention.layer_norm_epsilon": float32(1e-5),
		"clip.vision.image_mean":           []float32{0.48145466, 0.4578275, 0.40821073},
		"clip.vision.image_std":            []float32{0.26862954, 0.26130258, 0.27577711},
		"clip.vision.image_grid_pinpoints": Pinpoints(), "clip.vision.mm_patch_merge_type": "spatial_unpad",
		"clip.vision.image_aspect_ratio": "anyres", "clip.vision.image_crop_resolution": uint32(TileSize),
		"bgevl.family": "mllm-projector", "bgevl.format_version": uint32(1), "bgevl.fingerprint": Fingerprint,
		"bgevl.preprocessor_config": Preprocessor(),
	}}
	m := maker{f, rand.New(rand.NewPCG(5, 6))}
	const patches = (TileSize / PatchSize) * (TileSize / PatchSize)
	m.add("v.class_embd", 0, 0.7, VisionWidth)
	m.matrix("v.patch_embd.weight", VisionWidth, 3, PatchSize, PatchSize)
	m.add("v.position_embd.weight", 0, 0.7, patches+1, VisionWidth)
	m.norm("v.pre_ln", VisionWidth)
	for i := range VisionLayers {
		at := fmt.Sprintf("v.blk.%d.", i)
		m.norm(at+"ln1", VisionWidth)
		m.norm(at+"ln2", VisionWidth)
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_out"} {
			m.linear(at+name, VisionWidth, VisionWidth)
		}
		m.linear(at+"ffn_up", VisionFFN, VisionWidth)
		m.linear(at+"ffn_down", VisionWidth, VisionFFN)
	}
	m.linear("mm.0", Width, VisionWidth)
	m.linear("mm.2", Width, Width)
	m.add("model.image_newline", 0, 0.7, Width)
	return f
}

// Pinpoints are the resolutions that a picture is cut at, height and width: grids of 1x2, 2x1, 2x2, 3x1, 1x3 and 2x3 tiles.
func Pinpoints() []int32 {
	var list []int32
	for _, g := range [][2]int32{{1, 2}, {2, 1}, {2, 2}, {3, 1}, {1, 3}, {2, 3}} {
		list = append(list, g[0]*TileSize, g[1]*TileSize)
	}
	return list
}

// Preprocessor returns a preprocessor_config.json of a LlavaNextImageProcessor.
func Preprocessor() string {
	var pairs []string
	p := Pinpoints()
	for i := 0; i < len(p); i += 2 {
		pairs = append(pairs, fmt.Sprintf("[%d,%d]", p[i], p[i+1]))
	}
	return strings.Replace(cliptest.Preprocessor(TileSize), "{", `{"image_grid_pinpoints":[`+strings.Join(pairs, ",")+`],`, 1)
}

// WriteTo writes a file under a name.
func WriteTo(t testing.TB, f *File, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.Rename(f.Write(t), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// Write writes a model, and beside it the projector unless it is nil, and returns the model's path.
func Write(t testing.TB, model, projector *File) string {
	t.Helper()
	dir := t.TempDir()
	if projector != nil {
		WriteTo(t, projector, dir, "mmproj-tiny.gguf")
	}
	return WriteTo(t, model, dir, "tiny.gguf")
}
