package convert

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bgevl/bgevl/internal/gguf"
)

// expected is a weight that a checkpoint of some configuration must have.
type expected struct {
	hub           string  // name in the checkpoint
	name          string  // name in GGUF
	shape         []int64 // as the checkpoint has it: the contiguous dimension last
	role          role
	tower         weightTower
	layer, layers int
	heads         int64 // of a rotary projection, whose rows are put in another order; 0 for all others
}

// weightTower is the network that a weight belongs to, as far as schemes treat them differently.
type weightTower int

const (
	towerVision   weightTower = iota // and what projects from it
	towerText                        // CLIP's
	towerLanguage                    // an MLLM's
)

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

// clipModel reads and checks the small files of a CLIP checkpoint against each other.
func (c *checkpoint) clipModel() (*model, error) {
	config, err := parseCLIPConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if err := checkPreprocessor(c.preprocessor, config); err != nil {
		return nil, err
	}
	if err := c.readTokenizer("text tower", config.vocab, 0, nil); err != nil {
		return nil, err
	}
	if c.scale, err = findScale(c.weights); err != nil {
		return nil, err
	}
	announce := func(w *gguf.Writer, s scheme, name string, prints []string) error {
		return setCLIP(w, config, c, s, name, prints[modelPart])
	}
	return &model{family: "clip", parts: []part{{config.weights(), announce}}, skipped: map[string]bool{logitScale: true}}, nil
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
	for i := range list {
		list[i].tower = towerText
	}

	vision := "vision_model."
	list = c.vision.eyes(list, vision, c.patch, c.positions())
	list = c.vision.encoder(list, vision+"encoder.layers.", "v.blk.")
	list = norm(list, vision+"post_layernorm", "v.post_ln", c.vision.width, 0, 0)
	return append(list, expected{hub: "visual_projection.weight", name: "visual_projection.weight",
		shape: []int64{c.projection, c.vision.width}, role: roleProjection})
}

// eyes appends what a vision tower has in front of its layers.
func (t tower) eyes(list []expected, hub string, patch, positions int64) []expected {
	list = append(list,
		expected{hub: hub + "embeddings.class_embedding", name: "v.class_embd", shape: []int64{t.width}, role: roleVector},
		expected{hub: hub + "embeddings.patch_embedding.weight", name: "v.patch_embd.weight",
			shape: []int64{t.width, maxChannels, patch, patch}, role: rolePatches},
		expected{hub: hub + "embeddings.position_embedding.weight", name: "v.position_embd.weight",
			shape: []int64{positions, t.width}, role: rolePositions})
	return norm(list, hub+"pre_layrnorm", "v.pre_ln", t.width, 0, 0) // the checkpoints spell it so
}

// encoder appends the weights of a tower's layers.
func (t tower) encoder(list []expected, hub, name string) []expected {
	for layer := range int(t.layers) {
		from := fmt.Sprintf("%s%d.", hub, layer)
		to := fmt.Sprintf("%s%d.", name, layer)
		linear := func(hubLeaf, leaf string, out, in int64, r role) {
			list = append(list,
				expected{hub: from + hubLeaf + ".weight", name: to + leaf + ".weight", shape: []int64{out, in}, role: r,
					layer: layer, layers: int(t.layers)},
				expected{hub: from + hubLeaf + ".bias", name: to + leaf + ".bias", shape: []int64{out}, role: roleVector,
					layer: layer, layers: int(t.layers)})
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
		expected{hub: hub + ".weight", name: name + ".weight", shape: []int64{width}, role: roleVector, layer: layer, layers: layers},
		expected{hub: hub + ".bias", name: name + ".bias", shape: []int64{width}, role: roleVector, layer: layer, layers: layers})
}

// logitScale is the temperature of CLIP's training loss. No embedding depends on it, so it may be absent, and it goes
// to the metadata.
const logitScale = "logit_scale"

// ignorable reports whether a tensor is a buffer that is computed rather than learned.
func ignorable(hub string) bool {
	return strings.HasSuffix(hub, ".position_ids") || strings.HasSuffix(hub, ".rotary_emb.inv_freq")
}
