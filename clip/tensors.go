package clip

import (
	"fmt"
	"slices"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
)

// tokenEmbedding is the tensor whose rows are the vocabulary.
const tokenEmbedding = "t.token_embd.weight"

// csrcAlignment is what C wants tensor data aligned to, in bytes. It is GGUF's default.
const csrcAlignment = 32

// spec is a tensor that a model must have.
type spec struct {
	name  string
	shape []int64 // outer dimension first, as PyTorch writes shapes
}

// specs lists the tensors of a model. It allocates in proportion to the number of layers, which readParams bounds.
func specs(p *params) []spec {
	text, vision := int64(p.text.width), int64(p.vision.width)
	patch, projection := int64(p.patchSize), int64(p.projection)
	s := []spec{
		{"v.class_embd", []int64{vision}},
		{"v.patch_embd.weight", []int64{vision, 3, patch, patch}},
		{"v.position_embd.weight", []int64{int64(p.patches()) + 1, vision}},
		{"visual_projection.weight", []int64{projection, vision}},
		{tokenEmbedding, []int64{int64(p.vocab), text}},
		{"t.position_embd.weight", []int64{int64(p.context), text}},
		{"text_projection.weight", []int64{projection, text}},
	}
	for _, norm := range []string{"v.pre_ln", "v.post_ln"} {
		s = append(s, vectorPair(norm, vision)...)
	}
	s = append(s, vectorPair("t.post_ln", text)...)
	s = append(s, blockSpecs("v", p.vision)...)
	return append(s, blockSpecs("t", p.text)...)
}

func vectorPair(name string, width int64) []spec {
	return []spec{{name + ".weight", []int64{width}}, {name + ".bias", []int64{width}}}
}

// blockSpecs lists the tensors of a tower's blocks.
func blockSpecs(prefix string, t tower) []spec {
	width, ffn := int64(t.width), int64(t.ffn)
	var s []spec
	linear := func(name string, out, in int64) {
		s = append(s, spec{name + ".weight", []int64{out, in}}, spec{name + ".bias", []int64{out}})
	}
	for i := range t.layers {
		block := fmt.Sprintf("%s.blk.%d.", prefix, i)
		s = append(s, vectorPair(block+"ln1", width)...)
		s = append(s, vectorPair(block+"ln2", width)...)
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_out"} {
			linear(block+name, width, width)
		}
		linear(block+"ffn_up", ffn, width)
		linear(block+"ffn_down", width, ffn)
	}
	return s
}

// checkTensors returns the tensors of f under the names that C knows them by. It fails with a *TensorError for the
// first one that is missing, of a wrong shape or type, or that no CLIP model has.
//
// Files of old converters have ffn_up and ffn_down swapped; where the shapes say so, they are swapped back.
func checkTensors(f *gguf.File, p *params) ([]csrc.Tensor, error) {
	if f.Alignment()%csrcAlignment != 0 {
		return nil, &KeyError{Key: "general.alignment",
			Reason: fmt.Sprintf("want a multiple of %d, got %d: convert the checkpoint again", csrcAlignment, f.Alignment())}
	}
	want := specs(p)
	known := make(map[string]bool, len(want))
	out := make([]csrc.Tensor, 0, len(want))
	rename := swapped(f, p)
	for _, s := range want {
		stored := s.name
		if other, ok := rename[s.name]; ok {
			stored = other
		}
		known[stored] = true
		t, ok := f.Tensor(stored)
		if !ok {
			return nil, &TensorError{Name: stored, Reason: "missing, want " + shapeString(s.shape)}
		}
		if err := checkTensor(t, s); err != nil {
			return nil, err
		}
		ct := csrc.Tensor{Name: s.name, Type: uint32(t.Type), Dims: [4]int64{1, 1, 1, 1}, Data: f.Data(t)}
		copy(ct.Dims[:], t.Dims)
		out = append(out, ct)
	}
	for _, t := range f.Tensors() {
		if !known[t.Name] {
			return nil, &TensorError{Name: t.Name, Reason: "unknown: no CLIP model of these hyperparameters has it"}
		}
	}
	return out, nil
}

// checkTensor holds one tensor to its spec.
func checkTensor(t gguf.Tensor, s spec) error {
	if got := outerFirst(t.Dims); !slices.Equal(got, s.shape) {
		return &TensorError{Name: t.Name, Want: s.shape, Got: got}
	}
	if (len(s.shape) == 1 || len(s.shape) == 4) && t.Type.BlockSize() > 1 {
		return &TensorError{Name: t.Name, Reason: fmt.Sprintf("want type f32, f16 or bf16, got %s: convert the checkpoint again", t.Type)}
	}
	return nil
}

// swapped tells which names a file has exchanged: for each name of ours, the name it is stored under. A tower's blocks
// are exchanged when its first block's ffn_up has the shape of ffn_down; where both shapes are the same, the bias
// cannot tell either, and the names are taken at their word.
func swapped(f *gguf.File, p *params) map[string]string {
	rename := map[string]string{}
	for prefix, t := range map[string]tower{"v": p.vision, "t": p.text} {
		up, ok := f.Tensor(prefix + ".blk.0.ffn_up.weight")
		if !ok || t.ffn == t.width || !slices.Equal(up.Dims, []int64{int64(t.ffn), int64(t.width)}) {
			continue
		}
		for i := range t.layers {
			for _, leaf := range []string{"weight", "bias"} {
				up := fmt.Sprintf("%s.blk.%d.ffn_up.%s", prefix, i, leaf)
				down := fmt.Sprintf("%s.blk.%d.ffn_down.%s", prefix, i, leaf)
				rename[up], rename[down] = down, up
			}
		}
	}
	return rename
}

// outerFirst turns ggml's order of dimensions, contiguous first, into the order that people write.
func outerFirst(dims []int64) []int64 {
	shape := slices.Clone(dims)
	slices.Reverse(shape)
	return shape
}
