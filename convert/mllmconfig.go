package convert

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
)

// Bounds of what an MLLM's config.json may claim beyond those of CLIP.
const (
	maxTokens    = 1 << 20 // of a context
	maxHeadDim   = 1 << 10
	maxTheta     = 1e12
	maxPinpoints = 256
	maxImageSide = 1 << 13 // of a pinpoint; internal/pixels reads no more
)

// decoder is the configuration of a language model of Llama's kind.
type decoder struct {
	width, ffn, layers, heads, kvHeads, headDim int64
	vocab, context                              int64
	eps, theta                                  float64
	tied                                        bool // the output layer is the token table
}

// mllmConfig is what converting a LLaVA-NeXT checkpoint needs of its config.json, with the defaults of transformers 4.45
// for whatever is absent.
type mllmConfig struct {
	text decoder
	tied bool // tie_word_embeddings at the top, which counts where there is no output layer

	vision           tower
	imageSide, patch int64
	runs             int64 // layers of the vision tower that run: the features are what leaves the last of these

	imageToken int64
	pinpoints  [][2]int64 // height, width
}

// parseMLLMConfig reads the config.json of a LLaVA-NeXT checkpoint. An error names the field, what is wanted and what is
// there.
func parseMLLMConfig(raw []byte) (*mllmConfig, error) {
	top := newSection("", raw)
	c := &mllmConfig{
		imageToken: top.integer("image_token_index", 32000, 0, maxVocab-1),
		tied:       top.boolean("tie_word_embeddings", false),
	}
	top.only("vision_feature_select_strategy", "default", "other features than those without the class token are not supported")
	top.only("projector_hidden_act", "gelu", "other activations of the projector are not supported")
	if !top.boolean("multimodal_projector_bias", true) {
		top.fail("multimodal_projector_bias", "want true, got false: a projector without biases is not supported")
	}
	text := newSection("text_config.", top.object("text_config"))
	c.text = readDecoder(text)
	c.readVision(top)
	if err := cmp.Or(top.err, text.err); err != nil {
		return nil, err
	}
	return c, c.check()
}

// readDecoder reads text_config, by the defaults of the kind of model that it names.
func readDecoder(s *section) decoder {
	kind := s.text("model_type", "llama")
	d := decoder{ffn: 11008, context: 2048}
	s.nullIsAbsent("head_dim")
	var kvHeads int64 // 0: as many as heads
	switch kind {
	case "llama":
		s.nullIsAbsent("num_key_value_heads")
	case "mistral":
		d.ffn, d.context = 14336, 1<<17
		kvHeads = 8
		if s.isNull("num_key_value_heads") {
			kvHeads = 0
		}
		s.nullIsAbsent("num_key_value_heads")
	default:
		s.fail("model_type", `want "mistral" or "llama", got %s: no other language model is supported`, short([]byte(kind)))
	}
	d.width = s.integer("hidden_size", 4096, 1, maxWidth)
	d.ffn = s.integer("intermediate_size", d.ffn, 1, maxFFN)
	d.layers = s.integer("num_hidden_layers", 32, 1, maxLayers)
	d.heads = s.integer("num_attention_heads", 32, 1, maxHeads)
	if kvHeads == 0 {
		kvHeads = d.heads
	}
	d.kvHeads = s.integer("num_key_value_heads", kvHeads, 1, maxHeads)
	d.headDim = s.integer("head_dim", d.width/d.heads, 2, maxHeadDim)
	d.vocab = s.integer("vocab_size", 32000, 1, maxVocab)
	d.context = s.integer("max_position_embeddings", d.context, 1, maxTokens)
	d.eps = s.epsilon("rms_norm_eps", 1e-6)
	d.theta = s.theta()
	d.tied = s.boolean("tie_word_embeddings", false)
	s.only("hidden_act", "silu", "other activations are not supported")
	for _, key := range []string{"attention_bias", "mlp_bias"} {
		if s.boolean(key, false) {
			s.fail(key, "want false, got true: a language model with biases is not supported")
		}
	}
	if kind == "mistral" {
		s.checkWindow(d.context)
	}
	return d
}

// checkWindow refuses attention over a part of the context only. Mistral's configuration has a window unless it says
// null; one that the context doesn't exceed changes nothing.
func (s *section) checkWindow(context int64) {
	if s.isNull("sliding_window") {
		return
	}
	if window := s.integer("sliding_window", 4096, 0, maxTokens); window < context {
		s.fail("sliding_window", "want null or at least max_position_embeddings, %d, got %d: attention over a sliding window is "+
			"not supported", context, window)
	}
}

// theta returns the base of the rotary positions, which newer files keep in rope_parameters. What scales positions is
// refused.
func (s *section) theta() float64 {
	theta := s.number("rope_theta", 10000, 1, maxTheta)
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		raw := s.object(key)
		if raw == nil {
			continue
		}
		rope := newSection(s.name+key+".", raw)
		for _, kind := range []string{"type", "rope_type"} { // the older name first
			if t := rope.text(kind, "default"); t != "default" {
				rope.fail(kind, `want "default", got %s: scaled rotary positions are not supported`, short([]byte(t)))
			}
		}
		theta = rope.number("rope_theta", theta, 1, maxTheta)
		if rope.err != nil && s.err == nil {
			s.err = rope.err
		}
	}
	return theta
}

// readVision reads vision_config and what the top says of it.
func (c *mllmConfig) readVision(top *section) {
	raw := top.object("vision_config")
	absent, side, patch := tower{width: 768, ffn: 3072, layers: 12, heads: 12}, int64(224), int64(32) // CLIPVisionConfig
	if raw == nil {
		absent, side, patch = tower{width: 1024, ffn: 4096, layers: 24, heads: 16}, 336, 14 // LlavaNextConfig's own
	}
	s := newSection("vision_config.", raw)
	s.only("model_type", "clip_vision_model", "no other vision tower is supported")
	c.vision = readTower(s, absent)
	c.imageSide = s.integer("image_size", side, 1, maxSide)
	c.patch = s.integer("patch_size", patch, 1, maxSide)
	s.integer("num_channels", maxChannels, maxChannels, maxChannels)
	if s.err != nil && top.err == nil {
		top.err = s.err
	}
	c.runs = c.featureLayer(top)
	c.pinpoints = readPinpoints(top)
}

// featureLayer returns how many layers stand before the features: hidden state 0 is what enters the first layer, and
// negative numbers count from the end.
func (c *mllmConfig) featureLayer(top *section) int64 {
	layer := top.integer("vision_feature_layer", -2, -maxLayers-1, maxLayers)
	runs := layer
	if layer < 0 {
		runs = c.vision.layers + 1 + layer
	}
	if runs < 1 || runs > c.vision.layers {
		top.fail("vision_feature_layer", "want the state after one of the vision tower's %d layers, got %d", c.vision.layers, layer)
	}
	return runs
}

func readPinpoints(top *section) [][2]int64 {
	const key = "image_grid_pinpoints"
	raw := top.object(key)
	if raw == nil {
		return [][2]int64{{336, 672}, {672, 336}, {672, 672}, {1008, 336}, {336, 1008}}
	}
	points, err := parsePinpoints(raw)
	if err != nil {
		top.fail(key, "%v", err)
	}
	return points
}

// parsePinpoints reads a list of [height, width].
func parsePinpoints(raw json.RawMessage) ([][2]int64, error) {
	var lists [][]int64
	if err := json.Unmarshal(raw, &lists); err != nil {
		return nil, fmt.Errorf("want a list of [height, width], got %s", short(raw))
	}
	if len(lists) < 1 || len(lists) > maxPinpoints {
		return nil, fmt.Errorf("want 1 to %d resolutions, got %d", maxPinpoints, len(lists))
	}
	var points [][2]int64
	for _, p := range lists {
		if len(p) != 2 || min(p[0], p[1]) < 1 || max(p[0], p[1]) > maxImageSide {
			return nil, fmt.Errorf("want [height, width] of 1 to %d pixels, got %v", maxImageSide, p)
		}
		points = append(points, [2]int64{p[0], p[1]})
	}
	return points, nil
}

// check holds the fields against each other.
func (c *mllmConfig) check() error {
	t, v := c.text, c.vision
	if t.heads%t.kvHeads != 0 {
		return fmt.Errorf("text_config: num_attention_heads %d cannot share num_key_value_heads %d", t.heads, t.kvHeads)
	}
	if t.headDim%2 != 0 {
		return fmt.Errorf("text_config.head_dim: want an even number, as rotary positions turn pairs, got %d", t.headDim)
	}
	if c.imageToken >= t.vocab {
		return fmt.Errorf("image_token_index: want less than text_config.vocab_size %d, got %d", t.vocab, c.imageToken)
	}
	if v.act != "quick_gelu" && v.act != "gelu" {
		return fmt.Errorf(`vision_config.hidden_act: want "quick_gelu" or "gelu", got %s`, short([]byte(v.act)))
	}
	if v.width%v.heads != 0 {
		return fmt.Errorf("vision_config: hidden_size %d cannot be split among num_attention_heads %d", v.width, v.heads)
	}
	if err := checkPatches(c.imageSide, c.patch); err != nil {
		return err
	}
	for _, p := range c.pinpoints {
		if p[0]%c.imageSide != 0 || p[1]%c.imageSide != 0 {
			return fmt.Errorf("image_grid_pinpoints: want multiples of vision_config.image_size %d, got %v", c.imageSide, p)
		}
	}
	return nil
}

// boolean returns a field that must be true or false.
func (s *section) boolean(key string, absent bool) bool {
	raw, ok := s.fields[key]
	if !ok {
		return absent
	}
	var v *bool
	if err := json.Unmarshal(raw, &v); err != nil || v == nil {
		s.fail(key, "want true or false, got %s", short(raw))
		return absent
	}
	return *v
}

// number returns a field that must lie in [low, high].
func (s *section) number(key string, absent, low, high float64) float64 {
	raw, ok := s.fields[key]
	if !ok {
		return absent
	}
	var f *float64
	if err := json.Unmarshal(raw, &f); err != nil || f == nil {
		s.fail(key, "want a number, got %s", short(raw))
		return absent
	}
	if !(*f >= low && *f <= high) {
		s.fail(key, "want %g to %g, got %g", low, high, *f)
		return absent
	}
	return *f
}

// only refuses any text in a field but one, which is the default.
func (s *section) only(key, want, why string) {
	if got := s.text(key, want); got != want {
		s.fail(key, "want %q, got %s: %s", want, short([]byte(got)), why)
	}
}

func (s *section) isNull(key string) bool { return strings.TrimSpace(string(s.fields[key])) == "null" }

// nullIsAbsent makes a field that is null count as absent.
func (s *section) nullIsAbsent(key string) {
	if s.isNull(key) {
		delete(s.fields, key)
	}
}
