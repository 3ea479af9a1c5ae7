package convert

import (
	"fmt"
	"slices"
	"strings"
)

// expected is a weight that a checkpoint of some configuration must have.
type expected struct {
	hub           string  // name in the checkpoint
	name          string  // name in GGUF
	shape         []int64 // as the checkpoint has it: the contiguous dimension last
	role          role
	layer, layers int
}

// row returns the length of the contiguous dimension.
func (e expected) row() int64 { return e.shape[len(e.shape)-1] }

func (e expected) elements() int64 {
	n := int64(1)
	for _, d := range e.shape {
		n *= d
	}
	return n
}

// dims returns the shape in ggml's order: the contiguous dimension first.
func (e expected) dims() []int64 {
	dims := slices.Clone(e.shape)
	slices.Reverse(dims)
	return dims
}

// baseGeometry is BGE-VL-base.
func baseGeometry() *clipConfig {
	return &clipConfig{
		projection: 512,
		text:       tower{width: 512, ffn: 2048, layers: 12, heads: 8},
		vocab:      49408, context: 77,
		vision:    tower{width: 768, ffn: 3072, layers: 12, heads: 12},
		imageSide: 224, patch: 16,
	}
}

// weights returns what a CLIP checkpoint must hold, in the order that the GGUF file gets: the text tower first. The
// hub's names are those of transformers' CLIPModel, the GGUF names those of llama.cpp's clip files.
func (c *clipConfig) weights() []expected {
	text := "text_model."
	list := []expected{
		{hub: text + "embeddings.token_embedding.weight", name: "t.token_embd.weight",
			shape: []int64{c.vocab, c.text.width}, role: roleTokens},
		{hub: text + "embeddings.position_embedding.weight", name: "t.position_embd.weight",
			shape: []int64{c.context, c.text.width}, role: rolePositions},
	}
	list = c.text.encoder(list, text+"encoder.layers.", "t.blk.")
	list = norm(list, text+"final_layer_norm", "t.post_ln", c.text.width, 0, 0)
	list = append(list, expected{hub: "text_projection.weight", name: "text_projection.weight",
		shape: []int64{c.projection, c.text.width}, role: roleProjection})

	vision := "vision_model."
	list = append(list,
		expected{hub: vision + "embeddings.class_embedding", name: "v.class_embd",
			shape: []int64{c.vision.width}, role: roleVector},
		expected{hub: vision + "embeddings.patch_embedding.weight", name: "v.patch_embd.weight",
			shape: []int64{c.vision.width, maxChannels, c.patch, c.patch}, role: rolePatches},
		expected{hub: vision + "embeddings.position_embedding.weight", name: "v.position_embd.weight",
			shape: []int64{c.positions(), c.vision.width}, role: rolePositions})
	list = norm(list, vision+"pre_layrnorm", "v.pre_ln", c.vision.width, 0, 0) // the checkpoints spell it so
	list = c.vision.encoder(list, vision+"encoder.layers.", "v.blk.")
	list = norm(list, vision+"post_layernorm", "v.post_ln", c.vision.width, 0, 0)
	return append(list, expected{hub: "visual_projection.weight", name: "visual_projection.weight",
		shape: []int64{c.projection, c.vision.width}, role: roleProjection})
}

// encoder appends the weights of a tower's layers.
func (t tower) encoder(list []expected, hub, name string) []expected {
	for layer := range int(t.layers) {
		from := fmt.Sprintf("%s%d.", hub, layer)
		to := fmt.Sprintf("%s%d.", name, layer)
		linear := func(hubLeaf, leaf string, out, in int64, r role) {
			list = append(list,
				expected{from + hubLeaf + ".weight", to + leaf + ".weight", []int64{out, in}, r, layer, int(t.layers)},
				expected{from + hubLeaf + ".bias", to + leaf + ".bias", []int64{out}, roleVector, layer, int(t.layers)})
		}
		list = norm(list, from+"layer_norm1", to+"ln1", t.width, layer, int(t.layers))
		linear("self_attn.q_proj", "attn_q", t.width, t.width, roleQuery)
		linear("self_attn.k_proj", "attn_k", t.width, t.width, roleKey)
		linear("self_attn.v_proj", "attn_v", t.width, t.width, roleValue)
		linear("self_attn.out_proj", "attn_out", t.width, t.width, roleAttnOut)
		list = norm(list, from+"layer_norm2", to+"ln2", t.width, layer, int(t.layers))
		linear("mlp.fc1", "ffn_up", t.ffn, t.width, roleUp)
		linear("mlp.fc2", "ffn_down", t.width, t.ffn, roleDown)
	}
	return list
}

// norm appends the weight and bias of a layer norm.
func norm(list []expected, hub, name string, width int64, layer, layers int) []expected {
	return append(list,
		expected{hub + ".weight", name + ".weight", []int64{width}, roleVector, layer, layers},
		expected{hub + ".bias", name + ".bias", []int64{width}, roleVector, layer, layers})
}

// logitScale is the temperature of CLIP's training loss. No embedding depends on it, so it may be absent, and it goes
// to the metadata.
const logitScale = "logit_scale"

// ignorable reports whether a tensor is a buffer that is computed rather than learned.
func ignorable(hub string) bool {
	return strings.HasSuffix(hub, ".position_ids") || strings.HasSuffix(hub, ".rotary_emb.inv_freq")
}
