package convert

import (
	"fmt"
	"slices"

	"github.com/bgevl/bgevl/internal/gguf"
	"github.com/bgevl/bgevl/internal/pixels"
	"github.com/bgevl/bgevl/internal/tokenizer"
)

// naming is what a checkpoint calls its weights: transformers has renamed the parts of LLaVA-NeXT more than once.
type naming struct{ text, head, vision, projector, newline string }

// findNaming returns the names in use, part by part, by a weight that each part must have. Where none is there, the
// published checkpoints' name is what an error should ask for.
func findNaming(has func(string) bool) naming {
	choose := func(probe string, prefixes ...string) string {
		for _, p := range prefixes {
			if has(p + probe) {
				return p
			}
		}
		return prefixes[0]
	}
	return naming{
		text: choose("embed_tokens.weight", "language_model.model.", "model.language_model.", "language_model."),
		head: choose("", "language_model.lm_head.weight", "lm_head.weight"),
		vision: choose("embeddings.class_embedding", "vision_tower.vision_model.", "model.vision_tower.vision_model.",
			"vision_tower.", "model.vision_tower."),
		projector: choose("linear_1.weight", "multi_modal_projector.", "model.multi_modal_projector."),
		newline:   choose("", "image_newline", "model.image_newline"),
	}
}

// sevenBillion is BGE-VL-MLLM-S1, -S2 and -v1.5.
func sevenBillion() *mllmConfig {
	return &mllmConfig{
		text: decoder{width: 4096, ffn: 14336, layers: 32, heads: 32, kvHeads: 8, headDim: 128, vocab: 32064, context: 1 << 15,
			eps: 1e-5, theta: 1e6},
		vision: tower{width: 1024, ffn: 4096, layers: 24, heads: 16, eps: 1e-5, act: "quick_gelu"}, imageSide: 336, patch: 14, runs: 23,
		imageToken: 32000, pinpoints: [][2]int64{{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}},
	}
}

// mllmModel reads and checks the small files of an MLLM checkpoint against each other.
func (c *checkpoint) mllmModel() (*model, error) {
	config, err := parseMLLMConfig(c.config)
	if err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if err := checkTiles(c.preprocessor, config); err != nil {
		return nil, err
	}
	if err := c.readTokenizer("language model", config.text.vocab, int(config.text.vocab), config.checkImageToken); err != nil {
		return nil, err
	}
	has := func(name string) bool { _, there := c.weights.Tensor(name); return there }
	names := findNaming(has)
	m := &model{family: "mllm", skipped: map[string]bool{}}
	output := has(names.head) && !config.text.tied
	if !output {
		m.skipped[names.head] = true // the token table again, if it is there
		m.embeddingOnly = !config.text.tied && !config.tied
	}
	for _, w := range config.unused(names) {
		m.skipped[w.hub] = true
	}
	m.parts = []part{
		{config.language(names, output), func(w *gguf.Writer, s scheme, name string, prints []string) error {
			setLanguage(w, config, c, s, name, prints)
			if m.embeddingOnly {
				w.SetBool("bgevl.embedding_only", true)
			}
			return nil
		}},
		{config.projector(names), func(w *gguf.Writer, s scheme, name string, prints []string) error {
			return setProjector(w, config, c, s, name, prints)
		}},
	}
	return m, nil
}

// checkImageToken holds the tokenizer's token for a picture against config.json.
func (c *mllmConfig) checkImageToken(tok tokenizer.Tokenizer) error {
	const image = "<image>"
	if id, there := tok.ID(image); !there || int64(id) != c.imageToken {
		is := "has no such token"
		if there {
			is = fmt.Sprintf("has it as %d", id)
		}
		return fmt.Errorf("config.json's image_token_index is %d and must be the tokenizer's %s, which %s: they are of different "+
			"models", c.imageToken, image, is)
	}
	return nil
}

// checkTiles holds a preprocessor_config.json against the vision tower and config.json's grid.
func checkTiles(text []byte, c *mllmConfig) error {
	p, err := pixels.ParseConfig(text)
	if err != nil {
		return err
	}
	if _, err := p.Grid(1, 1); err != nil {
		return err
	}
	if err := checkOutputSize(p, c.imageSide); err != nil {
		return err
	}
	raw := newSection("", text).object("image_grid_pinpoints")
	points, err := parsePinpoints(raw)
	if err != nil {
		return fmt.Errorf("preprocessor_config.json: image_grid_pinpoints: %w", err)
	}
	if !slices.Equal(points, c.pinpoints) {
		return fmt.Errorf("image_grid_pinpoints: preprocessor_config.json has %v and config.json %v: want the same in both", points,
			c.pinpoints)
	}
	return nil
}

// language returns what the language model's file holds, in its order. The GGUF names are llama.cpp's.
func (c *mllmConfig) language(n naming, output bool) []expected {
	t := c.text
	list := []expected{{hub: n.text + "embed_tokens.weight", name: "token_embd.weight", shape: []int64{t.vocab, t.width},
		role: roleTokens}}
	for layer := range int(t.layers) {
		from, to := fmt.Sprintf("%slayers.%d.", n.text, layer), fmt.Sprintf("blk.%d.", layer)
		add := func(hub, name string, r role, heads int64, shape ...int64) {
			list = append(list, expected{hub: from + hub + ".weight", name: to + name + ".weight", shape: shape, role: r,
				layer: layer, layers: int(t.layers), heads: heads})
		}
		add("input_layernorm", "attn_norm", roleVector, 0, t.width)
		add("self_attn.q_proj", "attn_q", roleQuery, t.heads, t.heads*t.headDim, t.width)
		add("self_attn.k_proj", "attn_k", roleKey, t.kvHeads, t.kvHeads*t.headDim, t.width)
		add("self_attn.v_proj", "attn_v", roleValue, 0, t.kvHeads*t.headDim, t.width)
		add("self_attn.o_proj", "attn_output", roleAttnOut, 0, t.width, t.heads*t.headDim)
		add("post_attention_layernorm", "ffn_norm", roleVector, 0, t.width)
		add("mlp.gate_proj", "ffn_gate", roleGate, 0, t.ffn, t.width)
		add("mlp.up_proj", "ffn_up", roleUp, 0, t.ffn, t.width)
		add("mlp.down_proj", "ffn_down", roleDown, 0, t.width, t.ffn)
	}
	list = append(list, expected{hub: n.text + "norm.weight", name: "output_norm.weight", shape: []int64{t.width}, role: roleVector})
	if output {
		list = append(list, expected{hub: n.head, name: "output.weight", shape: []int64{t.vocab, t.width}, role: roleOutput})
	}
	for i := range list {
		list[i].tower = towerLanguage
	}
	return list
}

// projector returns what the projector's file holds: the layers of the vision tower that run, and the way from there to
// the language model.
func (c *mllmConfig) projector(n naming) []expected {
	v := c.vision
	v.layers = c.runs
	list := v.eyes(nil, n.vision, c.patch, positions(c.imageSide, c.patch))
	list = v.encoder(list, n.vision+"encoder.layers.", "v.blk.")
	linear := func(hub, name string, in int64) {
		list = append(list,
			expected{hub: n.projector + hub + ".weight", name: name + ".weight", shape: []int64{c.text.width, in}, role: roleProjection},
			expected{hub: n.projector + hub + ".bias", name: name + ".bias", shape: []int64{c.text.width}, role: roleVector})
	}
	linear("linear_1", "mm.0", v.width)
	linear("linear_2", "mm.2", c.text.width)
	return append(list, expected{hub: n.newline, name: "model.image_newline", shape: []int64{c.text.width}, role: roleVector})
}

// unused returns the weights of the vision tower that come after the features.
func (c *mllmConfig) unused(n naming) []expected {
	all := c.vision.encoder(nil, n.vision+"encoder.layers.", "v.blk.")
	list := slices.DeleteFunc(all, func(w expected) bool { return w.layer < int(c.runs) })
	return norm(list, n.vision+"post_layernorm", "v.post_ln", c.vision.width, 0, 0)
}

// pairedRow returns where a row of a query or key projection goes, whose heads have so many rows each. Rotary positions
// turn pairs of a head's elements: transformers pairs the first of its first half with the first of its second half, and so
// on, where llama.cpp's files, and the kernels here, have the pairs side by side.
func pairedRow(row, head int64) int64 {
	half, i := row%head/(head/2), row%(head/2)
	return row - row%head + 2*i + half
}
