// Package cliptest makes tiny CLIP models, whole or damaged on purpose, for the tests of other packages.
//
// A File starts as a model with random weights that every package of the project accepts; a test changes its keys and
// tensors and writes it. A File is for one goroutine; what it writes is the same every time.
package cliptest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bgevl/bgevl/internal/gguf"
)

// The geometry of the model: small, with heads, widths and patches that differ from each other so that no two can be
// taken for one another unseen.
const (
	TextWidth, TextFFN, TextHeads, TextLayers         = 32, 64, 2, 2
	VisionWidth, VisionFFN, VisionHeads, VisionLayers = 48, 80, 3, 2
	Context, Projection                               = 20, 24
	ImageSize, PatchSize                              = 32, 8
)

// Tensor is one weight in float32.
type Tensor struct {
	Name  string
	Shape []int64 // outer dimension first
	Data  []float32
}

// File is a model in the making.
type File struct {
	Keys    map[string]any // what gguf.Writer.Set takes
	Tensors []Tensor
}

// New returns a model that is whole.
func New() *File {
	tok := TokenizerJSON()
	f := &File{Keys: map[string]any{
		"general.architecture": "clip", "general.name": "tiny",
		"clip.has_text_encoder": true, "clip.has_vision_encoder": true, "clip.use_gelu": false,
		"clip.text.context_length": uint32(Context), "clip.text.projection_dim": uint32(Projection),
		"clip.vision.image_size": uint32(ImageSize), "clip.vision.patch_size": uint32(PatchSize),
		"clip.vision.projection_dim": uint32(Projection),
		"clip.vision.image_mean":     []float32{0.48145466, 0.4578275, 0.40821073},
		"clip.vision.image_std":      []float32{0.26862954, 0.26130258, 0.27577711},
		"tokenizer.huggingface.json": string(tok),
		"bgevl.family":               "clip", "bgevl.format_version": uint32(1), "bgevl.pooling": "clip",
		"bgevl.text.eos_token_id":   uint32(2),
		"bgevl.fingerprint":         strings.Repeat("0f", 32),
		"bgevl.preprocessor_config": Preprocessor(ImageSize),
	}}
	f.tower("clip.text.", TextWidth, TextFFN, TextHeads, TextLayers)
	f.tower("clip.vision.", VisionWidth, VisionFFN, VisionHeads, VisionLayers)
	rng := rand.New(rand.NewPCG(1, 2))
	patches := int64(ImageSize / PatchSize * ImageSize / PatchSize)
	f.add(rng, "v.class_embd", VisionWidth)
	f.add(rng, "v.patch_embd.weight", VisionWidth, 3, PatchSize, PatchSize)
	f.add(rng, "v.position_embd.weight", patches+1, VisionWidth)
	f.norm(rng, "v.pre_ln", VisionWidth)
	f.blocks(rng, "v", VisionLayers, VisionWidth, VisionFFN)
	f.norm(rng, "v.post_ln", VisionWidth)
	f.add(rng, "visual_projection.weight", Projection, VisionWidth)
	f.add(rng, "t.token_embd.weight", int64(VocabSize()), TextWidth)
	f.add(rng, "t.position_embd.weight", Context, TextWidth)
	f.blocks(rng, "t", TextLayers, TextWidth, TextFFN)
	f.norm(rng, "t.post_ln", TextWidth)
	f.add(rng, "text_projection.weight", Projection, TextWidth)
	return f
}

// Preprocessor returns a preprocessor_config.json for square images.
func Preprocessor(side int) string {
	return fmt.Sprintf(`{"crop_size":{"height":%d,"width":%d},"do_center_crop":true,"do_convert_rgb":true,"do_normalize":true,`+
		`"do_rescale":true,"do_resize":true,"image_mean":[0.48145466,0.4578275,0.40821073],`+
		`"image_std":[0.26862954,0.26130258,0.27577711],"resample":3,"rescale_factor":0.00392156862745098,"size":{"shortest_edge":%d}}`,
		side, side, side)
}

func (f *File) tower(prefix string, width, ffn, heads, layers uint32) {
	f.Keys[prefix+"embedding_length"] = width
	f.Keys[prefix+"feed_forward_length"] = ffn
	f.Keys[prefix+"attention.head_count"] = heads
	f.Keys[prefix+"block_count"] = layers
	f.Keys[prefix+"attention.layer_norm_epsilon"] = float32(1e-5)
}

// add appends a tensor whose values keep activations near unit scale.
func (f *File) add(rng *rand.Rand, name string, shape ...int64) {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	var scale, shift float32
	switch {
	case strings.Contains(name, "_ln") || strings.Contains(name, ".ln"):
		scale = 0.2
		if strings.HasSuffix(name, "weight") {
			shift = 1
		}
	case strings.HasSuffix(name, "bias"):
		scale = 0.2
	case strings.Contains(name, "_embd") && !strings.Contains(name, "patch"):
		scale = 0.7
	default:
		scale = 1.3 / float32(math.Sqrt(float64(n/shape[0])))
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = shift + scale*float32(rng.NormFloat64())
	}
	f.Tensors = append(f.Tensors, Tensor{name, shape, data})
}

func (f *File) norm(rng *rand.Rand, name string, width int64) {
	f.add(rng, name+".weight", width)
	f.add(rng, name+".bias", width)
}

func (f *File) blocks(rng *rand.Rand, prefix string, layers int, width, ffn int64) {
	for i := range layers {
		at := fmt.Sprintf("%s.blk.%d.", prefix, i)
		f.norm(rng, at+"ln1", width)
		f.norm(rng, at+"ln2", width)
		linear := func(name string, out, in int64) {
			f.add(rng, at+name+".weight", out, in)
			f.add(rng, at+name+".bias", out)
		}
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_out"} {
			linear(name, width, width)
		}
		linear("ffn_up", ffn, width)
		linear("ffn_down", width, ffn)
	}
}

// Tensor returns the tensor of that name for changing. It panics where there is none.
func (f *File) Tensor(name string) *Tensor {
	i := slices.IndexFunc(f.Tensors, func(t Tensor) bool { return t.Name == name })
	if i < 0 {
		panic("cliptest: no tensor " + name)
	}
	return &f.Tensors[i]
}

// Fill sets every value of a tensor.
func (f *File) Fill(name string, v float32) {
	t := f.Tensor(name)
	for i := range t.Data {
		t.Data[i] = v
	}
}

// Drop removes a tensor.
func (f *File) Drop(name string) {
	f.Tensors = slices.DeleteFunc(f.Tensors, func(t Tensor) bool { return t.Name == name })
}

// Write writes the model to a new file of the test and returns its path.
func (f *File) Write(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := f.write(path); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *File) write(path string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	w := gguf.NewWriter(out)
	for _, key := range slices.Sorted(maps.Keys(f.Keys)) {
		w.Set(key, f.Keys[key])
	}
	for _, t := range f.Tensors {
		dims := slices.Clone(t.Shape)
		slices.Reverse(dims)
		if err := w.AddTensor(t.Name, gguf.F32, dims); err != nil {
			return err
		}
	}
	if err := w.WriteHeader(); err != nil {
		return err
	}
	for _, t := range f.Tensors {
		to, err := w.WriteTensor(t.Name)
		if err != nil {
			return err
		}
		if err := binary.Write(to, binary.LittleEndian, t.Data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}

// merges of the tokenizer, each of which makes a token.
func merges() [][2]string {
	return [][2]string{{"c", "a"}, {"ca", "t</w>"}, {"d", "o"}, {"do", "g</w>"}, {"a", "t</w>"}, {"t", "h"}, {"th", "e</w>"}, {"o", "n</w>"}}
}

// byteRunes are the characters that byte-level BPE writes bytes as, in the order of CLIP's vocabulary.
func byteRunes() []rune {
	var plain, rest []rune
	for b := range rune(256) {
		if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
			plain = append(plain, b)
		} else {
			rest = append(rest, rune(256+len(rest)))
		}
	}
	return append(plain, rest...)
}

// VocabSize returns the number of tokens of the tokenizer.
func VocabSize() int { return 2*256 + len(merges()) + 2 }

// Start returns the id of the start-of-text token.
func Start() int32 { return int32(VocabSize() - 2) }

// End returns the id of the end-of-text token, the largest, as it is in CLIP's vocabulary.
func End() int32 { return int32(VocabSize() - 1) }

// TokenizerJSON returns a tokenizer.json like CLIP's with a vocabulary of bytes and a few words.
func TokenizerJSON() []byte {
	vocab := map[string]int{}
	put := func(token string) { vocab[token] = len(vocab) }
	for _, r := range byteRunes() {
		put(string(r))
	}
	for _, r := range byteRunes() {
		put(string(r) + "</w>")
	}
	for _, m := range merges() {
		put(m[0] + m[1])
	}
	put("<|startoftext|>")
	put("<|endoftext|>")
	special := func(content string, id int32) map[string]any {
		return map[string]any{"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
			"normalized": true, "special": true}
	}
	doc := map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil,
		"added_tokens": []any{special("<|startoftext|>", Start()), special("<|endoftext|>", End())},
		"normalizer": map[string]any{"type": "Sequence", "normalizers": []any{
			map[string]any{"type": "NFC"},
			map[string]any{"type": "Replace", "pattern": map[string]string{"Regex": `\s+`}, "content": " "},
			map[string]any{"type": "Lowercase"}}},
		"pre_tokenizer": map[string]any{"type": "Sequence", "pretokenizers": []any{
			map[string]any{"type": "Split", "behavior": "Removed", "invert": true,
				"pattern": map[string]string{"Regex": `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`}},
			map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}}},
		"post_processor": map[string]any{"type": "RobertaProcessing", "sep": []any{"<|endoftext|>", End()},
			"cls": []any{"<|startoftext|>", Start()}, "trim_offsets": false, "add_prefix_space": false},
		"decoder": map[string]any{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": "<|endoftext|>",
			"continuing_subword_prefix": "", "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false,
			"ignore_merges": false, "vocab": vocab, "merges": merges()},
	}
	text, err := json.Marshal(doc)
	if err != nil {
		panic(err) // maps of strings and numbers marshal
	}
	return text
}
