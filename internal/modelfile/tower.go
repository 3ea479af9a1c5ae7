package modelfile

import (
	"fmt"
	"slices"

	"github.com/bgevl/bgevl/csrc"
	"github.com/bgevl/bgevl/internal/gguf"
)

// Bounds of hyperparameters. They are wider than any model known and narrow enough that no product of two of them
// overflows and that no allocation made from them is unreasonable before the tensors' shapes confirm them.
const (
	MaxLayers    = 256
	MaxWidth     = 16384
	MaxFFN       = 65536
	MaxHeads     = 256
	MaxVocab     = 1 << 20
	MaxImageSize = 4096
	MaxPatches   = 1 << 14 // attention's memory grows with its square
)

// Tower holds the hyperparameters of one of CLIP's transformer encoders.
type Tower struct {
	Layers, Width, FFN, Heads int
	Eps                       float32
}

// Tower reads the hyperparameters of an encoder.
func (k *Keys) Tower(prefix string) Tower {
	t := Tower{
		Layers: k.Int(prefix+"block_count", 1, MaxLayers),
		Width:  k.Int(prefix+"embedding_length", 1, MaxWidth),
		FFN:    k.Int(prefix+"feed_forward_length", 1, MaxFFN),
		Heads:  k.Int(prefix+"attention.head_count", 1, MaxHeads),
		Eps:    k.Epsilon(prefix + "attention.layer_norm_epsilon"),
	}
	if k.err == nil && t.Width%t.Heads != 0 {
		k.Fail(prefix+"attention.head_count", fmt.Sprintf("want a divisor of the width, %d, got %d", t.Width, t.Heads), nil)
	}
	return t
}

// Patches reads a vision tower's image and patch size.
func (k *Keys) Patches(prefix string) (imageSize, patchSize int) {
	imageSize = k.Int(prefix+"image_size", 1, MaxImageSize)
	patchSize = k.Int(prefix+"patch_size", 1, MaxImageSize)
	if k.err != nil {
		return imageSize, patchSize
	}
	if side := imageSize / patchSize; imageSize%patchSize != 0 || side*side > MaxPatches {
		k.Fail(prefix+"patch_size", fmt.Sprintf("want a divisor of %simage_size, %d, that makes at most %d patches, got %d",
			prefix, imageSize, MaxPatches, patchSize), nil)
	}
	return imageSize, patchSize
}

// C gives the hyperparameters to C.
func (t Tower) C(gelu bool) csrc.TowerParams {
	return csrc.TowerParams{Layers: t.Layers, Width: t.Width, FFN: t.FFN, Heads: t.Heads, Eps: t.Eps, GELU: gelu}
}

// Blocks lists the tensors of a tower's blocks; prefix is "v" or "t". It allocates in proportion to the number of
// layers, which Keys.Tower bounds.
func (t Tower) Blocks(prefix string) []Spec {
	width, ffn := int64(t.Width), int64(t.FFN)
	var s []Spec
	for i := range t.Layers {
		block := fmt.Sprintf("%s.blk.%d.", prefix, i)
		s = append(s, Norm(block+"ln1", width)...)
		s = append(s, Norm(block+"ln2", width)...)
		for _, name := range []string{"attn_q", "attn_k", "attn_v", "attn_out"} {
			s = append(s, Linear(block+name, width, width)...)
		}
		s = append(s, Linear(block+"ffn_up", ffn, width)...)
		s = append(s, Linear(block+"ffn_down", width, ffn)...)
	}
	return s
}

// Vision lists the tensors of a vision tower but for the norm behind it.
func (t Tower) Vision(imageSize, patchSize int) []Spec {
	width, patch, side := int64(t.Width), int64(patchSize), int64(imageSize/patchSize)
	s := []Spec{
		{Name: "v.class_embd", Shape: []int64{width}},
		{Name: "v.patch_embd.weight", Shape: []int64{width, 3, patch, patch}},
		{Name: "v.position_embd.weight", Shape: []int64{side*side + 1, width}},
	}
	s = append(s, Norm("v.pre_ln", width)...)
	return append(s, t.Blocks("v")...)
}

// Swapped adds to stored the names that a tower has exchanged, for Tensors. Files of old converters have ffn_up and
// ffn_down the other way round: they are taken so where the first block's ffn_up has the shape of ffn_down. Where both
// shapes are the same, the bias cannot tell either, and the names are taken at their word.
func (t Tower) Swapped(f *gguf.File, prefix string, stored map[string]string) {
	up, ok := f.Tensor(prefix + ".blk.0.ffn_up.weight")
	if !ok || t.FFN == t.Width || !slices.Equal(up.Dims, []int64{int64(t.FFN), int64(t.Width)}) {
		return
	}
	for i := range t.Layers {
		for _, leaf := range []string{"weight", "bias"} {
			up := fmt.Sprintf("%s.blk.%d.ffn_up.%s", prefix, i, leaf)
			down := fmt.Sprintf("%s.blk.%d.ffn_down.%s", prefix, i, leaf)
			stored[up], stored[down] = down, up
		}
	}
}
